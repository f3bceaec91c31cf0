"""What a host sends to the fleet: the tracer's frames in batches, and a bounded backlog of them.

Pure: bytes in, bytes out. Frames stay as the tracer made them. When the backlog is full, batches that nobody has seen
yet lose their pages, the oldest first, and keep their facts: what follows stays readable, and what was dropped is
counted by session and event (docs/formats/fleet.md).
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import sub
from struct import Struct
from typing import Final

from ..abi.ring_buffer import PAGE_SIZE
from ..buffer import stream as wire
from ..buffer.run import Run, runs_in

BATCH_SIZE: Final = 60 << 10
"""Bytes after which a batch is closed: 64 KiB with its headers."""
MESSAGE_MAX: Final = 960 << 10
"""Bytes of one message; a server takes 1 MiB with the headers."""
BACKLOG_SIZE: Final = 64 << 20
BACKLOG_MIN: Final = 256 << 10
FACTS_SHARE: Final = 4
"""One part in so many of the backlog may be facts of batches without pages; beyond it they are given up, too."""

_RECORDS_MAX: Final = PAGE_SIZE // 12
"""A page has no more, whatever its program says."""
_ENTRY: Final = Struct("<QII")
_RUN_PAGE: Final = _ENTRY.size + PAGE_SIZE
_PAGES_AT_ONCE: Final = (BATCH_SIZE - 4096) // _RUN_PAGE
_PAGES: Final = frozenset({wire.PAGE_PART, wire.PAGE_RUN})

Lost = Counter[tuple[int, int]]
"""Records by (stream, event id)."""


@dataclass(slots=True)
class Batch:
    """Whole frames of one recording of a host. `records` stand in its pages, `lost` stood in pages that it gave up."""

    recording: int
    data: bytes
    begins: bool = False
    """Whether its first frame is the recording's HEADER."""
    ends: bool = False
    records: int = 0
    lost: Lost = field(default_factory=Counter)
    is_bare: bool = False
    """Whether its pages were given up."""
    is_piece: bool = False
    """Whether it holds part of one frame that is too long for a message."""
    more: bool = False
    """Whether that frame goes on in the next batch."""

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, nearly."""
        return len(self.data) + 64 * len(self.lost)

    def payload(self) -> bytes:
        """Return what is sent: its frames, and what it gave up."""
        if not self.lost:
            return self.data
        by_stream: dict[int, dict[int, int]] = {}
        for (stream, event), count in self.lost.items():
            by_stream.setdefault(stream, {})[event] = count
        return self.data + b"".join(wire.pack_fleet(stream, counts) for stream, counts in by_stream.items())

    def give_up_pages(self) -> None:
        """Keep the facts and count the records of the pages."""
        self.is_bare = True
        if self.is_piece:
            return  # of a frame of facts: no frame of pages is so long
        kept = []
        for kind, stream, frame in frames_in(self.data):
            if kind in _PAGES:
                for event, count in _records_by_event(kind, frame).items():
                    self.lost[stream, event] += count
            else:
                kept.append(frame)
        self.data, self.records = b"".join(kept), 0

    def take_in(self, other: "Batch") -> None:
        """Take in the next batch of the same recording, both without pages: of several ledgers only the last holds."""
        frames = [*frames_in(self.data), *frames_in(other.data)]
        last = {stream: place for place, (kind, stream, _) in enumerate(frames) if kind == wire.LEDGER}
        self.data = b"".join(
            frame for place, (kind, stream, frame) in enumerate(frames) if kind != wire.LEDGER or last[stream] == place
        )
        self.lost += other.lost
        self.ends = other.ends


def frames_in(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the kind, the stream and the bytes of each of some whole frames."""
    at = 0
    while at + wire.FRAME.size <= len(data):
        size, kind, _, stream, _ = wire.FRAME.unpack_from(data, at)
        size = max(size, wire.FRAME.size)
        yield kind, stream, data[at : at + size]
        at += size


