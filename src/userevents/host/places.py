"""The runtime directories that a tracer serves: those of its user, or, as the system's tracer, those of everybody.

A directory is served by whoever holds its lock. The system's tracer makes one for each user, below a directory of root,
and takes what users have made elsewhere, too, as long as no tracer of theirs has it. All it does in a user's directory
it does as that user (host/acting.py).
"""

import contextlib
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

from ..errors import NoTracer, Unusable
from ..session import directory, layout, locks
from .acting import acting_as

Log = Callable[[str, str], None]
NAMES_MAX: Final = 16384
"""So many names of a directory are looked at: who has more of them hides only programs of their own."""
_USERS_MAX: Final = 4096
_PASSWD: Final = "/etc/passwd"
_SHARED_MEMORY: Final = "/dev/shm"
_PREFIX: Final = "userevents-"


class Place(NamedTuple):
    """A directory that is served, as whom, and the open file that holds its lock."""

    path: str
    uid: int
    gid: int
    lock: int


class Places:
    """The directories served; `everyone` for the system's tracer, which must be root and without supplementary groups.

    `take` begins. `look_around`, every now and then, finds what users have made, given up or taken away.
    """

    def __init__(self, log: Log, *, everyone: bool = False) -> None:
        self.everyone = everyone
        self.own: list[str] = []
        """Those in which we listen for clients."""
        self._log = log
        self._places: dict[str, Place] = {}
        self._owners: dict[str, tuple[int, int]] = {}
        """Whose each directory is or was: what is left of one that is given up is still theirs."""
        self._system_lock = -1
        self._told: set[str] = set()

    @property
    def paths(self) -> list[str]:
        """Every directory served."""
        return list(self._places)

    def take(self) -> None:
        """Take the locks. Raises `NoTracer` if another tracer holds one, `Unusable` if there is no directory."""
        try:
            if self.everyone:
                self._become_system()
            self._take_own()
        except (NoTracer, Unusable):
            self.release()
            raise
        if self.everyone:
            self.look_around()

    def _become_system(self) -> None:
        if os.geteuid():
            raise Unusable("only root can be the tracer of all users (sudo userevents serve --system)")
        if os.getgroups():
            raise Unusable("the tracer of all users must be in no supplementary group, which it would have as any user")
        directory.prepare_system()
        self._system_lock = take_lock(directory.SYSTEM)
        self.own.append(directory.SYSTEM)

    def _take_own(self) -> None:
        uid, gid = os.geteuid(), os.getegid()
        if self.everyone:
            self._make(uid, gid)
        found = directory.tracer_directories()
        left = [path for path in found if not _is_systems(path)]
        if not left:
            raise NoTracer(f"the system's tracer serves '{found[0]}', and this user has no other directory")
        for path in left:
            self._places[path] = Place(path, uid, gid, take_lock(path))
        self.own += left

    def look_around(self) -> list[str]:
        """Find directories that can be served now, and let go of those that are gone; returns the new ones."""
        for place in tuple(self._places.values()):
            if place.uid != os.geteuid() and not self._is_there(place):
                os.close(self._places.pop(place.path).lock)
        if not self.everyone:
            return []
        fresh = []
        for uid, gid in users():
            self._make(uid, gid)
            for path in directory.of_user(uid):
                if path not in self._places and os.path.lexists(path) and self._take(path, uid, gid):
                    fresh.append(path)
        return fresh

    def _make(self, uid: int, gid: int) -> None:
        """Make a user's directory below the system's, which only root can write: nobody can be in between."""
        path = f"{directory.SYSTEM}/{uid}"
        try:
            os.mkdir(path, 0o700)
            os.chown(path, uid, gid, follow_symlinks=False)
        except FileExistsError:
            pass
        except OSError as error:
            self._tell(path, f"cannot be made: {error.strerror}")

    def _take(self, path: str, uid: int, gid: int) -> bool:
        try:
            with acting_as(uid, gid):
                self._owners[path] = uid, gid
                directory.prepare(path)
                self._places[path] = Place(path, uid, gid, take_lock(path))
        except NoTracer:
            return False  # a tracer of the user's own: its turn ends, and then it is ours
        except (Unusable, OSError) as error:
            self._tell(path, str(error))
            return False
        return True

    def _is_there(self, place: Place) -> bool:
        """Whether the lock that we hold is that of the directory which now has this name."""
        try:
            with acting_as(place.uid, place.gid):
                found = os.stat(f"{place.path}/{layout.LOCK_NAME}", follow_symlinks=False)
            mine = os.fstat(place.lock)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)

    def acting(self, path: str) -> AbstractContextManager[None]:
        """Do something in a directory as its owner."""
        found = self._owners.get(path)
        return contextlib.nullcontext() if found is None else acting_as(*found)

    def is_foreign(self, path: str) -> bool:
        """Whether it is another user's."""
        return path in self._owners

    def names(self, path: str) -> list[str]:
        """The names in a directory, none where it cannot be read, which is said."""
        try:
            with self.acting(path), os.scandir(path) as entries:
                return [entry.name for entry in itertools.islice(entries, NAMES_MAX)]
        except OSError as error:
            if self.is_foreign(path):
                self._tell(path, str(error.strerror))
            else:
                self._log("warning", f"runtime directory '{path}': {error.strerror}")
            return []

    def _tell(self, path: str, problem: str) -> None:
        """Say once what is wrong with a user's directory: they could make it wrong as often as they like."""
        if path not in self._told and len(self._told) < _USERS_MAX:
            self._told.add(path)
            self._log("warning", problem if path in problem else f"runtime directory '{path}' {problem}")

    def release(self) -> None:
        """Let go of every lock."""
        for place in self._places.values():
            os.close(place.lock)
        self._places.clear()
        self.own.clear()
        if self._system_lock >= 0:
            os.close(self._system_lock)
            self._system_lock = -1


