"""What one recording sees of one native program: pages built here of what it writes through a door, and its counts.

A session's pages are made by its program (host/view.py); a native program writes to the tree, and its records are put
into pages of the same format, with the same ledger. `NativeView` hands them out as they come, `NativeFlight` keeps the
newest of them for a dump.
"""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ..abi.ring_buffer import COMMIT_LENGTH_MASK, MAX_BODY_SIZE, PAGE_HEADER_SIZE
from ..buffer import stream
from ..buffer.page import PageBuilder, records
from ..engine import UserEvent, Writer
from ..fields import Checks, checks, passes
from ..instance import Instance, StreamQueue
from ..instance.body import record_body
from ..session.layout import COUNTER_NAMES, DEFAULT_RING_PAGES, pages_for
from . import frames
from .native_program import NativeProgram

_ATTEMPTS: Final = COUNTER_NAMES.index("attempts")
_RING_FULL: Final = COUNTER_NAMES.index("ring_full")
_TOO_LARGE: Final = COUNTER_NAMES.index("too_large")
_INVALID: Final = COUNTER_NAMES.index("invalid")
_GENERATION: Final = 1
_NAMES_MAX: Final = 4096


class _Known(NamedTuple):
    """An event that the recording has been told of: its counters, and what makes a record of it valid."""

    counts: list[int]
    checks: Checks


class NativePages:
    """Common to both kinds: records into pages, and counts. A page is handed to `keep_page`."""

    def __init__(self, instance: Instance, program: NativeProgram) -> None:
        self.instance = instance
        self.program = program
        self._builder = PageBuilder()
        self._in_page = 0
        self._cpu = 0
        """Where the page under construction was opened."""
        self._seq = 0
        self._events: dict[UserEvent, _Known] = {}
        self._names: dict[int, str] = {}
        self._committed = 0

    def tell(self, frame: bytes) -> None:
        """Hand out what is not a page."""

    def keep_page(self, page: bytes, count: int) -> None:
        """Take a page of `count` records, opened on CPU `_cpu`."""

    def know(self, event: UserEvent) -> _Known:
        """The recording's side of an event; the first time it is told of it."""
        found = self._events.get(event)
        if found is None:
            found = self._events[event] = _Known([0] * len(COUNTER_NAMES), checks(event.fields))
            self.tell(frames.native_event_frame(self.program.number, event))
        return found

    def take(self, event: UserEvent, payload: bytes, writer: Writer) -> bool:
        """Take a record that is written now; False if its payload is not valid."""
        known = self._events.get(event) or self.know(event)
        known.counts[_ATTEMPTS] += 1
        body = record_body(event.id, writer.tid, payload)
        if len(body) > MAX_BODY_SIZE:
            known.counts[_TOO_LARGE] += 1
            return True
        if known.checks and not passes(known.checks, body):
            known.counts[_INVALID] += 1
            return False
        if self._names.get(writer.tid) != writer.comm:
            self._name(writer)
        self._put(time.monotonic_ns(), body, writer.cpu)
        return True

    def take_many(self, event: UserEvent, writer: Writer, times_ns: Sequence[int], payloads: Sequence[bytes]) -> None:
        """Take records that one thread wrote at these times."""
        known = self.know(event)
        known.counts[_ATTEMPTS] += len(payloads)
        self._name(writer)
        head = record_body(event.id, writer.tid, b"")
        bodies = [head + payload for payload in payloads]
        if not known.checks and len(set(map(len, payloads))) == 1:
            self._put_alike(times_ns, bodies, known, writer.cpu)
            return
        for time_ns, body in zip(times_ns, bodies, strict=True):
            if len(body) > MAX_BODY_SIZE:
                known.counts[_TOO_LARGE] += 1
            elif known.checks and not passes(known.checks, body):
                known.counts[_INVALID] += 1
            else:
                self._put(time_ns, body, writer.cpu)

    def give_up(self, event: UserEvent, count: int) -> None:
        """Count records that were lost on their way."""
        counts = self.know(event).counts
        counts[_ATTEMPTS] += count
        counts[_RING_FULL] += count

    def flush(self) -> int:
        """Have the page under construction handed out; returns how many bytes of data that were."""
        size = len(self._builder)
        if self._in_page:
            self._finish_page()
        return size

    def _put(self, ts_ns: int, body: bytes, cpu: int) -> None:
        if not self._builder.append(ts_ns, body):
            self._finish_page()
            self._builder.append(ts_ns, body)
        if not self._in_page:
            self._cpu = cpu
        self._in_page += 1

    def _put_alike(self, times_ns: Sequence[int], bodies: Sequence[bytes], known: _Known, cpu: int) -> None:
        """Put records of one size, as many as a page takes at a time."""
        if len(bodies[0]) > MAX_BODY_SIZE:
            known.counts[_TOO_LARGE] += len(bodies)
            return
        first = 0
        while first < len(bodies):
            if not self._in_page:
                self._cpu = cpu
            stop = self._builder.append_alike(times_ns, bodies, first)
            self._in_page += stop - first
            if stop < len(bodies):
                self._put(times_ns[stop], bodies[stop], cpu)
                stop += 1
            first = stop

    def _finish_page(self) -> None:
        count, self._in_page = self._in_page, 0
        self._committed += count
        self.keep_page(self._builder.take(), count)

    def _name(self, writer: Writer) -> None:
        """Remember how a thread is called, and say so."""
        if self._names.get(writer.tid) != writer.comm and writer.comm:
            if len(self._names) >= _NAMES_MAX:
                self._names.clear()
            self._names[writer.tid] = writer.comm
            self.tell(stream.pack_threads(self.program.number, {writer.tid: writer.comm}))

    def part_frame(self, page: bytes, seq: int, cpu: int) -> bytes:
        """The frame of the page of that number, which was opened on a CPU."""
        ts = int.from_bytes(page[:8], "little")
        used = int.from_bytes(page[8:PAGE_HEADER_SIZE], "little") & COMMIT_LENGTH_MASK
        data = page[PAGE_HEADER_SIZE : PAGE_HEADER_SIZE + used]
        return stream.pack_part(self.program.number, _GENERATION, cpu, seq, ts, 0, data)

    def ledger(self, *, missed: int = 0, overwritten: int = 0, left_out: int = 0, exact: bool = True) -> bytes:
        """The frame of the counts."""
        events = {
            str(event.id): dict(zip(COUNTER_NAMES, known.counts, strict=True)) for event, known in self._events.items()
        }
        facts = {
            "events": events,
            "committed": self._committed,
            "overwritten": overwritten,
            "missed": missed,
            "left_out": left_out,
            "alive": self.program.alive,
            "exact": exact,
        }
        return stream.pack_ledger(self.program.number, facts)


