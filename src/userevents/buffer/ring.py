"""The ring of one CPU: pages filled one after another, read without or with consuming, the oldest given up when full.

Source: user_events contract, ringbuffer.md section 5.
"""

from collections import deque
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final, NamedTuple

from ..abi.ring_buffer import (
    DELTA_BITS,
    DELTA_MAX,
    MAX_BODY_SIZE,
    PAGE_HEADER_SIZE,
    PAGE_SIZE,
    STAMP_BITS,
    TYPE_LEN_BITS,
    TYPE_LEN_TIME_STAMP,
)
from ..errors import Malformed
from .native import PageState, RingState, native
from .page import PageBuilder, records

MIN_PAGES = 2
_STAMP: Final = Struct("<II")
_WORD: Final = Struct("<I")


class Record(NamedTuple):
    """One record read: when, its body as stored (rounded up), and how many were lost right before it."""

    ts_ns: int
    body: bytes
    lost: int = 0


class _Page:
    """A page and how many records it holds; `read` of them have been consumed."""

    __slots__ = ("_records", "data", "entries", "read")

    def __init__(self, data: bytes, entries: int, read: int) -> None:
        self.data = data
        self.entries = entries
        self.read = read
        self._records: list[Record] | None = None

    def unread(self) -> list[Record]:
        """The records that have not been consumed."""
        if self._records is None:
            self._records = [Record(ts_ns, self.data[at : at + length]) for ts_ns, at, length in records(self.data)]
        return self._records[self.read :] if self.read else self._records


class _Tail(PageState, PageBuilder):
    """The page that is being filled."""

    def append_stamped(self, ts_ns: int, body: bytes) -> bool:
        """Add one record behind an absolute time stamp, but at the page's beginning, which has a stamp of its own."""
        start, last_ns = self._used, self.last_ns
        if not len(self) or ts_ns < last_ns:
            return self.append(ts_ns, body)
        if start + _STAMP.size > self._size:
            return False
        low = (ts_ns & DELTA_MAX) << TYPE_LEN_BITS | TYPE_LEN_TIME_STAMP
        _STAMP.pack_into(self._page, start, low, (ts_ns & (1 << STAMP_BITS) - 1) >> DELTA_BITS)
        self._used, self.last_ns = start + _STAMP.size, ts_ns
        if self.append(ts_ns, body):
            return True
        self._used, self.last_ns = start, last_ns
        return False


