"""Where the next record goes: reserve and commit kernel-format records, in pure Python.

The order of the stores is the whole contract with a reader that may look, and a SIGKILL that may strike,
between any two of them: bytes of the record first, the page's commit word last. Between the commit and the
private state that mirrors it stands no call, so that a signal handler cannot run, or raise, in between.

`_writer.c` of the client is this class once more, in C, and `inline` its usual case: what one of them does, all do.
"""

import os
from _thread import allocate_lock
from collections.abc import Callable
from mmap import mmap
from time import monotonic_ns
from typing import Final

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
from . import layout

WRITTEN: Final = 0
READER_WAITS: Final = 1
"""Written, on a page opened for it, and so many pages are unread that the reader wants to be woken: ring the bell."""
RING_CHANGED: Final = 2
"""Not written: there is no ring, or the tracer wants another, or none."""
FULL: Final = 3
TOO_LARGE: Final = 4
BELL_NS: Final = 1_000_000
"""A reader that was woken so shortly before is about to look anyway, unless an eighth of the ring was opened since."""

_ENTRY = layout.RING_TABLE_ENTRY.pack_into
_HEAD = layout.RING_HEAD // 8
_OPENING = layout.RING_OPENING // 8
_TAIL = layout.RING_TAIL // 8
_TAIL_OFFSET = layout.RING_TAIL_OFFSET // 8
_WAITING = layout.RING_READER_WAITING // 4
_GENERATION = layout.RING_GENERATION // 4
_PAGES = layout.RING_PAGES // 4
ROOM: Final = PAGE_DATA_SIZE - 16
"""Offset and size of a body that fits a page together, also with a time extend and a long header."""
WEAKLY_ORDERED: Final = os.uname().machine not in ("x86_64", "i686", "i386")
_NO_MEMORY = bytearray()
_NO_BYTES = memoryview(b"")
_NO_WORDS = _NO_BYTES.cast("I")
_fence_lock = allocate_lock()


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


class Cursor:
    """The place in a ring that this process alone writes, one page of records at a time.

    `lines` and `counters` are the session's. `expects` is the generation of rings that it takes for its own: when the
    tracer's line says another, the next page is not opened. Not thread safe: the writer's lock is `Writer`'s.
    """

    __slots__ = (
        "_base",
        "_bell_head",
        "_bell_ns",
        "_bytes",
        "_commit",
        "_count",
        "_counters",
        "_cpu",
        "_data",
        "_head",
        "_last",
        "_lines",
        "_map",
        "_mask",
        "_off",
        "_overwrite",
        "_page",
        "_pages",
        "_q",
        "_ticket",
        "_w",
        "attempts",
        "expects",
    )

    def __init__(self, lines: "memoryview[int]", counters: "memoryview[int]") -> None:
        self._lines = lines
        self._counters = counters
        self.attempts = counters[:: layout.COUNTERS_PER_EVENT].tolist()
        """The counters of attempts once more: Python reads a list in a third of the time."""
        self.leave()

    @staticmethod
    def prepare() -> None:
        """Import what writing needs; call it before the first record, where imports do no harm."""
        find_current_cpu()

    def enter(self, memory: mmap, pages: int, data: int, overwrite: bool, generation: int) -> None:
        """Write to this ring from now on: `pages` pages from byte `data` of `memory` on."""
        self.leave()  # interrupted before the end, there is no ring
        self._map: mmap | bytearray = memory
        self._bytes = memoryview(memory)
        self._q = self._bytes.cast("Q")
        self._w = self._bytes.cast("I")
        self._pages = pages
        self._mask = pages - 1
        self._data = data
        self._overwrite = overwrite
        self._cpu = _current_cpu or _no_cpu
        self._count = 0
        self._bell_ns = self._bell_head = 0
        self._enter(self._q[_HEAD])
        self.expects = generation

    def leave(self) -> None:
        """Have no ring from now on, and keep no memory of one."""
        self.expects = 0
        self._pages = 0
        self._last = 0
        self._ticket: object = None
        self._off = PAGE_DATA_SIZE  # no record fits: the next one asks for a ring
        self._map = _NO_MEMORY
        self._page = self._bytes = _NO_BYTES
        self._q = self._w = _NO_WORDS

    def _enter(self, head: int) -> None:
        """Prepare the slot of page `head`, point the private state at it, then show it to the reader, empty."""
        index = head & self._mask
        start = self._data + PAGE_SIZE * index
        q = self._q
        q[_OPENING] = head
        if WEAKLY_ORDERED:
            fence()
        _ENTRY(self._map, layout.RING_TABLE + 16 * index, self._count, self._cpu(), 0)
        q[(start >> 3) + 1] = 0
        if WEAKLY_ORDERED:
            fence()
        self._commit = (start >> 3) + 1
        self._base = start + PAGE_HEADER_SIZE
        self._page = self._bytes[self._base : start + PAGE_SIZE]
        self._off = 0
        self._last = 0
        q[_HEAD] = self._head = head

    def _open_page(self) -> int:
        """Close the current page and open the next, if the tracer wants this ring and there is room."""
        if not self._pages or self._lines[_GENERATION] != self.expects or not self._lines[_PAGES]:
            return RING_CHANGED
        head = self._head + 1
        if not self._overwrite and head - self._q[_TAIL] >= self._pages:
            return FULL
        self._enter(head)
        waits_for = self._w[_WAITING]
        return READER_WAITS if waits_for and head - self._q[_TAIL] >= waits_for else WRITTEN

    def _bell_is_due(self, now: int) -> bool:
        """Whether to wake the reader: not for each page of a burst, which would cost more than all its records."""
        if now - self._bell_ns < BELL_NS and self._head - self._bell_head < self._pages >> 3:
            return False
        self._bell_ns, self._bell_head = now, self._head
        return True

    @property
    def drained(self) -> bool:
        """Whether the reader has taken every committed byte."""
        q = self._q
        return not self._pages or (q[_TAIL] == self._head and q[_TAIL_OFFSET] == self._off)

    def put(self, slot: int, body: bytes) -> int:
        """Commit one record and count its attempt in counter `slot`; or say why not, with nothing done.

        `body` is the common header and payload, padded to 4 bytes, at least 12 (ringbuffer.md section 3).
        """
        self._ticket = None  # what was packed `inline` and not committed is lost
        size = len(body)
        off = self._off
        outcome = WRITTEN
        if off + size > ROOM and (off or size > MAX_BODY_SIZE):
            if size > MAX_BODY_SIZE:
                return TOO_LARGE
            outcome = self._open_page()
            if outcome > READER_WAITS:
                return outcome
            off = 0
        now = monotonic_ns()
        if outcome == READER_WAITS and not self._bell_is_due(now):
            outcome = WRITTEN
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
        if WEAKLY_ORDERED:
            fence()
        # From here to the end: no call, so nothing can come between.
        self._counters[slot] = self.attempts[slot >> 3] = self.attempts[slot >> 3] + 1
        self._q[self._commit] = off
        self._off = off
        self._last = now
        self._count += 1
        return outcome


def fence() -> None:
    """Order the stores before it before those that follow, on machines that reorder stores.

    Releasing a lock orders what came before it, taking one orders what comes after, and a release
    followed by an acquire is not reordered.
    """
    with _fence_lock:
        pass
    with _fence_lock:
        pass