class NativeView(NativePages):
    """Hands everything out as it comes."""

    def __init__(self, instance: Instance, program: NativeProgram) -> None:
        super().__init__(instance, program)
        self._missed = 0
        self._complete = True
        self.begin()

    def begin(self) -> None:
        """Begin a recording of the program: who it is, the events it is known to have, and no counts yet."""
        self._missed = self._committed = self._seq = 0
        self._complete = True
        events, names = list(self._events), self._names
        self._events, self._names = {}, {}
        self.tell(frames.native_stream_frame(self.program))
        for event in events:
            self.know(event)
        if names:
            self._names = names
            self.tell(stream.pack_threads(self.program.number, names))

    def tell(self, frame: bytes) -> None:
        """Hand out what is not a page; where that is refused, the counts are not exact."""
        if not self.instance.stream.push(frame, None, 0):
            self._complete = False

    def keep_page(self, page: bytes, count: int) -> None:
        """Hand out a page; where its reader is too slow, its records are missed."""
        self._seq += 1
        if not self.instance.stream.push(self.part_frame(page, self._seq - 1, self._cpu), None, count):
            self._missed += count

    def tell_ledger(self) -> None:
        """Hand out the counts so far."""
        self.flush()
        self.tell(self.ledger(missed=self._missed, exact=self._complete))


class _Kept(NamedTuple):
    """A page that is held, how many records it has, when the last was written, and on which CPU it was opened."""

    page: bytes
    entries: int
    last_ns: int
    cpu: int


class Cut:
    """How far a window was taken out of what is held: the number of the next page, and what was kept and left out."""

    def __init__(self, since_ns: int, next_seq: int, overwritten: int) -> None:
        self.since_ns = since_ns
        self.next_seq = next_seq
        self.kept = self.left_out = 0
        self.overwritten = overwritten
        """Records that had gone when the window was begun."""
        self.held_ns: int | None = None
        """When the oldest record that was held then was written, where older ones of the window may be gone."""