class CpuRing(RingState):
    """The records of one CPU, at most `pages` pages of `page_size` bytes. Single-threaded; time is passed in."""

    def __init__(self, pages: int, page_size: int = PAGE_SIZE) -> None:
        self._limit = max(pages, MIN_PAGES)
        self.page_size = page_size
        self.reset()

    def reset(self) -> None:
        """Forget every record and every count."""
        self._empty()
        self.entries = 0
        """Records held."""
        self.overrun = 0
        """Records overwritten."""
        self.dropped = 0
        """Records refused because the ring was full and may not overwrite."""
        self.read_events = 0
        """Records consumed."""
        self.too_large = 0
        """Records that fit no page."""

    def _empty(self) -> None:
        self._full: deque[_Page] = deque()
        self._tail = _Tail(self.page_size)
        self._must_stamp = False
        self._tail_entries = 0
        self._tail_read = 0
        self._lost = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read."""
        return self._tail_entries == self._tail_read and all(page.read >= page.entries for page in self._full)

    def fills(self, percent: int) -> bool:
        """Whether it has anything, and with the page that is being filled makes up `percent` of its pages."""
        return not self.is_empty and (len(self._full) + 1) * 100 >= percent * self._limit

    @property
    def pages(self) -> int:
        """How many pages it may hold."""
        return self._limit

    @property
    def size(self) -> int:
        """Bytes of data held."""
        return sum(_used(page.data) for page in self._full) + len(self._tail)

    @property
    def oldest_ns(self) -> int:
        """When the oldest record was written; 0 when there is none."""
        first = next(iter(self), None)
        return first.ts_ns if first is not None else 0

    def resize(self, pages: int) -> None:
        """Hold at most `pages` from now on; the oldest that do not fit any more go."""
        self._limit = max(pages, MIN_PAGES)
        while len(self._full) + 1 > self._limit:
            self._give_up_oldest()

    def change_pages(self, page_size: int) -> None:
        """Have pages of another size, about as many bytes of them. What was held is gone, though it still counts.

        Source: recordings of a real kernel (buffer_subbuf_size_kb).
        """
        data = self._limit * (self.page_size - PAGE_HEADER_SIZE)
        self.page_size = page_size
        self._limit = pages_for(data, page_size)
        self._empty()

    def write(self, ts_ns: int, body: bytes, *, overwrite: bool) -> bool:
        """Add a record; False when it was dropped: too large for a page, or no room and not to overwrite."""
        if len(body) > MAX_BODY_SIZE:
            self.too_large += 1
            return False
        fits = not self._must_stamp and self._tail.append(ts_ns, body)
        if not fits and not self._append_slowly(ts_ns, body, overwrite):
            self.dropped += 1
            return False
        self._tail_entries += 1
        self.entries += 1
        return True

    def appender(
        self, now: Callable[[], int], head: bytes, smallest: int, largest: int, *, overwrite: bool
    ) -> Callable[[bytes | bytearray], bool]:
        """Return what writes records that are `head` and a payload of `smallest` to `largest` bytes, stamped by `now`.

        It returns whether the payload was of such a size; of any other it does nothing.
        """
        if native is not None:
            found: Callable[[bytes | bytearray], bool]
            found = native.appender(self, now, head, smallest, largest, overwrite)
            return found
        write = self.write

        def append(payload: bytes | bytearray) -> bool:
            if not smallest <= len(payload) <= largest:
                return False
            write(now(), head + payload, overwrite=overwrite)
            return True

        return append

    def discard(self) -> None:
        """A record that had its place was given up: the next one cannot count its time from the one before it.

        Source: user_events contract, ringbuffer.md section 4.
        """
        self._must_stamp = True

    def _append_slowly(self, ts_ns: int, body: bytes, overwrite: bool) -> bool:
        """Add a record behind one that was given up, or to a new page; False when there is no room for that."""
        if self._must_stamp and self._tail.append_stamped(ts_ns, body):
            self._must_stamp = False
            return True
        if len(self._full) + 1 >= self._limit:
            if not overwrite:
                return False
            self._give_up_oldest()
        self._full.append(_Page(self._tail.take(), self._tail_entries, self._tail_read))
        self._tail_entries = self._tail_read = 0
        self._must_stamp = False  # a page begins with a stamp of its own
        return self._tail.append(ts_ns, body)

    def __iter__(self) -> Iterator[Record]:
        """The records held, oldest first; nothing is consumed."""
        for page in tuple(self._full):
            yield from page.unread()
        if self._tail_entries > self._tail_read:
            yield from self._tail_page().unread()

    def consume(self) -> Record | None:
        """Take the oldest record, with how many were lost before it; None when there is none."""
        while self._full and self._full[0].read >= self._full[0].entries:
            self._full.popleft()
        page = self._full[0] if self._full else self._tail_page()
        if page.read >= page.entries:
            return None
        record = page.unread()[0]
        page.read += 1
        if not self._full:
            self._tail_read = page.read
        self._count_read(1)
        lost, self._lost = self._lost, 0
        return record._replace(lost=lost)

    def peek(self) -> Record | None:
        """The oldest record, not consumed."""
        record = next(iter(self), None)
        return record._replace(lost=self._lost) if record is not None else None

    def read_page(self, room: int | None = None) -> bytes | None:
        """Take the records of the oldest page, as a page; None when there is none.

        With `room`, only as many of them as fit so many bytes, the page's header included; ``b""`` if none does.

        Source: user_events contract, ringbuffer.md section 6.
        """
        while self._full and self._full[0].read >= self._full[0].entries:
            self._full.popleft()
        page = self._full[0] if self._full else self._tail_page()
        if page.read >= page.entries:
            return None
        found = page.unread()
        taken = len(found) if room is None or room >= self.page_size else _fitting(found, room)
        if not taken:
            return b""
        is_whole = taken == page.entries
        self._take_from(page, taken)
        lost, self._lost = self._lost, 0
        if is_whole and not lost:
            return page.data
        builder = PageBuilder(self.page_size)
        for record in found[:taken]:
            builder.append(record.ts_ns, record.body)
        return builder.take(missed=lost)

    def _tail_page(self) -> _Page:
        return _Page(self._tail.peek(), self._tail_entries, self._tail_read)

    def _take_from(self, page: _Page, taken: int) -> None:
        """Consume the next records of the oldest page; one that has no more is given up."""
        page.read += taken
        self._count_read(taken)
        if self._full:
            if page.read == page.entries:
                self._full.popleft()
        elif page.read == page.entries:
            self._tail.take()
            self._tail_entries = self._tail_read = 0
        else:
            self._tail_read = page.read

    def _give_up_oldest(self) -> None:
        oldest = self._full.popleft()
        gone = oldest.entries - oldest.read
        self.overrun += gone
        self.entries -= gone
        self._lost += gone

    def _count_read(self, count: int) -> None:
        self.entries -= count
        self.read_events += count


def pages_for(size: int, page_size: int = PAGE_SIZE) -> int:
    """How many pages a ring of `size` bytes has.

    >>> pages_for(1408 << 10), pages_for(1408 << 10, 8192)
    (354, 177)
    """
    return max(-(-size // (page_size - PAGE_HEADER_SIZE)), MIN_PAGES)


def ring_kib(pages: int, page_size: int = PAGE_SIZE) -> int:
    """The size of a ring of so many pages as ``buffer_size_kb`` shows it."""
    return pages * (page_size - PAGE_HEADER_SIZE) >> 10


def _fitting(found: list[Record], room: int) -> int:
    """How many of these records, beginning with the first, fit a page of `room` bytes."""
    builder = PageBuilder(max(room, PAGE_HEADER_SIZE))
    for number, record in enumerate(found):
        try:
            if not builder.append(record.ts_ns, record.body):
                return number
        except Malformed:  # fits no page of that size
            return number
    return len(found)


def _used(page: bytes) -> int:
    return int.from_bytes(page[8:PAGE_HEADER_SIZE], "little") & 0xFFFFF
