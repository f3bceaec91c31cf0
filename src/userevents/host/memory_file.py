"""A process's memory by ``/proc/PID/mem``, where a sandbox forbids `process_vm_readv` and `process_vm_writev`.

Container managers have long let nobody make these calls without CAP_SYS_PTRACE, and this file has the same rights but
for that. It also stores into pages that may not be written, and reads those that may not be read, as a debugger wants
it; so the process's map is asked first. What changes between the two is not seen.
"""

import ctypes
import errno
import functools
import os
from collections.abc import Sequence

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
    moved, whole = 0, memoryview(buffer)
    for addr, size in pieces:
        part = whole[moved : moved + size]
        try:
            if not _may(pid, addr, addr + size, "w" if writes else "r"):
                break
            if (os.pwrite(fd, part, addr) if writes else os.preadv(fd, [part], addr)) != size:
                break
        except OSError:
            break
        moved += size
    return moved or -1


def _may(pid: int, start: int, end: int, wanted: str) -> bool:
    """Whether the process may touch all from `start` to `end` so, as its map has it. Raises `OSError`."""
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            area, modes, _ = line.split(" ", 2)
            low, _, high = area.partition("-")
            if int(high, 16) <= start:
                continue
            if int(low, 16) > start or wanted not in modes:
                return False
            start = int(high, 16)
            if start >= end:
                return True
    return False
