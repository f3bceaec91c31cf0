"""The fleet's stream as windows of time: each a small trace that any view takes, as soon as its time has gone by.

Pure: time is passed in. A window holds the records of `length_ns` of our clock. It is closed `grace_ns` after its end;
what comes later stands in the next window, and is counted as late. Pages are cut where a window ends.
"""

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import Final, NamedTuple

from ..abi.ring_buffer import PAGE_DATA_SIZE, PAGE_HEADER_SIZE, PAGE_SIZE, TYPE_LEN_BITS
from ..buffer import stream as wire
from ..buffer.page import record_end
from ..buffer.run import Run
from ..formats import Trace, facts
from ..formats.host_clock import HostClock
from ..formats.host_clock import Sample as ClockSample
from ..formats.recording import Recording
from ..formats.sources import RecordingSource
from .batches import frames_in
from .merged import Sample
from .sequence import Ready

_ENTRY: Final = Struct("<QII")
_PAGE_HEAD: Final = Struct("<QQ")
_FACTS: Final = frozenset({wire.STREAM, wire.EVENT, wire.THREADS})
_SAMPLES: Final = 32
"""Comparisons of a clock that are kept."""
WINDOWS_MAX: Final = 64
"""Windows open at once; a host whose clock is far ahead does not open more."""

Ring = tuple[int, int]
"""Stream and generation."""
Session = tuple[int, int]
"""Scope and stream."""
Declaration = tuple[str, str, str]
"""System, name and fields."""


class Piece(NamedTuple):
    """Part of a page that stands by itself: it can be read without what came before it."""

    scope: int
    stream: int
    frame: bytes
    records: int
    since_ns: int
    """The time of its first record, by its host's clock."""


@dataclass(slots=True)
class _Host:
    """What is known of one scope: the frames that open it, its sessions' facts, and where its rings stand."""

    opened: bytes
    header: bytes = b""
    samples: list[ClockSample] = field(default_factory=list)
    clock: HostClock = field(default_factory=lambda: HostClock([]))
    facts: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[Ring, tuple[int, int, int]] = field(default_factory=dict)
    """By ring: the page that is being filled, how far, and the time of its last record."""
    stale: set[int] = field(default_factory=set)
    """Sessions that were not told of since the last recording began: windows may still hold records of theirs."""

    def begin(self, header: bytes) -> None:
        """A new recording tells its sessions anew; those that the last one did not know are gone for good."""
        self.header = header
        for stream in self.stale:
            self.facts.pop(stream, None)
        self.ends = {ring: end for ring, end in self.ends.items() if ring[0] not in self.stale}
        self.stale = set(self.facts)


class Window(NamedTuple):
    """A window that is closed: from `start_ns` to `stop_ns` of our clock."""

    start_ns: int
    stop_ns: int
    trace: Trace
    records: int


