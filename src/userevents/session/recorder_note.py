"""What a recorder leaves word of in the runtime directory, so that nothing is recorded twice if it is killed.

Records stay in a program's ring until their recorder has written them and come back for more. A recorder killed
between the two has them in its file, and its tracer's successor would take them from the ring once more. So each
recorder says where its file is, which streams are in it, and up to where all in it was given back. What stands
behind that is read by the next tracer, which goes on where it ends.

    20 digits        bytes of the file before the last write, padded with zeros; then a newline
    PATH             of the file, absolute
    NUMBER NONCE     of each stream, a line each

Only the first line ever changes. Whoever finds the file locked knows that its recorder lives.
"""

import fcntl
import os

from ..buffer import stream
from ..errors import Malformed
from .ring_file import Position
from .untrusted import open_own

SUFFIX = ".recording"
_OFFSET_FORM = "{:020}\n"
_OFFSET_SIZE = 21
_NOTE_MAX = 1 << 22
_TAIL_MAX = 1 << 26

Kept = dict[tuple[str, int], Position]
"""By a session's nonce (hex) and a ring's generation: up to where its records are kept in a file."""


class RecorderNote:
    """The note of one recorder, which writes `part`. It is only help for others: no method raises."""

    def __init__(self, directory: str, part: str) -> None:
        self._path = f"{directory}/{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
        self._known: set[int] = set()
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            self._fd = -1
        self.before_write(0)
        self._append(os.path.abspath(part).replace("\n", "\0"))  # of which no file is called: then the note is void

    def before_write(self, size: int) -> None:
        """Say that all of the file's first `size` bytes was given back; now more is written."""
        try:
            os.pwrite(self._fd, _OFFSET_FORM.format(size).encode(), 0)
        except OSError:
            pass

    def add_stream(self, number: int, nonce: str) -> None:
        """Say which session a stream of the file is."""
        if number not in self._known:
            self._known.add(number)
            self._append(f"{number} {nonce}")

    def _append(self, line: str) -> None:
        try:
            os.lseek(self._fd, 0, os.SEEK_END)
            os.write(self._fd, os.fsencode(line) + b"\n")
        except OSError:
            pass

    def remove(self) -> None:
        """The recorder ends, and its file is complete."""
        try:
            os.close(self._fd)
            os.unlink(self._path)
        except OSError:
            pass


def kept_by_the_dead(directory: str) -> Kept:
    """Return what killed recorders have in their files and did not come to give back; their notes are removed."""
    kept: Kept = {}
    for name in os.listdir(directory):
        path = f"{directory}/{name}"
        if name.endswith(SUFFIX) and _take(path, kept):
            try:
                os.unlink(path)
            except OSError:
                pass
    return kept


def _take(path: str, kept: Kept) -> bool:
    """Read one note and what it points to; False if its recorder lives."""
    try:
        offset, part, nonces = _read_note(path)
        fd = open_own(part, os.O_RDONLY)
    except (OSError, Malformed, ValueError):
        return not _is_fresh(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tail = os.pread(fd, _TAIL_MAX, max(offset, stream.START.size))
    except OSError:
        return False
    finally:
        os.close(fd)
    for part_frame in stream.FrameReader.of(stream.pack_start() + tail, part):
        if isinstance(part_frame, stream.Part) and part_frame.stream in nonces:
            key = nonces[part_frame.stream], part_frame.generation
            found = Position(part_frame.seq, part_frame.offset + part_frame.length)
            kept[key] = max(kept.get(key, found), found)
    return True


def _read_note(path: str) -> tuple[int, str, dict[int, str]]:
    fd = open_own(path, os.O_RDONLY)
    try:
        lines = os.fsdecode(os.pread(fd, _NOTE_MAX, 0)).split("\n")
    finally:
        os.close(fd)
    if len(lines) < 3 or not os.path.isabs(lines[1]):
        raise Malformed(path, "is no recorder's note")
    pairs = [line.split(" ") for line in lines[2:-1]]
    return int(lines[0]), lines[1], {int(pair[0]): pair[1] for pair in pairs if len(pair) == 2}


def _is_fresh(path: str) -> bool:
    """Whether a note that leads nowhere belongs to a recorder that lives, and is only just beginning or ending."""
    pid = os.path.basename(path).partition("-")[0]
    return pid.isdigit() and os.path.exists(f"/proc/{pid}")
