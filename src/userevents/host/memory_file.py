"""A process's memory by ``/proc/PID/mem``, where a sandbox forbids `process_vm_readv` and `process_vm_writev`.

Container managers have long let nobody make these calls without CAP_SYS_PTRACE, and this file has the same rights but
for that. It also stores into pages that may not be written, and reads those that may not be read, as a debugger wants
it; so the process's map is asked first. What changes between the two is not seen.
"""

import ctypes
import errno
import functools
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter

_FORBIDDEN = (errno.EPERM, errno.ENOSYS)


@functools.cache
def is_needed() -> bool:
    """Whether the calls are forbidden; a process may always make them on itself."""
    libc = ctypes.CDLL(None, use_errno=True)
    none = ctypes.c_ulong(0)
    return libc.process_vm_readv(os.getpid(), None, none, None, none, none) < 0 and ctypes.get_errno() in _FORBIDDEN


def move(fd: int, pid: int, buffer: bytearray, pieces: Sequence[tuple[int, int]], *, writes: bool) -> int:
    """Move bytes between `buffer` and the pieces (address, size), in their order; return how many were, -1 for none.

    `fd` is an open ``/proc/PID/mem``. A piece that may not be touched as a whole ends it.
    """
    moved, whole, wanted = 0, memoryview(buffer), "w" if writes else "r"
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as lines:
            areas = _Areas(lines)
            for addr, size in pieces:
                if not areas.may(addr, addr + size, wanted):
                    break
                part = whole[moved : moved + size]
                if (os.pwrite(fd, part, addr) if writes else os.preadv(fd, [part], addr)) != size:
                    break
                moved += size
    except OSError:
        pass
    return moved or -1


class _Areas:
    """A process's map, read from its `lines` as far as it is asked about."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._unread = map(_area, lines)
        self._read: list[tuple[int, int, str]] = []

    def may(self, start: int, end: int, wanted: str) -> bool:
        """Whether the process may touch all from `start` to `end` so. Raises `OSError`."""
        known = self._read[bisect_right(self._read, start, key=itemgetter(1)) :]
        for low, high, modes in chain(known, self._more()):
            if high <= start:
                continue
            if low > start or wanted not in modes:
                return False
            start = high
            if start >= end:
                return True
        return False

    def _more(self) -> Iterator[tuple[int, int, str]]:
        for area in self._unread:
            self._read.append(area)
            yield area


def _area(line: str) -> tuple[int, int, str]:
    """Begin, end and modes of an area."""
    place, modes, _ = line.split(" ", 2)
    low, _, high = place.partition("-")
    return int(low, 16), int(high, 16), modes