class Windows:
    """A sink (merged.py) that gives windows. `header` is that of a recording made here, with the patterns wanted."""

    def __init__(
        self,
        header: Mapping[str, object],
        now_ns: int,
        length_ns: int,
        grace_ns: int,
        *,
        has_all_events: bool = False,
    ) -> None:
        self.late = 0
        """Records that came after their window was closed."""
        self.unreadable = 0
        """Pieces of pages without their beginning: what was before them is missing."""
        self.dropped = 0
        """Records that hosts say they dropped."""
        self._header = dict(header)
        self._ahead_ns = facts.whole(header, "real_ns") - facts.whole(header, "mono_ns")
        """How far our date is ahead of our clock."""
        self._start_ns = now_ns
        self._length_ns = length_ns
        self._grace_ns = grace_ns
        self._hosts: dict[int, _Host] = {}
        self._most = 0
        """The highest number of a host: all windows have as many numbers for each one's processes."""
        self._open: dict[int, list[Piece]] = defaultdict(list)
        self._examples: dict[Declaration, Session] | None = {} if has_all_events else None
        """Of each event, a session that declares it: what windows without a record of it are told."""
        self._first = 0
        """The number of the first window that is not closed."""

    def host(self, scope: int, name: str, number: int, run: str) -> None:
        """A host's agent appears."""
        self._most = max(self._most, number)
        self._hosts[scope] = _Host(wire.pack_host(scope, {"name": name, "number": number, "incarnation": run}))

    def clock(self, scope: int, sample: Sample) -> None:
        """A scope's clock was compared."""
        host = self._hosts[scope]
        host.samples = [*host.samples[1 - _SAMPLES :], ClockSample(*sample)]
        host.clock = HostClock(host.samples)

    def batch(self, scope: int, ready: Ready, stored: int, upto: int) -> None:
        """Take a batch in."""
        host = self._hosts[scope]
        for kind, stream, frame in frames_in(ready.payload):
            if kind == wire.HEADER:
                host.begin(frame)
                if not host.samples:
                    host.clock = HostClock([], ready.head.real_ns - ready.head.mono_ns - self._ahead_ns)
            elif kind == wire.STREAM:
                host.facts[stream] = [frame]
                host.stale.discard(stream)
            elif kind in _FACTS:
                host.facts[stream].append(frame)
                if kind == wire.EVENT and self._examples is not None:
                    self._note_event(self._examples, (scope, stream), frame)
            elif kind == wire.PAGE_PART:
                self._add_part(scope, host, stream, frame)
            elif kind == wire.PAGE_RUN:
                for part in _parts(stream, frame):
                    self._add_part(scope, host, stream, part)
            elif kind == wire.FLEET:
                self.dropped += _count(frame)

    def closed(self, now_ns: int) -> Iterator[Window]:
        """Yield the windows whose time has gone by, those without records, too."""
        while now_ns - self._grace_ns >= self._start_ns + (self._first + 1) * self._length_ns:
            number, self._first = self._first, self._first + 1
            start_ns = self._start_ns + number * self._length_ns
            pieces = self._open.pop(number, [])
            records = sum(piece.records for piece in pieces)
            yield Window(start_ns, start_ns + self._length_ns, self._trace(pieces), records)

    def _note_event(self, examples: dict[Declaration, Session], session: Session, frame: bytes) -> None:
        found = _json(frame)
        if found.get("enabled") is True:
            system, name, fields = (facts.text(found, key) for key in ("system", "name", "fields"))
            examples[system, name, fields] = session

    def _add_part(self, scope: int, host: _Host, stream: int, frame: bytes) -> None:
        """Put a part of a page into the windows of its records."""
        at = wire.FRAME.size
        if len(frame) < at + wire.PART.size:
            return
        generation, cpu, flags, seq, ts_ns, offset, length = wire.PART.unpack_from(frame, at)
        data = frame[at + wire.PART.size : at + wire.PART.size + length]
        ring = stream, generation
        end = host.ends.get(ring)
        if offset and not flags & wire.PART_CONTINUES:
            if end is None or end[:2] != (seq, offset):
                self.unreadable += 1
                host.ends.pop(ring, None)
                return
            ts_ns, flags = end[2], flags | wire.PART_CONTINUES
        run = Run(data, ts_ns)
        times = run.times
        host.ends[ring] = seq, offset + length, times[-1] if times else ts_ns
        where = stream, generation, cpu, seq
        self._cut(scope, host, run, where, ts_ns, offset, flags)

    def _cut(
        self, scope: int, host: _Host, run: Run, where: tuple[int, int, int, int], ts_ns: int, offset: int, flags: int
    ) -> None:
        """Cut a part where windows end. `where` is its stream, generation, CPU and page."""
        times, starts, data = run.times, run.starts, run.data
        first = 0
        while first < len(times):
            number = self._window_of(host, times[first])
            bound = times[first] + self._start_ns + (number + 1) * self._length_ns - self._here(host, times[first])
            stop = max(bisect_left(times, bound, first), first + 1)
            begin = starts[first] if first else 0
            end = record_end(data, starts[stop - 1]) if stop < len(times) else len(data)
            if first:  # what follows stands by itself: its delta is counted from where that leads to its time
                ts_ns = times[first] - (int.from_bytes(data[begin : begin + 4], "little") >> TYPE_LEN_BITS)
                flags |= wire.PART_CONTINUES
            piece = wire.pack_part(*where, ts_ns, offset + begin, data[begin:end], flags=flags)
            self._put(number, Piece(scope, where[0], piece, stop - first, times[first]))
            first = stop

    def _put(self, number: int, piece: Piece) -> None:
        if number < self._first:
            self.late += piece.records
            number = self._first
        self._open[min(number, self._first + WINDOWS_MAX)].append(piece)

    def _window_of(self, host: _Host, there_ns: int) -> int:
        return (self._here(host, there_ns) - self._start_ns) // self._length_ns

    def _here(self, host: _Host, there_ns: int) -> int:
        return there_ns + host.clock.at(there_ns).shift_ns

    def _trace(self, pieces: list[Piece]) -> Trace:
        """Return the trace of some pieces."""
        by_scope: dict[int, list[Piece]] = defaultdict(list)
        sessions: dict[int, dict[int, None]] = defaultdict(dict)
        for piece in pieces:
            by_scope[piece.scope].append(piece)
            sessions[piece.scope][piece.stream] = None
        for scope, stream in (self._examples or {}).values():
            sessions[scope][stream] = None
        found = [wire.pack_start(), wire.pack_header(self._header | {"hosts": self._most})]
        for scope, streams in sessions.items():
            host = self._hosts[scope]
            found.append(host.opened)
            since_ns = min((piece.since_ns for piece in by_scope[scope]), default=1 << 63)
            found += [wire.pack_clock(scope, *sample) for sample in host.clock.samples_since(since_ns)]
            found += [wire.pack_batch(scope, {"seq": 1}), host.header]
            for stream in streams:
                found += host.facts.get(stream, ())
            found += [piece.frame for piece in by_scope[scope]]
            found.append(wire.pack_end("window", 0))
        found += [wire.pack_batch(0, {}), wire.pack_end("window", 0)]
        return Trace("fleet", RecordingSource(Recording.of(b"".join(found), "fleet")), lambda: None)


