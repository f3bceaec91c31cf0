"""What a recorder leaves word of in the runtime directory, so that no tracer records what its file has already.

Records stay in a program's ring until their recorder has written them and come back for more. If its tracer dies
between the two, or it dies itself, they are in its file and in the ring. So each recorder says where its file is, which
streams are in it, and up to where all in it was given back. What stands behind that is read by the next tracer, which
goes on where it ends.

    SIZE INODE                     bytes of the file before the last write, and which file it is: 20 digits each
    PATH                           of the file, absolute
    NUMBER NONCE                   of each stream, a line each
    NONCE GENERATION SEQ OFFSET    where the last of a ring's records in a file ends that may be gone by now

Lines are added, and what is said once more takes the place of what was said before. A recorder has the note locked
(flock) while it writes to its file. Who has the lock otherwise may take the note, by making it read-only: from then on
its recorder writes nothing more, whatever its tracer still sent it. A note is named after its recorder's instance.
"""

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from ..buffer import stream
from ..errors import Malformed
from . import layout
from .ring_file import Position
from .untrusted import open_own

SUFFIX = ".recording"
_FIRST_LINE = "{:020} {:020}\n"
_POSITION = "{} {:010} {:020} {:04}\n"
_NO_FILE = 0
_NOTE_MAX = 1 << 26
_TAIL_MAX = 1 << 26
_MODE = 0o600
_TAKEN_MODE = 0o400
_OTHERS_S = 3600.0
"""How long a note stays that tells of sessions which its taker has not found: they may be another tracer's."""

Acting = Callable[[str], AbstractContextManager[None]]
Kept = dict[tuple[str, int], Position]
"""By a session's nonce (hex) and a ring's generation: up to where its records are kept in a file."""


class RecorderNote:
    """The note of one recorder, whose instance is `name` and which writes `part`.

    It is only help for others: no method raises, and where no note can be made, the recorder records without.
    """

    def __init__(self, directory: str, name: str, part: str) -> None:
        self._path = f"{directory}/{name}{SUFFIX}"
        self._known: set[int] = set()
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(self._path, flags, _MODE)
        except OSError:
            self._fd = -1
        self._say_size(0, _NO_FILE)
        self._append(os.path.abspath(part).replace("\n", "\0"))  # of which no file is called: then the note is void

    @contextmanager
    def writing(self, size: int, inode: int) -> Iterator[bool]:
        """Until it ends, the file of this inode is written to, whose first `size` bytes were all given back.

        It is False where another tracer has taken the note: what it took from the rings must not be written.
        """
        if self._fd < 0:
            yield True
            return
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            is_ours = bool(os.fstat(self._fd).st_mode & stat.S_IWUSR)
            if is_ours:
                self._say_size(size, inode)
            yield is_ours
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _say_size(self, size: int, inode: int) -> None:
        try:
            os.pwrite(self._fd, _FIRST_LINE.format(size, inode).encode(), 0)
        except OSError:
            pass

    def add_stream(self, number: int, nonce: str) -> None:
        """Say which session a stream of the file is, before any of its records is written."""
        if number not in self._known:
            self._known.add(number)
            self._append(f"{number} {nonce}")

    def settle(self) -> None:
        """Say in the note itself what the end of the file holds: it is complete, and may be gone soon."""
        if self._fd < 0:
            return
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            _settle(self._fd, self._path)
        except (OSError, Malformed, ValueError):
            pass
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def leave(self) -> None:
        """The recorder ends, and its tracer ended before it knew that it has everything: the next one is to know."""
        if not self._known:
            self.remove()
            return
        self.settle()
        try:
            os.close(self._fd)
        except OSError:
            pass

    def _append(self, line: str) -> None:
        try:
            _append(self._fd, line)
        except OSError:
            pass

    def remove(self) -> None:
        """The recorder ends, and its tracer knows that it has everything."""
        try:
            os.close(self._fd)
            os.unlink(self._path)
        except OSError:
            pass


class Notes:
    """What the recorders of earlier tracers left word of.

    `is_own` knows this tracer's instances, whose notes stay; `acting` makes us a directory's owner meanwhile.
    """

    def __init__(self, is_own: Callable[[str], bool], acting: Acting, log: Callable[[str, str], None]) -> None:
        self._is_own = is_own
        self._acting = acting
        self._log = log
        self._kept: Kept = {}
        self._told: set[str] = set()
        self._locked: dict[str, set[str]] = {}
        """Notes that their recorders had locked, each with the nonces of its sessions."""
        self._taken: dict[str, set[str]] = {}
        """Notes that were taken, each with the nonces of which it tells, and that were not asked for."""

    def look(self, directories: Iterable[str]) -> None:
        """Take the notes in these directories."""
        for directory in directories:
            with self._acting(directory):
                for name in _names(directory):
                    if not self._is_own(name.removesuffix(SUFFIX)):
                        self._take(f"{directory}/{name}")

    def of(self, session: str) -> dict[int, Position] | None:
        """Return how far the records of a session (its file's name) are kept, by the ring's generation.

        None while nobody can say: a recorder stands between asking whether it may write some and having done so.
        """
        nonce = layout.session_nonce(session)
        for path in [path for path, nonces in self._locked.items() if nonce in nonces]:
            del self._locked[path]
            with self._acting(os.path.dirname(path)):
                self._take(path)
            if path in self._locked and path not in self._told:
                self._told.add(path)
                self._log("warning", f"a recorder of the tracer before is in the middle of writing ('{path}')")
        if any(nonce in nonces for nonces in self._locked.values()):
            return None
        for nonces in self._taken.values():
            nonces.discard(nonce)
        return {key[1]: position for key, position in self._kept.items() if key[0] == nonce}

    def forget(self) -> None:
        """Remove the notes of which all was asked for."""
        for path, nonces in list(self._taken.items()):
            with self._acting(os.path.dirname(path)):
                if not nonces or _is_old(path):
                    del self._taken[path]
                    _unlink(path)

    def _take(self, path: str) -> None:
        """Take one note, and what its file holds; a note that makes no sense is removed."""
        try:
            fd = _open(path)
        except (OSError, Malformed):
            return
        try:
            lines = _lines(fd, path)
            if not _lock(fd):
                self._locked[path] = set(_nonces(lines).values())
                return
            found = _settle(fd, path)
            os.fchmod(fd, _TAKEN_MODE)
        except (OSError, Malformed, ValueError):
            _unlink(path)
            return
        finally:
            os.close(fd)
        for key, position in found.items():
            self._kept[key] = max(self._kept.get(key, position), position)
        self._taken[path] = {nonce for nonce, _ in found}


