"""The tracer's side of a ring: what was committed, page by page, and what was overwritten before it was read.

Reading never waits for the program and never holds it up. In overwrite mode the program may take a page away
while it is being copied: `opening` tells afterwards which copies are good, and the page table's record counts
tell, to the last record, what was missed.
"""

import copy
import os
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from ..abi.ring_buffer import PAGE_DATA_SIZE, PAGE_HEADER_SIZE, PAGE_SIZE
from ..buffer.page import records, walk
from ..errors import Malformed
from . import layout
from .untrusted import open_own, read_exactly

_PAGE_HEAD = Struct("<QQ")
_ENTRY_SIZE = layout.RING_TABLE_ENTRY.size
_TAIL = Struct("<QQIIQ")
_PAGES_AT_ONCE = 128
_WORTH_A_RUN = 4
_TRIES = 100
_NEVER = (1 << 32) - 1


class Part(NamedTuple):
    """Committed bytes of one page: `data` stands at `offset` of the data of page number `seq`.

    `flags` are the page table's (layout.PAGE_CPUS_IN_RECORDS).
    """

    seq: int
    cpu: int
    ts: int
    offset: int
    data: bytes
    flags: int = 0

    def parts(self) -> "Iterator[Part]":
        """Yield itself, as a `Run` yields its pages."""
        yield self


class Run(NamedTuple):
    """Whole pages as they lie in the ring, the first of them number `seq`; `table` holds their table entries."""

    seq: int
    table: bytes
    pages: bytes

    def parts(self) -> Iterator[Part]:
        """Yield what each page holds."""
        for number, (_, cpu, flags) in enumerate(layout.RING_TABLE_ENTRY.iter_unpack(self.table)):
            start = number * PAGE_SIZE
            ts, commit = _PAGE_HEAD.unpack_from(self.pages, start)
            data = self.pages[start + PAGE_HEADER_SIZE : start + PAGE_HEADER_SIZE + commit]
            if data:
                yield Part(self.seq + number, min(cpu, 0xFFFF), ts, 0, data, flags)


Piece = Part | Run


class Position(NamedTuple):
    """How far a ring has been read: `offset` bytes of the data of page `seq`, all pages before it whole."""

    seq: int
    offset: int