class Batcher:
    """Makes batches of a tracer's stream. `add` what was read; `flush` when a batch has waited long enough.

    Each batch is of one recording, and its pages can be read without those of the batches before. A run of pages that
    is too long for one is cut between pages; a ledger that says what the one before said is left out.
    """

    def __init__(self) -> None:
        self.recording = 0
        """The number of the recording that is being read: 1 is the first."""
        self._frames: list[bytes] = []
        self._size = 0
        self._records = 0
        self._begins = False
        self._ends: dict[tuple[int, int], tuple[int, int, int]] = {}
        """By stream and generation: the page that is being filled, how far, and the time of its last record."""
        self._ledgers: dict[int, bytes] = {}
        """By stream, the last ledger of this recording: tracers tell all of them every second, changed or not."""

    @property
    def size(self) -> int:
        """Bytes that wait for a batch to be closed."""
        return self._size

    def add(self, data: bytes) -> list[Batch]:
        """Take in whole frames; return the batches that were closed by them."""
        done: list[Batch] = []
        view = memoryview(data)
        at = 0
        while at < len(data):
            if data[at : at + len(wire.MAGIC)] == wire.MAGIC:
                done += self.flush()
                self.recording += 1
                self._begins = True
                self._ledgers.clear()
                self._ends.clear()
                at += wire.START.size
                continue
            size, kind, _, stream, _ = wire.FRAME.unpack_from(data, at)
            whole = view[at : at + size]
            at += size
            if kind == wire.PAGE_RUN and size > BATCH_SIZE:
                for piece, records in _cut(whole, stream):
                    self._take(kind, piece, done, records)
                continue
            frame = bytes(whole)
            if kind == wire.LEDGER and self._ledgers.get(stream) == frame:
                continue
            if kind == wire.LEDGER:
                self._ledgers[stream] = frame
            self._take(kind, frame, done, sum(_records_by_page(whole)) if kind == wire.PAGE_RUN else 0)
            if kind == wire.END:
                done += self.flush(ends=True)
        return done

    def flush(self, *, ends: bool = False) -> list[Batch]:
        """Close the batch, if there is anything in it."""
        if not self._frames:
            return []
        data = self._frames[0] if len(self._frames) == 1 else b"".join(self._frames)
        batch = Batch(self.recording, data, self._begins, ends, self._records)
        self._frames, self._size, self._records, self._begins = [], 0, 0, False
        return [batch]

    def _take(self, kind: int, frame: bytes, done: list[Batch], records: int) -> None:
        if self._frames and self._size + len(frame) > BATCH_SIZE:
            done += self.flush()
        if len(frame) > MESSAGE_MAX:
            done += self._pieces(frame)
            return
        if kind == wire.PAGE_PART:
            frame = self._standing_alone(frame)
        self._records += records
        self._frames.append(frame)
        self._size += len(frame)

    def _standing_alone(self, frame: bytes) -> bytes:
        """Count a part's records, and have it say the time of the record before it, which may be lost on the way."""
        part = wire.PART.unpack_from(frame, wire.FRAME.size)
        generation, _, flags, seq, _, offset, length = part
        ring = wire.FRAME.unpack_from(frame)[3], generation
        end = self._ends.get(ring)
        if offset and not flags & wire.PART_CONTINUES and end is not None and end[:2] == (seq, offset):
            frame = _continued(frame, part, end[2])
        (run,) = _runs(wire.PAGE_PART, frame)
        times = run.times
        self._records += len(times)
        if times:
            self._ends[ring] = seq, offset + length, times[-1]
        else:
            self._ends.pop(ring, None)
        return frame

    def _pieces(self, frame: bytes) -> Iterator[Batch]:
        """Yield a frame of facts that is too long for one message as several batches."""
        for at in range(0, len(frame), MESSAGE_MAX):
            piece = frame[at : at + MESSAGE_MAX]
            yield Batch(self.recording, piece, self._begins, is_piece=True, more=at + MESSAGE_MAX < len(frame))
            self._begins = False