class NativeFlight(NativePages):
    """Keeps the newest pages for a dump; `_seq` counts all pages that there were."""

    def __init__(self, instance: Instance, program: NativeProgram) -> None:
        super().__init__(instance, program)
        self._pages: deque[_Kept] = deque()
        self._overwritten = 0

    @property
    def limit(self) -> int:
        """How many pages are held."""
        size = self.instance.buffer_size
        return pages_for(size) if size else DEFAULT_RING_PAGES

    @property
    def held_size(self) -> int:
        """Bytes of the pages held."""
        return len(self._pages) * len(self._pages[0].page) if self._pages else 0

    def flush(self) -> int:
        """Nothing is handed out before it is asked for."""
        return 0

    def keep_page(self, page: bytes, count: int) -> None:
        """Keep a page in the place of the oldest."""
        self._seq += 1
        self._pages.append(_Kept(page, count, self._builder.last_ns, self._cpu))
        while len(self._pages) > self.limit:
            self._overwritten += self._pages.popleft().entries

    def give_up_pages(self) -> None:
        """Let go of all records: those of others are newer."""
        super().flush()
        self._overwritten += sum(kept.entries for kept in self._pages)
        self._pages.clear()

    def dump(self, target: StreamQueue, since_ns: int) -> None:
        """Hand out what is held from `since_ns` on, and what became of the rest."""
        cut = self.cut(since_ns)
        for frame in [self.declaration(), *self.known(), *self.pages_from(cut), self.ledger_of(cut)]:
            target.push(frame, None, 0)

    def declaration(self) -> bytes:
        """The frame that says who the program is."""
        return frames.native_stream_frame(self.program)

    def known(self) -> list[bytes]:
        """The frames of its events and of its threads' names."""
        number = self.program.number
        found = [frames.native_event_frame(number, event) for event in self._events]
        return [*found, stream.pack_threads(number, self._names)] if self._names else found

    def cut(self, since_ns: int) -> Cut:
        """Begin a window at the first record held of `since_ns` or later."""
        super().flush()
        cut = Cut(since_ns, self._seq - len(self._pages), self._overwritten)
        oldest_ns = _begun_ns(self._pages[0].page) if self._pages else 0
        if self._overwritten and oldest_ns > since_ns:
            cut.held_ns = oldest_ns
        return cut

    def finish_page(self) -> None:
        """Have what was written by now in whole pages."""
        super().flush()

    def pages_from(self, cut: Cut, until_ns: int | None = None) -> list[bytes]:
        """The frames of the whole pages that a window lacks, with their records before `until_ns`."""
        oldest = self._seq - len(self._pages)
        found = []
        for number in range(max(cut.next_seq, oldest), self._seq):
            kept = self._pages[number - oldest]
            page, entries = kept.page, kept.entries
            if kept.last_ns < cut.since_ns:
                entries = 0
            elif _begun_ns(page) < cut.since_ns or (until_ns is not None and kept.last_ns >= until_ns):
                page, entries = _between(page, cut.since_ns, until_ns)
            cut.kept += entries
            cut.left_out += kept.entries - entries
            if entries:
                found.append(self.part_frame(page, number, kept.cpu))
        cut.next_seq = self._seq
        return found

    def ledger_of(self, cut: Cut) -> bytes:
        """The frame of the counts of a window that is over."""
        missed = self._committed - cut.kept - cut.left_out - cut.overwritten
        overwritten = cut.overwritten if cut.held_ns is not None else 0
        left_out = cut.left_out + cut.overwritten - overwritten
        return self.ledger(missed=missed, overwritten=overwritten, left_out=left_out)

    def facts(self) -> dict[str, int]:
        """How many bytes are held, and how many records were written since the beginning."""
        return {"held": self.held_size + len(self._builder), "committed": self._committed + self._in_page}


AnyNative = NativeView | NativeFlight


def _begun_ns(page: bytes) -> int:
    return int.from_bytes(page[:8], "little")


def _between(page: bytes, since_ns: int, until_ns: int | None) -> tuple[bytes, int]:
    """The records of a page from one time to before another, as a page, and how many they are."""
    builder, count = PageBuilder(), 0
    for ts_ns, at, length in records(page):
        if ts_ns >= since_ns and (until_ns is None or ts_ns < until_ns):
            count += 1
            builder.append(ts_ns, page[at : at + length])
    return builder.take(), count


def all_flights(views: Iterable[AnyNative | None]) -> list[NativeFlight]:
    """Those that keep their pages."""
    return [view for view in views if isinstance(view, NativeFlight)]
