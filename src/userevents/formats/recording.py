"""A raw recording (FILE.part, or bytes), indexed: its sessions, their events and counts, and where each page lies.

Only the index is held in memory, about 60 bytes a page in flat arrays; page data stays in the file. The file
may be gigabytes, cut anywhere, or hold what a hostile program wrote: what does not hold together is left out
and noted.
"""

import os
from array import array
from dataclasses import dataclass, field
from typing import NamedTuple

from ..abi.user_events import MAX_EVENT_ID
from ..buffer import stream as wire
from ..buffer.stream import Frame, FrameReader, Part
from ..errors import Malformed, Refused
from ..fields import Field, parse_fields
from . import facts
from .choice import Pattern
from .cursor import ReadAt, reader_of
from .flight import MAX_INSTANTS
from .hosts import MAX_TRACE_CPUS, Hosts, Scope
from .model import PIDS_A_HOST, Process, make_event

MAX_STREAMS = 1 << 17
MAX_EVENTS = 1 << 18
MAX_THREADS = 1 << 20
MAX_RINGS = 256
MAX_CPUS = 4096
MAX_NOTES = 100
_OF_HOSTS = frozenset({wire.HOST, wire.CLOCK, wire.BATCH})
_FACTS = _OF_HOSTS | {
    wire.HEADER,
    wire.STREAM,
    wire.EVENT,
    wire.LEDGER,
    wire.THREADS,
    wire.END,
    wire.NOTE,
    wire.FLEET,
    wire.RULE,
}
_NONE = (1 << 64) - 1


class Declared(NamedTuple):
    """An event as one stream's records mean it, in kernel text."""

    id: int
    system: str
    name: str
    args: str
    fields: tuple[Field, ...]


@dataclass(slots=True)
class _RingEnd:
    """How far a ring has been indexed: the number in it of the page last met, and where that page's data ends."""

    seq: int
    last_part: int
    end: int


@dataclass(slots=True)
class Stream:
    """One session of the recording: the process, its events by id, its thread names and its own counts.

    `earlier` are the counts of recordings before that this session went through, `fleet` what its host dropped, by
    event id; `scope` is where it came from, in a recording of several hosts.
    """

    number: int
    process: Process
    events: dict[int, Declared] = field(default_factory=dict)
    enabled: set[int] = field(default_factory=set)
    counts: dict[str, object] | None = None
    rings: dict[int, _RingEnd] = field(default_factory=dict)
    scope: Scope | None = None
    earlier: dict[str, object] | None = None
    fleet: dict[int, int] = field(default_factory=dict)


