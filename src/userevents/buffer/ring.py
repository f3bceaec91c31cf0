"""The ring of one CPU: pages filled one after another, read without or with consuming, the oldest given up when full.

Source: user_events contract, ringbuffer.md section 5.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from ..abi.ring_buffer import MAX_BODY_SIZE, PAGE_DATA_SIZE, PAGE_HEADER_SIZE
from .page import PageBuilder, records

MIN_PAGES = 2


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


class CpuRing:
    """The records of one CPU, at most `pages` pages of them. Single-threaded; time is passed in."""

    def __init__(self, pages: int) -> None:
        self._limit = max(pages, MIN_PAGES)
        self.reset()

    def reset(self) -> None:
        """Forget every record and every count."""
        self._full: deque[_Page] = deque()
        self._tail = PageBuilder()
        self._tail_entries = 0
        self._tail_read = 0
        self._lost = 0
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

    def write(self, ts_ns: int, body: bytes, *, overwrite: bool) -> bool:
        """Add a record; False when it was dropped: too large for a page, or no room and not to overwrite."""
        if len(body) > MAX_BODY_SIZE:
            self.too_large += 1
            return False
        if not self._tail.append(ts_ns, body):
            if len(self._full) + 1 >= self._limit:
                if not overwrite:
                    self.dropped += 1
                    return False
                self._give_up_oldest()
            self._full.append(_Page(self._tail.take(), self._tail_entries, self._tail_read))
            self._tail_entries = self._tail_read = 0
            self._tail.append(ts_ns, body)
        self._tail_entries += 1
        self.entries += 1
        return True

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

    def read_page(self) -> bytes | None:
        """Take the records of the oldest page, as a page; None when there is none.

        Source: user_events contract, ringbuffer.md section 6.
        """
        while self._full and self._full[0].read >= self._full[0].entries:
            self._full.popleft()
        page = self._full.popleft() if self._full else self._take_tail()
        left = page.entries - page.read
        if not left:
            return None
        self._count_read(left)
        lost, self._lost = self._lost, 0
        builder = PageBuilder()
        for record in page.unread():
            builder.append(record.ts_ns, record.body)
        return builder.take(missed=lost)

    def _tail_page(self) -> _Page:
        return _Page(self._tail.peek(), self._tail_entries, self._tail_read)

    def _take_tail(self) -> _Page:
        page = _Page(self._tail.take(), self._tail_entries, self._tail_read)
        self._tail_entries = self._tail_read = 0
        return page

    def _give_up_oldest(self) -> None:
        oldest = self._full.popleft()
        gone = oldest.entries - oldest.read
        self.overrun += gone
        self.entries -= gone
        self._lost += gone

    def _count_read(self, count: int) -> None:
        self.entries -= count
        self.read_events += count


def pages_for(size: int) -> int:
    """How many pages a ring of `size` bytes has.

    >>> pages_for(1408 << 10)
    354
    """
    return max(-(-size // PAGE_DATA_SIZE), MIN_PAGES)


def ring_kib(pages: int) -> int:
    """The size of a ring of so many pages as ``buffer_size_kb`` shows it."""
    return pages * PAGE_DATA_SIZE >> 10


def _used(page: bytes) -> int:
    return int.from_bytes(page[8:PAGE_HEADER_SIZE], "little") & 0xFFFFF
