"""Kernel-format sub-buffer pages: reading one into records, and building one from records.

Little endian, 64 bits. A page is a 16-byte header (time stamp, committed length with two loss flags) and
its data; `walk` reads the data of any page, ours or the kernel's, and `PageBuilder` makes pages as the
kernel makes them. Whatever the bytes say, reading ends in records or in `Malformed`.

Source: user_events contract, ringbuffer.md sections 1 to 5.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from struct import Struct
from typing import NamedTuple, Protocol

from ..abi.ring_buffer import (
    COMMIT_LENGTH_MASK,
    COMMIT_MISSED_EVENTS,
    COMMIT_MISSED_STORED,
    DELTA_BITS,
    DELTA_MAX,
    PAGE_HEADER,
    PAGE_HEADER_SIZE,
    PAGE_SIZE,
    RECORD_HEADER_SIZE,
    SHORT_BODY_MAX,
    STAMP_BITS,
    TYPE_LEN_BITS,
    TYPE_LEN_MASK,
    TYPE_LEN_PADDING,
    TYPE_LEN_TIME_EXTEND,
)
from ..errors import Malformed

_HEADER = Struct(PAGE_HEADER)
_WORD = Struct("<I")
_TWO_WORDS = Struct("<II")
_COUNT = Struct("<Q")
_SHORT = tuple(Struct(f"<I{words << 2}s") for words in range((SHORT_BODY_MAX >> 2) + 1))
"""By the words of its body, a short record: its first word, then the body, zeros after it."""
_TIME_MAX = 1 << 62
"""Stamps from here on (146 years) are noise; below it no sum of deltas leaves a signed 64-bit number."""
_STAMP_MASK = (1 << STAMP_BITS) - 1


class Walk(NamedTuple):
    """The records of one page's data, as columns of equal length, in the order they stand.

    `starts` is where each record's first word stands (its time extend not counted), from the first data byte.
    `is_plain` says that nothing but records and time extends was met; `has_long` that some record's length stands
    in a word of its own. `problem` is empty, or says what stopped the walk; what came before it holds.
    """

    times: list[int]
    starts: list[int]
    is_plain: bool
    has_long: bool
    problem: str


def walk(data: bytes | bytearray | memoryview, ts_ns: int) -> Walk:
    """Read the data of a page whose time stamp is `ts_ns` into columns; never raises.

    A discarded record adds no time, and an absolute stamp keeps the top 5 bits of the time before it, as in
    the kernel's readers. A record too short for its own 8-byte header stops the walk.

    Source: user_events contract, ringbuffer.md sections 3 and 4.
    """
    times: list[int] = []
    starts: list[int] = []
    is_plain, has_long = True, False
    problem = "" if ts_ns < _TIME_MAX else f"time stamp {ts_ns} is out of range"
    size = 0 if problem else len(data) & ~3
    words = memoryview(data)[:size].cast("I")
    at = 0
    while at < size:
        word = words[at >> 2]
        kind = word & TYPE_LEN_MASK
        if 1 < kind < TYPE_LEN_PADDING:
            ts_ns += word >> TYPE_LEN_BITS
            times.append(ts_ns)
            starts.append(at)
            at += 4 + (kind << 2)
            continue
        stop, ts_ns, problem = _step(words, at, ts_ns)
        if problem:
            break
        if not kind:
            has_long = True
            times.append(ts_ns)
            starts.append(at)
        is_plain = is_plain and kind in (0, TYPE_LEN_TIME_EXTEND)
        at = stop
    if at > size:
        problem = f"what begins at byte {starts.pop()} ends at {at}, its page's data at {size}"
        times.pop()
    elif len(data) & 3 and not problem:
        problem = f"{len(data)} bytes of data are no whole number of words"
    return Walk(times, starts, is_plain, has_long, problem)


def _step(words: memoryview, at: int, ts_ns: int) -> tuple[int, int, str]:
    """Read what stands at byte `at` and is no short record: return where it stops, the time after it, what is wrong."""
    index, end = at >> 2, len(words) << 2
    word = words[index]
    kind = word & TYPE_LEN_MASK
    if word == TYPE_LEN_PADDING:
        return end, ts_ns, ""
    if kind == 1 or at + 8 > end:
        return end, ts_ns, f"a record of type {kind} has no room at byte {at} of {end}"
    following = words[index + 1]
    if kind > TYPE_LEN_PADDING:
        ts_ns = _time_after(ts_ns, word, following)
        return at + 8, ts_ns, "" if ts_ns < _TIME_MAX else f"time {ts_ns} at byte {at} is out of range"
    stop = at + 4 + following
    if following & 3 or following < (4 if kind else 4 + RECORD_HEADER_SIZE) or stop > end:
        return end, ts_ns, f"a record of type {kind} at byte {at} of {end} claims a length of {following}"
    return stop, ts_ns if kind else ts_ns + (word >> TYPE_LEN_BITS), ""


def body_start(data: bytes | bytearray | memoryview, start: int) -> int:
    """Return where the body of the record at `start` of walked data begins."""
    return start + 4 if data[start] & TYPE_LEN_MASK else start + 8


def record_end(data: bytes | bytearray | memoryview, start: int) -> int:
    """Return where the record at `start` of walked data ends."""
    kind = data[start] & TYPE_LEN_MASK
    return start + 4 + (kind << 2 if kind else int(_WORD.unpack_from(data, start + 4)[0]))


def _time_after(ts_ns: int, word: int, high: int) -> int:
    """Return the time after a time extend or an absolute stamp."""
    value = (word >> TYPE_LEN_BITS) + (high << DELTA_BITS)
    if word & TYPE_LEN_MASK == TYPE_LEN_TIME_EXTEND:
        return ts_ns + value
    stamp = (ts_ns & ~_STAMP_MASK) | (value & _STAMP_MASK)
    return stamp if stamp >= ts_ns else stamp + _STAMP_MASK + 1


def page_data(page: bytes | memoryview) -> tuple[int, memoryview]:
    """Return a page's time stamp (ns) and its committed data.

    Raises `Malformed` for a page shorter than its header or than what it says was committed.

    Source: user_events contract, ringbuffer.md section 1.
    """
    if len(page) < PAGE_HEADER_SIZE:
        raise Malformed("page", f"has {len(page)} bytes, its header alone takes {PAGE_HEADER_SIZE}")
    ts_ns, commit = _HEADER.unpack_from(page)
    end = PAGE_HEADER_SIZE + (commit & COMMIT_LENGTH_MASK)
    if end > len(page):
        raise Malformed("page", f"claims {end - PAGE_HEADER_SIZE} bytes of data and has {len(page)} in all", 8)
    return ts_ns, memoryview(page)[PAGE_HEADER_SIZE:end]


def records(page: bytes | memoryview, *, start: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yield (time in ns, body offset in the page, body length) of each record, in the order they stand.

    With `start`, records that begin before that byte of the page's data are left out; their times count.
    A length is as stored: rounded up. Raises `Malformed`, after what could be read, for a page that holds nonsense.

    Source: user_events contract, ringbuffer.md sections 3 and 4.
    """
    ts_ns, data = page_data(page)
    found = walk(data, ts_ns)
    for time, at in zip(found.times, found.starts, strict=True):
        if at >= start:
            body = body_start(data, at)
            yield time, PAGE_HEADER_SIZE + body, record_end(data, at) - body
    if found.problem:
        raise Malformed("page", found.problem)