class RingFile:
    """A ring as its tracer holds it. `position` is how far it was read; `acknowledge` gives the room back.

    In overwrite mode `passed` records lie before the position, and `overwritten` of them were never read.
    Raises `Malformed` for a file that is no ring of this session, `OSError` if it cannot be opened.
    """

    def __init__(self, directory: str, name: str, generation: int, nonce: bytes) -> None:
        self.path = f"{directory}/{layout.ring_name(name, generation)}"
        self.generation = generation
        self.overwritten = 0
        self.passed = 0
        self.fd = open_own(self.path, os.O_RDWR)
        try:
            self._check(generation, nonce)
            self.position = self._consumed()
        except BaseException:
            os.close(self.fd)
            raise
        self.acknowledged = self.position
        self._waits_for = 0

    def _check(self, generation: int, nonce: bytes) -> None:
        raw = read_exactly(self.fd, layout.RING_IDENTITY_STRUCT.size, layout.RING_IDENTITY, self.path)
        magic, version, pages, found, mode, table, data, owner = layout.RING_IDENTITY_STRUCT.unpack(raw)
        if magic != layout.RING_MAGIC or version != layout.VERSION or found != generation or owner != nonce:
            raise Malformed(self.path, f"is not ring generation {generation} of its session (magic {magic!r})")
        if not pages or pages & (pages - 1) or pages > layout.MAX_RING_PAGES:
            raise Malformed(self.path, f"claims {pages} pages")
        if mode not in layout.MODES:
            raise Malformed(self.path, f"claims mode {mode}")
        size = os.fstat(self.fd).st_size
        if (table, data) != (layout.RING_TABLE, layout.ring_data_offset(pages)) or size != layout.ring_size(pages):
            raise Malformed(self.path, f"has {size} bytes, which does not go with {pages} pages")
        self.pages: int = pages
        self.mode: int = mode
        self._data: int = data

    def _consumed(self) -> Position:
        raw = read_exactly(self.fd, _TAIL.size, layout.RING_TAIL, self.path)
        seq, offset, _, _, self.passed = _TAIL.unpack(raw)
        head = self.head()
        oldest = 0 if self.overwrites else head - self.pages
        if not oldest <= seq <= head or offset > PAGE_DATA_SIZE:
            raise Malformed(self.path, f"was read up to page {seq}, byte {offset}, while page {head} is written")
        return Position(seq, offset)

    @property
    def overwrites(self) -> bool:
        """Whether the newest page takes the place of the oldest."""
        return self.mode == layout.MODE_OVERWRITE

    def head(self) -> int:
        """Return the number of the page that the program writes now."""
        return self._word(layout.RING_HEAD)

    def _word(self, offset: int) -> int:
        return int.from_bytes(read_exactly(self.fd, 8, offset, self.path), "little")

    def first_intact(self) -> int:
        """Return the number of the oldest page that the program has not taken away, as of now."""
        return max(self._word(layout.RING_OPENING) - self.pages + 1, 0)

    def _table(self, seq: int, count: int) -> bytes:
        at = layout.RING_TABLE + _ENTRY_SIZE * (seq & (self.pages - 1))
        return read_exactly(self.fd, _ENTRY_SIZE * count, at, self.path)

    def entry(self, seq: int) -> tuple[int, int, int]:
        """Return a page's table entry: the records before it, its CPU, its flags."""
        before, cpu, flags = layout.RING_TABLE_ENTRY.unpack(self._table(seq, 1))
        return before, min(cpu, 0xFFFF), flags

    def _page_at(self, seq: int) -> int:
        return self._data + PAGE_SIZE * (seq & (self.pages - 1))

    def cursor(self, position: Position, passed: int) -> "RingFile":
        """Return a reader of the same ring that begins elsewhere, behind `passed` records.

        It gives nothing back, so that it may find pages taken away in either mode, and it has nothing to close.
        """
        other = copy.copy(self)
        other.position, other.passed, other.overwritten = position, passed, 0
        other.mode = layout.MODE_OVERWRITE
        return other

    @property
    def count(self) -> int:
        """How many records lie before the position."""
        return self.passed if self.overwrites else self.records_before(self.position)

    @property
    def held_size(self) -> int:
        """Bytes of memory that hold records now."""
        return min(self.head() + 1, self.pages) * PAGE_SIZE

    def read(self, budget: int) -> list[Part]:
        """Return what was committed since the last call, page by page: `take`, told simply."""
        return [part for piece in self.take(budget) for part in piece.parts()]

    def take(self, budget: int, until: Position | None = None) -> list[Piece]:
        """Return what was committed since the last call, about `budget` bytes at most, and move `position` on.

        Takes the page being written only when no whole page waits, and nothing from `until` on. Raises Malformed
        when the program's numbers do not hold; the position then stands where it was.
        """
        before = self.position, self.passed, self.overwritten
        pieces: list[Piece] = []
        try:
            head = self.catch_up()
            end = head if until is None else min(head, until.seq)
            while self.position.seq < end and budget > 0:
                start = self.position.seq
                pieces += self._take_whole(end)
                budget -= PAGE_SIZE * (self.position.seq - start)
            if not pieces and self.position.seq == end and budget > 0:
                limit = PAGE_DATA_SIZE if until is None or until.seq > end else until.offset
                pieces += self._take_one(limit, is_whole=False)
        except Malformed:
            self.position, self.passed, self.overwritten = before
            raise
        return pieces

    def catch_up(self) -> int:
        """Leave out what the program has overwritten, counting it; return the number of the page it writes now."""
        head = self.head()
        seq = self.position.seq
        if not self.overwrites:
            if not seq <= head < seq + self.pages:
                raise Malformed(self.path, f"page {head} is written while page {seq} is read, of {self.pages} pages")
            return head
        if head < seq:
            raise Malformed(self.path, f"page {head} is written after page {seq} was")
        for _ in range(_TRIES):
            oldest = self.first_intact()
            if head >= oldest + self.pages:
                raise Malformed(
                    self.path, f"page {head} is written, and no page after {oldest + self.pages} was opened"
                )
            if oldest <= self.position.seq:
                return max(head, oldest)
            before = self.entry(oldest)[0]
            if self.first_intact() <= oldest:
                self._skip_to(oldest, before)
                return max(head, oldest)
        raise Malformed(self.path, f"takes page {oldest} away before it can be looked at")

    def _skip_to(self, seq: int, before: int) -> None:
        if before < self.passed:
            raise Malformed(self.path, f"claims {before} records before page {seq}, after {self.passed} were seen")
        self.overwritten += before - self.passed
        self.position, self.passed = Position(seq, 0), before

    def _take_whole(self, end: int) -> list[Piece]:
        """Take some of the whole pages before `end`, as many as lie in one piece."""
        seq, offset = self.position
        count = min(end - seq, _PAGES_AT_ONCE, self.pages - (seq & (self.pages - 1)))
        if offset or count < _WORTH_A_RUN:
            return self._take_one(PAGE_DATA_SIZE, is_whole=True)
        table = self._table(seq, count)
        pages = read_exactly(self.fd, count * PAGE_SIZE, self._page_at(seq), self.path)
        passed = 0
        if self.overwrites:
            passed = self.entry(seq + count)[0]
            gone = self.first_intact() - seq
            if gone >= count:
                self.catch_up()
                return []
            if gone > 0:
                self._skip_to(seq + gone, layout.RING_TABLE_ENTRY.unpack_from(table, gone * _ENTRY_SIZE)[0])
                seq, table, pages = seq + gone, table[gone * _ENTRY_SIZE :], pages[gone * PAGE_SIZE :]
                count -= gone
        commits = memoryview(pages).cast("Q")[1 :: PAGE_SIZE // 8].tolist()
        for number, commit in enumerate(commits):
            if commit > PAGE_DATA_SIZE or commit & 3:
                raise Malformed(self.path, f"page {seq + number} claims {commit} committed bytes")
        self.move_to(Position(seq + count, 0), passed)
        return [Run(seq, table, pages)]

    def _take_one(self, limit: int, *, is_whole: bool) -> list[Piece]:
        """Take what is new in the page at the position; if the page `is_whole`, go on to the next one."""
        seq, offset = self.position
        at = self._page_at(seq)
        ts, commit = _PAGE_HEAD.unpack(read_exactly(self.fd, PAGE_HEADER_SIZE, at, self.path))
        if commit > PAGE_DATA_SIZE or commit & 3 or commit < offset:
            if self.overwrites and self.first_intact() > seq:
                self.catch_up()
                return []
            raise Malformed(self.path, f"page {seq} claims {commit} committed bytes after {offset} were read")
        commit = max(min(commit, limit), offset)
        data = read_exactly(self.fd, commit - offset, at + PAGE_HEADER_SIZE + offset, self.path)
        _, cpu, flags = self.entry(seq)
        passed = self.passed
        if self.overwrites:
            passed = self.entry(seq + 1)[0] if is_whole else passed + len(walk(data, 0).starts)
            if self.first_intact() > seq:
                self.catch_up()
                return []
        self.move_to(Position(seq + 1, 0) if is_whole else Position(seq, commit), passed)
        return [Part(seq, cpu, ts, offset, data, flags)] if data else []

    def move_to(self, position: Position, passed: int) -> None:
        """Go on to a later position, behind `passed` records; Malformed if there were more before the last one."""
        if self.overwrites:
            if passed < self.passed:
                raise Malformed(self.path, f"claims {passed} records before page {position.seq}, fewer than before")
            self.passed = passed
        self.position = position

    def page(self, seq: int, offset: int | None = None) -> bytes:
        """Return the committed part of a page, header included, or its first `offset` bytes of data."""
        raw = read_exactly(self.fd, PAGE_SIZE, self._page_at(seq), self.path)
        ts, commit = _PAGE_HEAD.unpack_from(raw)
        length: int = commit if offset is None else offset
        if length > PAGE_DATA_SIZE or length & 3:
            raise Malformed(self.path, f"page {seq} claims {length} committed bytes")
        return _PAGE_HEAD.pack(ts, length) + raw[PAGE_HEADER_SIZE : PAGE_HEADER_SIZE + length]

    def acknowledge(self, position: Position, passed: int = 0) -> None:
        """Tell the program that everything before `position` is kept, so that its room may be used again."""
        if position > self.acknowledged:
            self.acknowledged = position
            os.pwrite(self.fd, _TAIL.pack(*position, self._waits_for, 0, passed), layout.RING_TAIL)

    def wait_for(self, share: float, read_to: int | None = None) -> None:
        """Ask to be woken when this share of the ring is unread, 0: never. Does not raise: it is only a hint.

        `read_to` is the page up to which a reader has come that gives nothing back.
        """
        pages = int(self.pages * share)
        if read_to is not None:
            pages = min(pages + max(read_to - self.acknowledged.seq, 0), _NEVER)
        if pages != self._waits_for:
            self._waits_for = pages
            try:
                os.pwrite(self.fd, pages.to_bytes(4, "little"), layout.RING_READER_WAITING)
            except OSError:
                pass

    def records_before(self, position: Position) -> int:
        """Return how many records were committed before `position`."""
        before = self.entry(position.seq)[0]
        return before + sum(1 for _ in records(self.page(*position))) if position.offset else before

    def time_before(self, position: Position) -> int:
        """Return the time (ns) of the last record before `position` in its page, 0 if there is none."""
        last = 0
        for ts, _, _ in records(self.page(*position)):
            last = ts
        return last

    def fill(self) -> float:
        """Return how full the ring is, 0 to 1."""
        return (self.head() - self.acknowledged.seq) / self.pages

    def close(self) -> None:
        """Close the descriptor; whoever still means to give room back then gets an OSError."""
        os.close(self.fd)
        self.fd = -1
