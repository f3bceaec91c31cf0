"""Who lives: the tracer's lock, a session's lock, and the process behind a session.

Locks are open-file-description locks: asking who holds one takes nothing, so a program that asks never
stands in the way of a tracer that is starting.
"""

import fcntl
import os
from struct import Struct

from .layout import LOCK_NAME, Header

_FLOCK = Struct("@hhqqi4x")


def _flock(kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0)


def lock(fd: int) -> bool:
    """Take the whole-file write lock of an open file; False if another open file holds it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK))
    except (BlockingIOError, PermissionError):
        return False
    return True


def is_locked(fd: int) -> bool:
    """Whether another open file holds the write lock of this one. Takes nothing."""
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK))
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def tracer_lives(directory: str) -> bool:
    """Whether a tracer holds the lock of this runtime directory."""
    try:
        fd = os.open(f"{directory}/{LOCK_NAME}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return is_locked(fd)
    except OSError:
        return False
    finally:
        os.close(fd)


def start_time(pid: int | str) -> int | None:
    """Return a process's start time in clock ticks since boot, None once it is gone or a zombie."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(fd, 1024)
    except OSError:
        return None
    finally:
        os.close(fd)
    rest = text[text.rfind(b")") + 2 :].split()
    if len(rest) < 20 or rest[0] in (b"Z", b"X"):
        return None
    return int(rest[19])


def pid_namespace() -> int:
    """Return the inode that names this process's PID namespace, 0 where /proc does not tell."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def is_mapped(pid: int, inode: int) -> bool:
    """Whether the process maps a file of this inode. True where that cannot be read: never declare dead by guess."""
    wanted = str(inode).encode()
    try:
        with open(f"/proc/{pid}/maps", "rb") as maps:
            return any(len(parts := line.split(None, 5)) > 4 and parts[4] == wanted for line in maps)
    except FileNotFoundError:
        return False
    except OSError:
        return start_time(pid) is not None


def lives(header: Header, fd: int) -> bool:
    """Whether the program behind an open session file still uses it.

    Dead when its pid with that start time is gone, or when the lock is free and the pid no longer maps
    the file (it went on by exec). In another PID namespace only the lock counts.
    """
    if header.pid_namespace != pid_namespace() or not header.pid_namespace:
        return is_locked(fd)
    if start_time(header.pid) != header.start_time:
        return False
    return is_locked(fd) or is_mapped(header.pid, os.fstat(fd).st_ino)