class Recording:
    """An indexed recording. Page numbers count pages in the order in which they begin in the file.

    `page_ts`, `page_cpu`, `page_stream`, `page_gap` (1: pages before it are missing) and `page_has_cpus` (1: its
    records say on which CPU each was written) are columns over them.
    """

    def __init__(self, read_at: ReadAt, size: int, name: str) -> None:
        self.name = name
        self.size = size
        self.header: dict[str, object] = {}
        self.end: dict[str, object] | None = None
        self.streams: dict[int, Stream] = {}
        self.hosts = Hosts()
        """Empty, but for a recording of several hosts."""
        self.notes: list[str] = []
        self.rules: list[dict[str, object]] = []
        """The facts of flight rules that held."""
        self.data_size = 0
        self.page_ts = array("Q")
        self.page_cpu = array("H")
        self.page_stream = array("I")
        self.page_gap = array("B")
        self.page_has_cpus = array("B")
        self._page_part = array("Q")
        self._part_start = array("Q")
        self._part_length = array("H")
        self._part_next = array("Q")
        self._damaged = 0
        self._patterns: list[Pattern] | None = None
        self._events_left = MAX_EVENTS
        self._threads_left = MAX_THREADS
        self._read_at = read_at
        self._index(FrameReader(read_at, size, name))

    @classmethod
    def of(cls, data: bytes, name: str = "recording") -> "Recording":
        """Index a whole recording that is in memory."""
        return cls(lambda offset, size: data[offset : offset + size], len(data), name)

    @classmethod
    def of_fd(cls, fd: int, name: str) -> "Recording":
        """Index the recording in an open file, which must stay open as long as pages are read."""
        return cls(reader_of(fd, name), os.fstat(fd).st_size, name)

    def _index(self, reader: FrameReader) -> None:
        for frame in reader:
            if isinstance(frame, Part):
                self._add_part(frame)
            else:
                self._add_facts(reader, frame)
        for stream in self.streams.values():
            stream.rings.clear()
        if self.hosts:
            self._move_to_hosts()
        self.problem = reader.problem
        if reader.problem:
            self.note(f"the recording {reader.problem}: what follows is not in the trace")
        elif self.end is None:
            self.note("the recording has no end mark: its recorder was killed or still runs")
        if self._damaged:
            self.note(f"{self._damaged} damaged pieces of pages were left out")

    def note(self, text: str) -> None:
        """Add a warning for the reader of the trace, once."""
        if text and text not in self.notes and len(self.notes) < MAX_NOTES:
            self.notes.append(text)

    def _add_facts(self, reader: FrameReader, frame: Frame) -> None:
        if frame.kind not in _FACTS or (self.hosts.is_skipping and frame.kind not in _OF_HOSTS):
            return
        found, hosts = reader.facts(frame), self.hosts
        if found is None:
            self.note(f"a frame of type {frame.kind} at byte {frame.start} holds no facts")
        elif frame.kind == wire.BATCH:
            hosts.begin_batch(frame.stream, found)
        elif frame.kind == wire.HOST:
            self.note(hosts.open(frame.stream, found))
        elif frame.kind == wire.CLOCK:
            hosts.add_sample(frame.stream, found)
        elif frame.kind == wire.HEADER:
            self._add_header(found)
        elif frame.kind == wire.END:
            self._add_end(found)
        elif frame.kind == wire.NOTE:
            text = facts.text(found, "text")
            self.note(f"{hosts.current.host.name}: {text}" if hosts.current else text)
        elif frame.kind == wire.RULE:
            self.rules += [found] if len(self.rules) < MAX_INSTANTS else []
        elif frame.kind == wire.STREAM:
            self._add_stream(frame.stream, found)
        elif stream := self._stream_of(frame.stream):
            self._add_to_stream(stream, frame.kind, found)

    def _add_header(self, found: dict[str, object]) -> None:
        if self.hosts.current:
            self.hosts.begin_recording(self.hosts.current, found)
        else:
            self.header = self.header or found

    def _add_end(self, found: dict[str, object]) -> None:
        if self.hosts.current:
            self.hosts.current.ended = True
        else:
            self.end = found

    def _stream_of(self, number: int) -> Stream | None:
        """Return the session that a number means where the reading is."""
        scope = self.hosts.current
        return self.streams.get(scope.streams.get(number, 0) if scope else number)

    def _add_stream(self, number: int, found: dict[str, object]) -> None:
        scope, nonce = self.hosts.current, facts.text(found, "nonce")
        if scope:
            known = self._stream_of(number)
            if known and scope.nonces.get(number) == nonce:  # its host's next recording goes on with it
                known.earlier, known.counts = added(known.earlier, known.counts), None
                return
            scope.nonces[number] = nonce
            scope.streams[number] = len(self.streams) + 1
            number = scope.streams[number]
        if number in self.streams or len(self.streams) >= MAX_STREAMS:
            self.note(f"session {number} is opened twice, or is one of more than {MAX_STREAMS}")
            return
        process = Process(
            pid=facts.whole(found, "pid") & 0xFFFFFFFF,
            comm=facts.text(found, "comm", "?"),
            cmdline=facts.texts(found, "cmdline"),
            start_time=facts.count(found, "start_time"),
        )
        self.streams[number] = Stream(number, process, scope=scope)
        if scope:
            process.host = scope.host.name
            process.comm = f"{process.host}:{process.comm}"

    def _add_to_stream(self, stream: Stream, kind: int, found: dict[str, object]) -> None:
        if kind == wire.EVENT:
            self._add_event(stream, found)
        elif kind == wire.LEDGER:
            stream.counts = found
        elif kind == wire.FLEET:
            for key, number in facts.mapping(found, "records").items():
                event_id = facts.id_of(key, 1 << 16)
                if event_id is not None and type(number) is int and 0 < number < 1 << 48:
                    stream.fleet[event_id] = stream.fleet.get(event_id, 0) + number
        elif kind == wire.THREADS:
            for key, name in found.items():
                tid = facts.id_of(key)
                if tid is not None and isinstance(name, str) and self._threads_left:
                    self._threads_left -= 1
                    process = stream.process
                    process.tids[tid] = f"{process.host}:{name}" if process.host else name

    def _add_event(self, stream: Stream, found: dict[str, object]) -> None:
        event_id = facts.whole(found, "id", -1)
        if not 0 < event_id <= MAX_EVENT_ID or not self._events_left:
            return  # id 0: the event was refused, no record can be meant
        self._events_left -= 1
        args = facts.text(found, "fields")
        try:
            fields = parse_fields(args)
        except Refused as refusal:
            self.note(f"event {facts.text(found, 'name')!r} has fields that cannot be read: {refusal.reason}")
            return
        name = facts.text(found, "name", f"event_{event_id}")
        system = facts.text(found, "system", "user_events")
        declared = Declared(event_id, system, name, args, fields)
        known = stream.events.setdefault(event_id, declared)
        if known != declared:
            self.note(f"id {event_id} meant {known.name!r} and later {declared.name!r} in session {stream.number}")
        if found.get("enabled") is True and self._wants(declared):
            stream.enabled.add(event_id)

    def _wants(self, declared: Declared) -> bool:
        """Whether the recording is of this event, where its header says of which ones it is."""
        if self._patterns is None:
            self._patterns = [Pattern.parse(text) for text in facts.texts(self.header, "patterns")]
        event = make_event(declared.id, declared.system, declared.name, ())
        return not self._patterns or any(pattern.matches(event) for pattern in self._patterns)

    def _add_part(self, part: Part) -> None:
        if self.hosts.is_skipping:
            return
        stream = self._stream_of(part.stream)
        if stream is None or not part.length:
            self._damaged += 1
            return
        ring = stream.rings.get(part.generation)
        if ring is None or part.seq > ring.seq or part.offset > ring.end:
            has_time = not part.offset or part.flags & wire.PART_CONTINUES
            if has_time and (ring is not None or len(stream.rings) < MAX_RINGS):
                self._add_page(stream, ring, part)
            else:
                self._damaged += 1
        elif part.seq == ring.seq and part.offset == ring.end:
            number = self._add_data(part)
            self._part_next[ring.last_part] = number
            ring.last_part, ring.end = number, ring.end + part.length
        else:
            self._damaged += 1

    def _add_page(self, stream: Stream, ring: _RingEnd | None, part: Part) -> None:
        gap = ring is not None and (part.seq > ring.seq + 1 or part.offset > 0)
        self.page_ts.append(part.ts)
        self.page_cpu.append(part.cpu if part.cpu < MAX_CPUS else 0)
        self.page_stream.append(stream.number)
        self.page_gap.append(gap)
        self.page_has_cpus.append(bool(part.flags & wire.PART_CPUS))
        number = self._add_data(part)
        self._page_part.append(number)
        stream.rings[part.generation] = _RingEnd(part.seq, number, part.offset + part.length)

    def _add_data(self, part: Part) -> int:
        self._part_start.append(part.start)
        self._part_length.append(part.length)
        self._part_next.append(_NONE)
        self.data_size += part.length
        return len(self._part_start) - 1

    def _move_to_hosts(self) -> None:
        """Move pages to the recording's clock, and to the CPUs and numbers of processes that their hosts have in it."""
        self.hosts.settle(self.header)
        for note in self.hosts.notes():
            self.note(note)
        self._number_processes()
        early = 0
        for page, number in enumerate(self.page_stream):
            scope = self.streams[number].scope
            if scope is not None and self.page_ts[page] < 1 << 63:
                moved = self.page_ts[page] + scope.clock.at(self.page_ts[page]).shift_ns
                early += moved < 0
                self.page_ts[page] = max(moved, 0)
                self.page_cpu[page] = scope.host.cpu_of(self.page_cpu[page])
        if early:
            self.note(f"{early} pages are from before the recording's clock began: their times begin at 0")

    def _number_processes(self) -> None:
        """Give processes, their threads and those that rules tell of the numbers that they have among all hosts."""
        for stream in self.streams.values():
            if stream.scope is not None:
                process, host = stream.process, stream.scope.host
                process.host_pid, process.pid = process.pid, host.number_of(process.pid)
        for stream in self.streams.values():
            if stream.scope is not None:
                process, host = stream.process, stream.scope.host
                process.tids = {host.number_of(tid): name for tid, name in process.tids.items()}
        for told in (*self.rules, *facts.mappings(self.end or {}, "short")):
            found = self.hosts.by_name.get(facts.text(told, "host"))
            if found and facts.count(told, "pid"):
                told["pid"] = found.number_of(facts.count(told, "pid") % PIDS_A_HOST)

    def page_data(self, page: int) -> bytes:
        """Return the recorded data of one page, its parts put together."""
        number = self._page_part[page]
        pieces = []
        while number != _NONE:
            piece = self._read_at(self._part_start[number], self._part_length[number])
            if len(piece) != self._part_length[number]:
                raise Malformed(self.name, "became shorter while it was read", self._part_start[number])
            pieces.append(piece)
            number = self._part_next[number]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pages_by_time(self) -> list[int]:
        """Return the numbers of all pages in the order of their time stamps, as recorded where these are equal."""
        return sorted(range(len(self.page_ts)), key=self.page_ts.__getitem__)

    @property
    def cpus(self) -> int:
        """How many CPUs the trace has: as its header says, or more if a page says so."""
        claimed = facts.whole(self.header, "cpus", 1)
        if self.hosts:
            claimed = self.hosts.cpus
        return max(claimed if 0 < claimed <= MAX_TRACE_CPUS else 1, max(self.page_cpu, default=0) + 1)


def added(first: dict[str, object] | None, second: dict[str, object] | None) -> dict[str, object] | None:
    """Return the sum of a session's counts in two recordings, one after the other; what is no count, of the later."""
    if first is None or second is None:
        return first or second
    total = dict(second)
    for key in ("committed", "overwritten", "missed", "left_out"):
        total[key] = facts.count(first, key) + facts.count(second, key)
    events = {key: dict(value) for key, value in facts.mapping(first, "events").items() if isinstance(value, dict)}
    for key, value in facts.mapping(second, "events").items():
        if isinstance(value, dict):
            known = events.setdefault(key, {})
            for name in value:
                known[name] = facts.count(known, name) + facts.count(value, name)
    total["events"] = events
    total["exact"] = first.get("exact") is True and second.get("exact") is True
    return total