def settle_notes(directories: Iterable[str], part: str) -> None:
    """Have the notes of killed recorders say themselves what is in the file `part`, which may be gone soon."""
    try:
        inode = os.stat(part).st_ino
    except OSError:
        return
    for directory in directories:
        for name in _names(directory):
            try:
                _settle_if_dead(f"{directory}/{name}", part, inode)
            except (OSError, Malformed, ValueError):
                pass  # it is left as it is


def _names(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if name.endswith(SUFFIX)]
    except OSError:
        return []


def _settle_if_dead(path: str, part: str, inode: int) -> None:
    fd = open_own(path, os.O_RDWR)
    try:
        if _first_line(_lines(fd, path))[1] == inode and _lock(fd):
            _settle(fd, path, part)
    finally:
        os.close(fd)


def _settle(fd: int, path: str, part: str | None = None) -> Kept:
    """Have a locked note tell what its file (now called `part`) holds, so that it says all without it; return that."""
    lines = _lines(fd, path)
    kept = _kept(lines, part)
    if _first_line(lines)[1] == _NO_FILE:
        return kept
    places: dict[tuple[str, int], int] = {}
    at = 0
    for line in lines:
        if len(four := line.split(" ")) == 4:
            places[four[0], int(four[1])] = at
        at += len(os.fsencode(line)) + 1
    for key, position in kept.items():
        if key not in places:
            places[key], at = at, at + len(_POSITION.format(*key, *position))
        os.pwrite(fd, _POSITION.format(*key, *position).encode(), places[key])
    os.pwrite(fd, _FIRST_LINE.format(0, _NO_FILE).encode(), 0)
    return kept


def _open(path: str) -> int:
    try:
        return open_own(path, os.O_RDWR)
    except PermissionError:  # another has taken it
        return open_own(path, os.O_RDONLY)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _append(fd: int, line: str) -> None:
    os.lseek(fd, 0, os.SEEK_END)
    os.write(fd, os.fsencode(line) + b"\n")


def _lines(fd: int, path: str) -> list[str]:
    """Return the whole lines of a note; Malformed if it is none."""
    lines = os.fsdecode(os.pread(fd, _NOTE_MAX, 0)).split("\n")[:-1]
    if len(lines) < 2 or not os.path.isabs(lines[1]):
        raise Malformed(path, "is no recorder's note")
    _first_line(lines)
    return lines


def _first_line(lines: list[str]) -> tuple[int, int]:
    """Return the size and the inode of a note's first line; ValueError if it has none."""
    size, inode = lines[0].split(" ")
    return int(size), int(inode)


def _nonces(lines: list[str]) -> dict[int, str]:
    """Return the session of each stream, by its number."""
    pairs = [line.split(" ") for line in lines[2:]]
    return {int(pair[0]): pair[1] for pair in pairs if len(pair) == 2}


def _kept(lines: list[str], part: str | None = None) -> Kept:
    """Return what a note tells, and what its file holds behind what was given back."""
    kept: Kept = {}
    for four in (line.split(" ") for line in lines[2:]):
        if len(four) == 4:
            _keep(kept, four[0], int(four[1]), Position(int(four[2]), int(four[3])))
    nonces = _nonces(lines)
    for frame in stream.FrameReader.of(stream.pack_start() + _tail(part or lines[1], *_first_line(lines))):
        if isinstance(frame, stream.Part) and frame.stream in nonces:
            place = Position(frame.seq, frame.offset + frame.length)
            _keep(kept, nonces[frame.stream], frame.generation, place)
    return kept


def _tail(part: str, size: int, inode: int) -> bytes:
    """Return what stands behind the first `size` bytes of a recording; nothing if the file is another one."""
    try:
        fd = open_own(part, os.O_RDONLY)
    except (OSError, Malformed):
        return b""
    try:
        if os.fstat(fd).st_ino != inode:
            return b""
        return os.pread(fd, _TAIL_MAX, max(size, stream.START.size))
    except (OSError, OverflowError):
        return b""
    finally:
        os.close(fd)


def _keep(kept: Kept, nonce: str, generation: int, position: Position) -> None:
    key = nonce, generation
    kept[key] = max(kept.get(key, position), position)


def _is_old(path: str) -> bool:
    try:
        return time.time() - os.stat(path, follow_symlinks=False).st_mtime > _OTHERS_S
    except OSError:
        return True


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