def take_lock(place: str) -> int:
    """Take the lock of a directory; returns the open file that holds it. Raises `NoTracer` or `Unusable`."""
    path = f"{place}/{layout.LOCK_NAME}"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise Unusable(f"'{path}' cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Unusable(f"'{path}' is no regular file")
    if not locks.lock(fd):
        os.close(fd)
        raise NoTracer(f"another tracer serves '{place}'")
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % os.getpid(), 0)  # what counts is the lock; this tells people, and `_is_systems`
    return fd


def _is_systems(place: str) -> bool:
    """Whether the system's tracer serves this directory of ours."""
    if not os.geteuid() or not locks.tracer_lives(place):
        return False
    try:
        with open(f"{place}/{layout.LOCK_NAME}", "rb") as file:
            pid = int(file.read(16))
        return os.stat(f"/proc/{pid}").st_uid == 0
    except (OSError, ValueError):
        return False


def users() -> Iterable[tuple[int, int]]:
    """Users other than root, with their groups: those of this machine, of its processes, and of what they left."""
    found: dict[int, int] = {}
    for uid, gid in itertools.chain(_of_the_machine(), _of_processes(), _of_directories()):
        if uid and len(found) < _USERS_MAX:
            found.setdefault(uid, gid)
    return found.items()


def _of_the_machine() -> Iterator[tuple[int, int]]:
    try:
        with open(_PASSWD, encoding="utf-8", errors="replace") as file:
            rows = [line.rstrip("\n").split(":") for line in file]
    except OSError:
        return
    for row in rows:
        if len(row) > 3 and row[2].isdecimal() and row[3].isdecimal():
            yield int(row[2]), int(row[3])


def _of_processes() -> Iterator[tuple[int, int]]:
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    found = entry.stat()
                    yield found.st_uid, found.st_gid


def _of_directories() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(OSError), os.scandir(_SHARED_MEMORY) as entries:
        for entry in itertools.islice(entries, NAMES_MAX):
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if entry.name == f"{_PREFIX}{found.st_uid}" and stat.S_ISDIR(found.st_mode):
                    yield found.st_uid, found.st_gid
