"""Where the kernel's own ``user_events_data`` is, and whether this process may open it.

A directory called tracing need not be the kernel's: what says so is its file system's type, in the mount table. The
table is read before anything is opened, since opening a file of a door would ask its tracer, maybe this very process.
"""

import os

from ..abi.tracefs import USER_EVENTS_DATA
from ..errors import Unusable
from ..session.directory import filesystem

_MOUNTS = "/proc/self/mountinfo"
_TRACEFS = "tracefs"
_DEBUGFS = "debugfs"


def open_data() -> int:
    """Open the kernel's ``user_events_data`` for writing and return the descriptor.

    Raises `Unusable` with what was found at each place.
    """
    try:
        with open(_MOUNTS, "rb") as mounts:
            table = mounts.read()
    except OSError as error:
        raise Unusable(f"where tracefs is mounted cannot be found out: '{_MOUNTS}': {error.strerror}") from None
    found = []
    for path in data_files(table):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            found.append(f"'{path}': {error.strerror}")
            continue
        if filesystem(os.fstat(fd).st_dev) == _TRACEFS:
            return fd
        os.close(fd)
        found.append(f"'{path}' is not the kernel's")
    raise Unusable("; ".join(found) or "no tracefs is mounted where this process could see it")


def data_files(mounts: bytes) -> list[str]:
    """Return where a mount table (``/proc/PID/mountinfo``) lets expect the file: on what is mounted last at each place.

    >>> data_files(b"24 20 0:12 / /sys/kernel/tracing rw - tracefs tracefs rw")
    ['/sys/kernel/tracing/user_events_data']
    """
    if b" - tracefs " not in mounts and b" - debugfs " not in mounts:
        return []
    types: dict[str, str] = {}
    for line in mounts.decode("utf-8", "surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        words = left.split(" ")
        if len(words) > 4:
            types[_unescaped(words[4])] = right.partition(" ")[0]
    # The kernel mounts tracefs at debugfs' directory for it when somebody comes there, and not before.
    found = [place for place, kind in types.items() if kind == _TRACEFS]
    debugfs = [f"{place}/tracing" for place, kind in types.items() if kind == _DEBUGFS]
    found += [place for place in debugfs if place not in types]
    # The file may also be mounted alone, into a container.
    return [place if place.endswith(f"/{USER_EVENTS_DATA}") else f"{place}/{USER_EVENTS_DATA}" for place in found]


def _unescaped(path: str) -> str:
    """Return a path as it is: a mount table writes blanks and backslashes in octal."""
    first, *more = path.split("\\")
    return first + "".join(chr(int(piece[:3], 8)) + piece[3:] for piece in more)