def _cut(frame: memoryview, stream: int) -> Iterator[tuple[bytes, int]]:
    """Yield a run of pages as several, each with the number of its records."""
    counts = _records_by_page(frame)
    generation, count, seq = wire.RUN.unpack_from(frame, wire.FRAME.size)
    table = wire.FRAME.size + wire.RUN.size
    pages = table + count * _ENTRY.size
    for first in range(0, count, _PAGES_AT_ONCE):
        stop = min(first + _PAGES_AT_ONCE, count)
        entries = frame[table + first * _ENTRY.size : table + stop * _ENTRY.size]
        held = frame[pages + first * PAGE_SIZE : pages + stop * PAGE_SIZE]
        yield wire.pack_run(stream, generation, seq + first, entries, held), sum(counts[first:stop])


def _records_by_page(frame: memoryview) -> list[int]:
    """Return how many records each page of a run has, by its table; only the last page must be walked for that."""
    _, count, _ = wire.RUN.unpack_from(frame, wire.FRAME.size)
    table = wire.FRAME.size + wire.RUN.size
    pages = table + count * _ENTRY.size
    befores: list[int] = frame[table:pages].cast("Q")[:: _ENTRY.size // 8].tolist()
    counts = list(map(sub, befores[1:], befores))
    if counts and not 0 <= min(counts) <= max(counts) <= _RECORDS_MAX:
        counts = [min(max(found, 0), _RECORDS_MAX) for found in counts]
    last = pages + (count - 1) * PAGE_SIZE
    return [*counts, sum(map(len, runs_in(bytes(frame[last : last + PAGE_SIZE]), PAGE_SIZE, 0)[0]))]


def _continued(frame: bytes, part: tuple[int, ...], ts_ns: int) -> bytes:
    """Return a part's frame, flagged as one that stands by itself: `ts_ns` is the time of the record before it."""
    generation, cpu, flags, seq, _, offset, length = part
    at = wire.FRAME.size
    head = wire.PART.pack(generation, cpu, flags | wire.PART_CONTINUES, seq, ts_ns, offset, length)
    return frame[:at] + head + frame[at + wire.PART.size :]


def _records_by_event(kind: int, frame: bytes) -> Counter[int]:
    found: Counter[int] = Counter()
    for run in _runs(kind, frame):
        for head, (count, _, _) in run.heads().items():
            found[int.from_bytes(head[:2], "little")] += count
    return found


def _runs(kind: int, frame: bytes) -> list[Run]:
    if kind == wire.PAGE_PART:
        at = wire.FRAME.size
        *_, ts_ns, _, length = wire.PART.unpack_from(frame, at)
        return [Run(frame[at + wire.PART.size : at + wire.PART.size + length], ts_ns)]
    _, count, _ = wire.RUN.unpack_from(frame, wire.FRAME.size)
    first = wire.FRAME.size + wire.RUN.size + count * _ENTRY.size
    return runs_in(frame[first : first + count * PAGE_SIZE], PAGE_SIZE, 0)[0]


@dataclass(slots=True)
class Sent:
    """A batch on its way: its number, and how many records went before it or were given up without a word."""

    seq: int
    before: int
    batch: Batch


class Backlog:
    """Batches that wait for the broker, and those that it has not confirmed, together at most `limit` bytes.

    Numbers are given when a batch is first taken to be sent, so those that were dropped leave no gap.
    """

    def __init__(self, limit: int = BACKLOG_SIZE) -> None:
        self.limit = limit
        self.size = 0
        self.dropped = 0
        """Records dropped so far."""
        self.needs_recording = False
        """Whether facts were given up: what comes can only be read from the next recording's beginning on."""
        self._waiting: deque[Batch] = deque()
        self._sent: OrderedDict[int, Sent] = OrderedDict()
        self._again: deque[int] = deque()
        self._bare = 0
        """How many of those waiting, from the oldest on, have no pages any more."""
        self._facts = 0
        self._seq = 0
        self._before = 0

    def __len__(self) -> int:
        """How many batches wait to be taken."""
        return len(self._waiting) + len(self._again)

    @property
    def unconfirmed(self) -> int:
        """How many batches were taken and not confirmed."""
        return len(self._sent)

    @property
    def records(self) -> int:
        """How many records wait, or are not confirmed."""
        return sum(batch.records for batch in (*self._waiting, *(sent.batch for sent in self._sent.values())))

    def room(self, window: int) -> bool:
        """Whether another may be on its way: less than `window` behind the first that was not confirmed.

        One that is not stored for a while holds up those behind it, so that no consumer has to give it up.
        """
        return bool(self._again) or self._seq + 1 - self.low < window

    @property
    def low(self) -> int:
        """The lowest number that may still come: all below it were confirmed."""
        return next(iter(self._sent), self._seq + 1)

    def add(self, batch: Batch) -> None:
        """Take a batch in; where it does not fit, the oldest that were never sent give up their pages."""
        if self.needs_recording:
            if not batch.begins:
                self._give_up(batch)
                return
            self.needs_recording = False
        self._waiting.append(batch)
        self.size += batch.size
        while self.size > self.limit and self._bare < len(self._waiting):
            self._give_up_pages()
        if self._facts > self.limit // FACTS_SHARE or self.size > 2 * self.limit:
            self._give_up_facts()

    def take(self) -> Sent | None:
        """Return the next batch to send: first those to be sent again, in their order."""
        while self._again:
            again = self._sent.get(self._again.popleft())
            if again is not None:  # else its confirmation came after all
                return again
        if not self._waiting:
            return None
        batch = self._waiting.popleft()
        if self._bare:
            self._bare -= 1
            self._facts -= batch.size
        self._seq += 1
        sent = self._sent[self._seq] = Sent(self._seq, self._before, batch)
        self._before += batch.records
        return sent

    def confirm(self, seq: int) -> None:
        """The broker has it."""
        sent = self._sent.pop(seq, None)
        if sent is not None:
            self.size -= sent.batch.size

    def give_up(self, seq: int) -> None:
        """It cannot be sent at all: its number is a gap, whose size those behind it tell."""
        sent = self._sent.get(seq)
        if sent is not None:
            self.dropped += sent.batch.records
            self.confirm(seq)

    def send_again(self) -> None:
        """Nobody knows what became of those on their way: take them again, in their order."""
        self._again = deque(self._sent)

    def _give_up_pages(self) -> None:
        """Take the pages of the oldest that has any; it joins the one before it, if that is of the same recording."""
        batch = self._waiting[self._bare]
        self.size -= batch.size
        records = batch.records
        batch.give_up_pages()
        self.dropped += records
        self.size += batch.size
        self._facts += batch.size
        before = self._waiting[self._bare - 1] if self._bare else None
        fits = before and before.recording == batch.recording and before.size + batch.size <= BATCH_SIZE
        if before is None or not fits or before.is_piece or batch.is_piece:
            self._bare += 1
            return
        self.size -= before.size + batch.size
        self._facts -= before.size + batch.size
        before.take_in(batch)
        del self._waiting[self._bare]
        self.size += before.size
        self._facts += before.size

    def _give_up_facts(self) -> None:
        """Give up all that was never sent: its facts alone are too much."""
        self.needs_recording = True
        while self._waiting:
            batch = self._waiting.popleft()
            self.size -= batch.size
            self._give_up(batch)
        self._bare = self._facts = 0

    def _give_up(self, batch: Batch) -> None:
        """Give up a batch without a word about it: only its number of records goes into the sum."""
        self.dropped += batch.records
        self._before += batch.records + batch.lost.total()
