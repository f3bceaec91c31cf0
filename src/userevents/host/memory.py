"""Memory: giving that of rings back while programs still map them, and keeping the tracer's own.

A mapped page that is punched out of its file reads as zeros, and a store to it takes a new page of memory: a SIGBUS
where there is none left. So only what the program will not store to any more may go.
"""

import ctypes
import os
from collections.abc import Iterable, Iterator

from ..abi.ring_buffer import PAGE_SIZE
from ..session import layout
from ..session.ring_file import RingFile

_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
_libc = ctypes.CDLL(None, use_errno=True)
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_HEAP_KEPT = 32 << 20
_LARGEST_ON_HEAP = 8 << 20


def keep_heap() -> None:
    """Have the allocator keep what it has: pages are copied through the same memory again and again.

    Else each copy begins with memory fresh from the kernel, which costs three times as much as the copying.
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_ON_HEAP)
        _libc.mallopt(_M_TRIM_THRESHOLD, _HEAP_KEPT)


def give_back(ring: RingFile) -> None:
    """Free all of a ring but what its program may still store to after it was told that no ring is wanted.

    It looks for that whenever it opens a page. So it may be writing its current page, and, where it had just looked,
    open one more: these two stay, with their entries in the page table, and the header.
    """
    head = ring.head()
    slots = {number & (ring.pages - 1) for number in (head, head + 1)}
    data = layout.ring_data_offset(ring.pages)
    entries = {(layout.RING_TABLE + slot * layout.RING_TABLE_ENTRY.size) // PAGE_SIZE for slot in slots}
    _punch_beside(ring.fd, data // PAGE_SIZE, {0, *entries, *(data // PAGE_SIZE + slot for slot in slots)}, ring.pages)


def allocate(ring: RingFile) -> None:
    """Have all of a ring's memory there again. Raises `OSError` where it is short."""
    os.posix_fallocate(ring.fd, 0, layout.ring_size(ring.pages))


def give_back_unused(ring: RingFile) -> None:
    """Free the pages of a dead program's ring that it never came to write."""
    head = ring.head()
    if head + 1 < ring.pages:
        first = layout.ring_data_offset(ring.pages) + (head + 1) * PAGE_SIZE
        _punch(ring.fd, first, layout.ring_size(ring.pages) - first)


def _punch_beside(fd: int, first_data: int, kept: set[int], pages: int) -> None:
    for start, stop in _gaps(kept, first_data + pages):
        _punch(fd, start * PAGE_SIZE, (stop - start) * PAGE_SIZE)


def _gaps(kept: Iterable[int], end: int) -> Iterator[tuple[int, int]]:
    start = 0
    for number in [*sorted(kept), end]:
        if number > start:
            yield start, number
        start = number + 1


def _punch(fd: int, start: int, size: int) -> None:
    """Make a hole in a file. A file system that cannot keeps the memory until the file is gone."""
    _libc.fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, ctypes.c_long(start), ctypes.c_long(size))


def has_memory(directory: str, pages: int) -> bool:
    """Whether the file system has four times this many pages free."""
    try:
        room = os.statvfs(directory)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize > 4 * pages * PAGE_SIZE
