"""Pages of a recording, opened one at a time: walked, counted, filtered, ready to be merged or decoded."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import compress
from struct import Struct

from ..abi.ring_buffer import RECORD_HEADER, RECORD_HEADER_SIZE
from ..abi.user_events import MAX_EVENT_ID
from ..buffer.page import Walk, body_start, walk
from . import facts
from .ledger import ProcessLedger, event_ledger
from .model import readable
from .recording import Declared, Recording, Stream

MAX_TIDS = 1 << 20
"""Threads told apart in one recording; more are noise, and only their records are counted."""
_HEAD = Struct(RECORD_HEADER)


@dataclass(slots=True, eq=False)
class OpenPage:
    """One page with its records walked. `is_whole`: every record of it stays, and nothing but records is in it."""

    stream: Stream
    cpu: int
    since: int
    has_gap: bool
    data: bytes
    walk: Walk
    times: list[int]
    starts: list[int]
    is_whole: bool


@dataclass(slots=True)
class Tally:
    """What was met in one stream's pages: records by event id, the threads that wrote them, and those left out."""

    delivered: Counter[int] = field(default_factory=Counter)
    tids: set[int] = field(default_factory=set)
    other: int = 0
    first_ns: int | None = None
    last_ns: int | None = None

    def add_times(self, times: list[int]) -> None:
        """Widen the span of this stream by a page's times."""
        self.first_ns = times[0] if self.first_ns is None else min(self.first_ns, times[0])
        self.last_ns = times[-1] if self.last_ns is None else max(self.last_ns, times[-1])


class Pages:
    """Opens the pages of one recording and counts what it meets.

    `events` are those of the trace, by id. Records keep their ids, except where two sessions used one id for
    different events: then the later one's records get another.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.tallies: dict[int, Tally] = {number: Tally() for number in recording.streams}
        self.events: dict[int, Declared] = {}
        self._new_ids: dict[int, dict[bytes, bytes]] = {}
        self._tids_left = MAX_TIDS
        self._kept: dict[int, frozenset[bytes]] = {}
        for stream in recording.streams.values():
            self._assign_ids(stream)

    def _assign_ids(self, stream: Stream) -> None:
        kept = set()
        for event_id in sorted(stream.enabled):
            declared = stream.events[event_id]
            new_id = event_id
            if self.events.get(event_id, declared)[1:] != declared[1:]:
                new_id = self._other_id(declared)
                if new_id < 0:
                    self.recording.note(f"no id is left for event {declared.name!r}: its records were left out")
                    continue
                renamed = self._new_ids.setdefault(stream.number, {})
                renamed[event_id.to_bytes(2, "little")] = new_id.to_bytes(2, "little")
            self.events[new_id] = declared._replace(id=new_id)
            kept.add(event_id.to_bytes(2, "little"))
        self._kept[stream.number] = frozenset(kept)

    def _other_id(self, declared: Declared) -> int:
        """Return an id for an event whose own means another one in another session, -1 if there is none left."""
        for event_id, known in self.events.items():
            if known[1:] == declared[1:]:
                return event_id
        return next((free for free in range(MAX_EVENT_ID, 0, -1) if free not in self.events), -1)

    def open(self, number: int) -> OpenPage:
        """Read, walk and count one page; records of events that were never enabled in its stream are left out."""
        recording = self.recording
        data = recording.page_data(number)
        stream = recording.streams[recording.page_stream[number]]
        since = recording.page_ts[number]
        found = walk(data, since)
        if found.problem:
            recording.note(f"a page of process {stream.process.pid} is damaged: {found.problem}")
        is_whole = found.is_plain and not found.problem
        tally, kept = self.tallies[stream.number], self._kept[stream.number]
        heads = _heads(data, found)
        counted = Counter(heads)
        if any(head[:2] not in kept for head in counted):
            keep = [head[:2] in kept for head in heads]
            tally.other += keep.count(False)
            times, starts = list(compress(found.times, keep)), list(compress(found.starts, keep))
            found = found._replace(times=times, starts=starts, is_plain=False)
            counted = Counter(compress(heads, keep))
            is_whole = False
        new_ids = self._new_ids.get(stream.number)
        if new_ids:
            data = _with_ids(data, found, new_ids)
            counted = Counter(_heads(data, found))
        if counted:
            tally.add_times(found.times)
            self._count(tally, counted)
        cpu, gap = recording.page_cpu[number], bool(recording.page_gap[number])
        return OpenPage(stream, cpu, since, gap, data, found, found.times, found.starts, is_whole)

    def _count(self, tally: Tally, counted: Counter[bytes]) -> None:
        for head, number in counted.items():
            event_id, _, _, tid = _HEAD.unpack(head)
            tally.delivered[event_id] += number
            if tid not in tally.tids and self._tids_left:
                self._tids_left -= 1
                tally.tids.add(tid)

    def open_all(self, numbers: Iterable[int]) -> Iterator[OpenPage]:
        """Open pages one after the other."""
        return map(self.open, numbers)

    def settle(self) -> list[ProcessLedger]:
        """Close the books: fill in what processes were seen to do, and return each one's ledger."""
        return [self._settle_one(stream) for stream in self.recording.streams.values()]

    def _settle_one(self, stream: Stream) -> ProcessLedger:
        tally, process = self.tallies[stream.number], stream.process
        process.first_ns, process.last_ns = tally.first_ns, tally.last_ns
        for tid in sorted(tally.tids):
            process.tids.setdefault(tid, process.comm)
        delivered = tally.delivered
        counts = stream.counts or {}
        counted = facts.mapping(counts, "events")
        renamed = self._new_ids.get(stream.number, {})
        events = []
        numbers = {number for key in counted if (number := facts.id_of(key)) is not None}
        for event_id in sorted(numbers | stream.enabled):
            key = event_id.to_bytes(4, "little")[:2]
            new_id = int.from_bytes(renamed.get(key, key), "little")
            known = stream.events.get(event_id)
            name = readable(known.name) if known else f"id {event_id}" if event_id else "not answered"
            number = delivered[new_id] if event_id in stream.enabled else 0
            events.append(event_ledger(name, facts.mapping(counted, str(event_id)), number))
        return ProcessLedger(
            pid=process.pid,
            comm=process.comm,
            events=tuple(events),
            committed=facts.count(counts, "committed"),
            delivered=delivered.total(),
            other=tally.other,
            overwritten=facts.count(counts, "overwritten"),
            missed=facts.count(counts, "missed"),
            alive=counts.get("alive") is True,
            exact=counts.get("exact") is True,
            counted=stream.counts is not None,
        )


def _heads(data: bytes, found: Walk) -> list[bytes]:
    """Return the 8 header bytes of each record."""
    if found.has_long:
        return [data[body : body + RECORD_HEADER_SIZE] for body in (body_start(data, start) for start in found.starts)]
    return [data[start + 4 : start + 12] for start in found.starts]


def _with_ids(data: bytes, found: Walk, renamed: dict[bytes, bytes]) -> bytes:
    """Return page data with the ids of its records replaced."""
    changed = bytearray(data)
    for start in found.starts:
        body = body_start(data, start)
        old = data[body : body + 2]
        changed[body : body + 2] = renamed.get(old, old)
    return bytes(changed)
