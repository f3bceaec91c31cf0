"""The program's side of a ring: reserve and commit kernel-format records, in pure Python.

The order of the stores is the whole contract with a reader that may look, and a SIGKILL that may strike,
between any two of them: bytes of the record first, the page's commit word last. Between the commit and the
private state that mirrors it stands no call, so that a signal handler cannot run, or raise, in between.
"""

import os
from _thread import allocate_lock
from collections.abc import Callable
from time import monotonic_ns

from ..abi.ring_buffer import (
    DELTA_BITS,
    DELTA_MAX,
    MAX_BODY_SIZE,
    PAGE_DATA_SIZE,
    PAGE_HEADER_SIZE,
    PAGE_SIZE,
    SHORT_BODY_MAX,
    TYPE_LEN_BITS,
    TYPE_LEN_TIME_EXTEND,
)
from ..errors import Unusable
from . import layout
from .birth import make_file
from .mapping import Mapping

_ENTRY = layout.RING_TABLE_ENTRY.pack_into
_HEAD = layout.RING_HEAD // 8
_TAIL = layout.RING_TAIL // 8
_TAIL_OFFSET = layout.RING_TAIL_OFFSET // 8
_WAITING = layout.RING_READER_WAITING // 4


def make(path: str, *, pages: int, generation: int, nonce: bytes) -> None:
    """Make an empty, fully allocated ring file; one already there is left alone.

    Either side may make the ring of a generation: link(2) decides who was first. Raises `OSError`
    (ENOSPC where memory is short; nothing is left behind).
    """

    def prepare(fd: int) -> None:
        os.posix_fallocate(fd, 0, layout.ring_size(pages))
        identity = layout.RING_IDENTITY_STRUCT.pack(
            layout.RING_MAGIC,
            layout.VERSION,
            pages,
            generation,
            0,
            layout.RING_TABLE,
            layout.ring_data_offset(pages),
            nonce,
        )
        os.pwrite(fd, identity, layout.RING_IDENTITY)

    try:
        os.close(make_file(path, prepare))
    except FileExistsError:
        pass


def _no_cpu() -> int:
    return 0


_current_cpu: Callable[[], int] | None = None


def find_current_cpu() -> None:
    """Find a cheap way to ask which CPU runs us. ctypes comes late: a program that nobody traces never pays for it."""
    global _current_cpu
    if _current_cpu is not None:
        return
    _current_cpu = _no_cpu
    try:
        import ctypes

        ask = ctypes.CDLL(None).sched_getcpu
    except (ImportError, OSError, AttributeError):
        return
    _current_cpu = lambda: max(ask(), 0)  # noqa: E731