def _count(frame: bytes) -> int:
    """Return how many records a FLEET frame says were dropped."""
    records = facts.mapping(_json(frame), "records")
    return sum(facts.count(records, event) for event in records)


def _json(frame: bytes) -> dict[str, object]:
    """Return the facts of a frame, none if it has none."""
    *_, used = wire.FRAME.unpack_from(frame)
    try:
        found = json.loads(frame[wire.FRAME.size : wire.FRAME.size + used])
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _parts(stream: int, frame: bytes) -> Iterator[bytes]:
    """Yield the pages of a run as parts."""
    generation, count, seq = wire.RUN.unpack_from(frame, wire.FRAME.size)
    table = wire.FRAME.size + wire.RUN.size
    pages = table + count * _ENTRY.size
    if len(frame) < pages + count * PAGE_SIZE:
        return
    for number in range(count):
        _, cpu, flags = _ENTRY.unpack_from(frame, table + number * _ENTRY.size)
        at = pages + number * PAGE_SIZE
        ts_ns, length = _PAGE_HEAD.unpack_from(frame, at)
        if 0 < length <= PAGE_DATA_SIZE and not length & 3:
            data = frame[at + PAGE_HEADER_SIZE : at + PAGE_HEADER_SIZE + length]
            where = stream, generation, min(cpu, 0xFFFF), seq + number, ts_ns, 0
            yield wire.pack_part(*where, data, flags=wire.PART_CPUS if flags & wire.RUN_CPUS else 0)