def missed(page: bytes | memoryview) -> int:
    """Return how many records were lost before this page: 0 none, -1 some, else the number stored in it.

    Source: user_events contract, ringbuffer.md section 1.
    """
    _, data = page_data(page)
    commit = _HEADER.unpack_from(page)[1]
    if not commit & COMMIT_MISSED_EVENTS:
        return 0
    end = PAGE_HEADER_SIZE + len(data)
    if not commit & COMMIT_MISSED_STORED or end + _COUNT.size > len(page):
        return -1
    return int(_COUNT.unpack_from(page, end)[0]) or -1


class HasData(Protocol):
    """Whatever holds a page's data."""

    data: bytes


class PageBuilder:
    """Puts records into pages exactly as the kernel does, one page after another.

    Append until it says that a record does not fit, `take` the page, append again. Time never goes back
    within the pages of one builder: an earlier record gets the time of the one before it.

    >>> builder = PageBuilder()
    >>> builder.append(5, bytes(12))
    True
    >>> [(ts_ns, length) for ts_ns, _, length in records(builder.take())]
    [(5, 12)]
    """

    def __init__(self, size: int = PAGE_SIZE) -> None:
        self._page = bytearray(size)
        self._size = size
        self._used = PAGE_HEADER_SIZE
        self._first_ns = 0
        self.last_ns = 0
        self.late = 0

    def __len__(self) -> int:
        """Bytes of data in the page so far."""
        return self._used - PAGE_HEADER_SIZE

    def append(self, ts_ns: int, body: bytes) -> bool:
        """Add one record; False when it does not fit this page. Raises Malformed if it fits no page.

        Source: user_events contract, ringbuffer.md section 3.
        """
        size, used, delta = len(body), self._used, ts_ns - self.last_ns
        if RECORD_HEADER_SIZE < size <= SHORT_BODY_MAX and 0 <= delta <= DELTA_MAX and used > PAGE_HEADER_SIZE:
            words = size + 3 >> 2  # what most records are, put where they belong by the shortest way
            end = used + 4 + (words << 2)
            if end > self._size:
                return False
            _SHORT[words].pack_into(self._page, used, delta << TYPE_LEN_BITS | words, body)
            self._used, self.last_ns = end, ts_ns
            return True
        word, tail = encoded(body)
        if len(tail) + 4 > self._size - PAGE_HEADER_SIZE:
            raise Malformed("record", f"a body of {len(body)} bytes fits no page of {self._size} bytes")
        if len(tail) + 4 > self._room(ts_ns):
            return False
        self._put(ts_ns, word, tail)
        return True

    def append_alike(self, times_ns: Sequence[int], bodies: Sequence[bytes], first: int) -> int:
        """Add records of one size, from `first` on; return the first that is left for `append`, if that fits at all."""
        size, used, last_ns = len(bodies[first]), self._used, self.last_ns
        if used == PAGE_HEADER_SIZE or not RECORD_HEADER_SIZE < size <= SHORT_BODY_MAX:
            return first
        words = size + 3 >> 2
        heads = []
        for ts_ns in times_ns[first : first + (self._size - used) // (4 + 4 * words)]:
            if not 0 <= ts_ns - last_ns <= DELTA_MAX:
                break
            heads.append(ts_ns - last_ns << TYPE_LEN_BITS | words)
            last_ns = ts_ns
        count = len(heads)
        pairs = zip(heads, bodies[first : first + count], strict=True)
        _alike(words, count).pack_into(self._page, used, *chain.from_iterable(pairs))
        self._used, self.last_ns = used + count * (4 + 4 * words), last_ns
        return first + count

    def append_walked(self, data: bytes, found: Walk, first: int, stop: int) -> int:
        """Add records `first` to `stop` of a walked page as they are encoded there; return the first that does not fit.

        Records that stand one behind the other keep their deltas, so they are copied in one piece; only the
        time of the first is written anew.
        """
        times, starts = found.times, found.starts
        while first < stop:
            begin, last = starts[first], first
            limit = begin + self._room(times[first])
            if stop - first > 1 and found.is_plain and times[first] >= self.last_ns:
                last = max(bisect_left(starts, limit, first, stop) - 1, first)
                while last > first and record_end(data, starts[last]) > limit:
                    last -= 1
            end = record_end(data, starts[last])
            if end > limit:
                return first
            self._put(times[first], data[begin] & TYPE_LEN_MASK, data[begin + 4 : end])
            self.last_ns += times[last] - times[first]
            first = last + 1
        return stop

    def append_mixed(self, records: Sequence[tuple[int, int, int, HasData]], first: int, stop: int) -> int:
        """Add records of several walked pages: `records` are (time, any, start in its page's data, its page).

        Returns the first of `first` to `stop` that does not fit, `stop` if all do.
        """
        page, size, pack_into = self._page, self._size, _WORD.pack_into
        used, last_ns = self._used, self.last_ns
        for number in range(first, stop):
            ts_ns, _, start, source = records[number]
            data = source.data
            kind = data[start] & TYPE_LEN_MASK
            end = start + 4 + (kind << 2) if kind else record_end(data, start)
            delta = ts_ns - last_ns
            next_used = used + end - start
            if 0 <= delta <= DELTA_MAX and used > PAGE_HEADER_SIZE and next_used <= size:
                page[used:next_used] = data[start:end]
                pack_into(page, used, delta << TYPE_LEN_BITS | kind)
                used, last_ns = next_used, ts_ns
                continue
            self._used, self.last_ns = used, last_ns
            if end - start > self._room(ts_ns):
                return number
            self._put(ts_ns, kind, data[start + 4 : end])
            used, last_ns = self._used, self.last_ns
        self._used, self.last_ns = used, last_ns
        return stop

    def _room(self, ts_ns: int) -> int:
        """Return how many bytes a record at this time may take, after the time extend that it may need."""
        room, delta = self._size - self._used, ts_ns - self.last_ns
        if self._used == PAGE_HEADER_SIZE or delta <= DELTA_MAX:
            return room
        return room - 8 if delta <= _STAMP_MASK else 0

    def _put(self, ts_ns: int, type_len: int, tail: bytes) -> None:
        """Store what has been found to fit."""
        used, page = self._used, self._page
        if ts_ns < self.last_ns:
            ts_ns = self.last_ns
            self.late += 1
        delta = ts_ns - self.last_ns
        if used == PAGE_HEADER_SIZE:
            self._first_ns, delta = ts_ns, 0
        elif delta > DELTA_MAX:
            low = (delta & DELTA_MAX) << TYPE_LEN_BITS | TYPE_LEN_TIME_EXTEND
            _TWO_WORDS.pack_into(page, used, low, delta >> DELTA_BITS)
            used, delta = used + 8, 0
        _WORD.pack_into(page, used, delta << TYPE_LEN_BITS | type_len)
        self._used = used + 4 + len(tail)
        page[used + 4 : self._used] = tail
        self.last_ns = ts_ns

    def peek(self) -> bytes:
        """Return the page as it is so far, zero filled to its size; nothing changes."""
        page = self._page[: self._used] + bytes(self._size - self._used)
        return _finished(page, self._first_ns, len(self), 0)

    def take(self, *, missed: int = 0) -> bytes:
        """Return the page, zero filled to its size, and begin the next one.

        `missed` marks records lost before this page: -1 some, else how many (stored if the page has room).

        Source: user_events contract, ringbuffer.md section 1.
        """
        length = len(self)
        self._page[self._used :] = bytes(self._size - self._used)
        self._used = PAGE_HEADER_SIZE
        return _finished(self._page, self._first_ns, length, missed)


def whole_page(data: bytes, found: Walk, *, missed: int = 0, size: int = PAGE_SIZE) -> bytes:
    """Return the page of all of a walk's records, its data as it was: only time stamp and first delta are new.

    `missed` is as in `PageBuilder.take`. The walk must hold at least one record.

    Source: user_events contract, ringbuffer.md sections 1 and 4.
    """
    first = found.starts[0]
    end = record_end(data, found.starts[-1])
    body = _WORD.pack(data[first] & TYPE_LEN_MASK) + data[first + 4 : end]
    page = bytearray(size)
    page[PAGE_HEADER_SIZE : PAGE_HEADER_SIZE + len(body)] = body
    return _finished(page, found.times[0], len(body), missed)


def _finished(page: bytearray, ts_ns: int, length: int, missed: int) -> bytes:
    """Fill in a page's header, and the count of records lost before it where there is room."""
    end = PAGE_HEADER_SIZE + length
    commit = length
    if missed:
        commit |= COMMIT_MISSED_EVENTS
    if missed > 0 and end + _COUNT.size <= len(page):
        commit |= COMMIT_MISSED_STORED
        _COUNT.pack_into(page, end, missed)
    _HEADER.pack_into(page, 0, ts_ns, commit)
    return bytes(page)


@lru_cache(1024)
def _alike(words: int, count: int) -> Struct:
    """The layout of `count` records of so many words each."""
    return Struct("<" + f"I{4 * words}s" * count)


def encoded(body: bytes) -> tuple[int, bytes]:
    """Return a record's type_len and the bytes after its first word.

    Source: user_events contract, ringbuffer.md section 3.
    """
    size = len(body)
    if size > SHORT_BODY_MAX:
        padded = body + bytes(-size & 3)
        return 0, _WORD.pack(len(padded) + 4) + padded
    rest = max((size + 3) & ~3, 4)
    rest = 12 if rest == 8 else rest
    return rest >> 2, body + bytes(rest - size)