class Ring:
    """A mapped ring that this process alone writes, one page of records at a time, discarding when full.

    `full` is set when the last write found no room. Not thread safe: the writer's lock is `Writer`'s.
    """

    __slots__ = (
        "_base",
        "_commit",
        "_count",
        "_cpu",
        "_data",
        "_head",
        "_last",
        "_map",
        "_mapping",
        "_mask",
        "_off",
        "_pages",
        "_q",
        "_w",
        "generation",
        "path",
    )

    def __init__(self, path: str, *, generation: int, nonce: bytes) -> None:
        self.path = path
        self.generation = generation
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            size = os.fstat(fd).st_size
            raw = os.pread(fd, layout.RING_IDENTITY_STRUCT.size, layout.RING_IDENTITY)
            if len(raw) < layout.RING_IDENTITY_STRUCT.size:
                raise Unusable(f"ring '{path}' is too short ({size} bytes)")
            magic, version, pages, gen, _mode, table, data, owner = layout.RING_IDENTITY_STRUCT.unpack(raw)
            if (magic, version, gen, owner, table) != (
                layout.RING_MAGIC,
                layout.VERSION,
                generation,
                nonce,
                layout.RING_TABLE,
            ):
                raise Unusable(f"ring '{path}' is not generation {generation} of this session")
            if pages & (pages - 1) or not pages or size != layout.ring_size(pages):
                raise Unusable(f"ring '{path}' has {size} bytes for {pages} pages")
            self._mapping = Mapping(fd, size)
        finally:
            os.close(fd)
        self._map = self._mapping.map
        self._pages = pages
        self._mask = pages - 1
        self._data = data
        view = memoryview(self._map)
        self._q = view.cast("Q")
        self._w = view.cast("I")
        find_current_cpu()
        self._cpu = _current_cpu or _no_cpu
        self._head = self._q[_HEAD]
        self._count = 0
        self._enter(self._head)

    def _enter(self, head: int) -> None:
        """Point the private state at page `head`, which the reader may already see, empty."""
        index = head & self._mask
        _ENTRY(self._map, layout.RING_TABLE + 16 * index, self._count, self._cpu(), 0)
        start = self._data + PAGE_SIZE * index
        q = self._q
        q[(start >> 3) + 1] = 0
        self._commit = (start >> 3) + 1
        self._base = start + PAGE_HEADER_SIZE
        self._off = 0
        self._last = 0
        q[_HEAD] = self._head = head

    def let_go(self) -> None:
        """Call when the ring is not written any more."""
        self._mapping.let_go()

    def has_room_for_page(self) -> bool:
        """Whether the reader has left room to open the next page."""
        return bool(self._head + 1 - self._q[_TAIL] < self._pages)

    @property
    def reader_waits(self) -> bool:
        """Whether the reader sleeps until a page is opened."""
        return self._w[_WAITING] != 0

    @property
    def drained(self) -> bool:
        """Whether the reader has taken every committed byte."""
        q = self._q
        return q[_TAIL] == self._head and q[_TAIL_OFFSET] == self._off

    def open_page(self) -> None:
        """Close the current page and open the next. The caller has made sure that there is room."""
        self._enter(self._head + 1)

    def put(self, body: bytes, counters: "memoryview[int]", slot: int) -> bool:
        """Commit one record and count its attempt; False, and nothing done, when the page has no room for it.

        `body` is the common header and payload, padded to 4 bytes, at least 12 (ringbuffer.md section 3).
        """
        size = len(body)
        off = self._off
        if off + size > _ROOM and (off or size > MAX_BODY_SIZE):
            return False
        now = monotonic_ns()
        words = self._w
        start = self._base + off
        if off == 0:
            self._q[self._commit - 1] = now
            delta = 0
        else:
            delta = now - self._last
            if delta > DELTA_MAX:
                words[start >> 2] = TYPE_LEN_TIME_EXTEND | (delta & DELTA_MAX) << TYPE_LEN_BITS
                words[(start >> 2) + 1] = delta >> DELTA_BITS
                start += 8
                off += 8
                delta = 0
        if size <= SHORT_BODY_MAX:
            words[start >> 2] = size >> 2 | delta << TYPE_LEN_BITS
            self._map[start + 4 : start + 4 + size] = body
            off += size + 4
        else:
            words[start >> 2] = delta << TYPE_LEN_BITS
            words[(start >> 2) + 1] = size + 4
            self._map[start + 8 : start + 8 + size] = body
            off += size + 8
        if _WEAKLY_ORDERED:
            _fence()
        # From here to the end: no call, so nothing can come between.
        counters[slot] += 1
        self._q[self._commit] = off
        self._off = off
        self._last = now
        self._count += 1
        return True


_ROOM = PAGE_DATA_SIZE - 16  # offset and size of a body, which may take a time extend and a long header
_WEAKLY_ORDERED = os.uname().machine not in ("x86_64", "i686", "i386")
_fence_lock = allocate_lock()


def _fence() -> None:
    """Order the record's bytes before its commit on machines that reorder stores.

    Releasing a lock orders what came before it, taking one orders what comes after, and a release
    followed by an acquire is not reordered.
    """
    with _fence_lock:
        pass
    with _fence_lock:
        pass
