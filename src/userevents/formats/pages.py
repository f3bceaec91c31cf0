"""Pages of a recording, opened one at a time: walked, counted, filtered, ready to be merged or decoded."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from struct import Struct

from ..abi.ring_buffer import RECORD_HEADER
from ..abi.user_events import MAX_EVENT_ID
from ..buffer.run import CPU_IN_HEAD, Heads, Run, cpu_in
from . import facts
from .hosts import Host, Scope
from .ledger import Ledger, ProcessLedger, event_ledger
from .model import readable
from .recording import MAX_CPUS, Declared, Recording, Stream, added

MAX_TIDS = 1 << 20
"""Threads told apart in one recording; more are noise, and only their records are counted."""
_CPUS_OF_A_PAGE = 32
"""A page whose records claim more CPUs holds noise: then they are all on the CPU of the page."""
_SAME_NS = 1000
"""A page whose clock moved less than this from its first record to its last is moved as a whole."""
_HEAD = Struct(RECORD_HEADER)


@dataclass(slots=True)
class Tally:
    """What was met in one stream's pages: records by event id, the threads that wrote them, and those left out."""

    delivered: Counter[int] = field(default_factory=Counter)
    tids: set[int] = field(default_factory=set)
    other: int = 0
    first_ns: int | None = None
    last_ns: int | None = None

    def add_times(self, first_ns: int, last_ns: int) -> None:
        """Widen the span of this stream by a page's."""
        self.first_ns = first_ns if self.first_ns is None else min(self.first_ns, first_ns)
        self.last_ns = last_ns if self.last_ns is None else max(self.last_ns, last_ns)


class Pages:
    """Opens the pages of one recording and counts what it meets.

    `events` are those of the trace, by id. Records keep their ids, except where two sessions used one id for
    different events: then the later one's records get another. A run's `tag` is the process that wrote it.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.tallies: dict[int, Tally] = {number: Tally() for number in recording.streams}
        self.events: dict[int, Declared] = {}
        self._new_ids: dict[int, dict[bytes, bytes]] = {}
        self._tids_left = MAX_TIDS
        self._ids: dict[tuple[str, str, str], int] = {}
        self._free = iter(range(MAX_EVENT_ID, 0, -1))
        """The ids that were not looked at yet for one that is free; ids are taken for good."""
        self._missing: dict[int, int] = {}
        self._kept: dict[int, frozenset[bytes]] = {}
        for stream in recording.streams.values():
            self._assign_ids(stream)

    def _assign_ids(self, stream: Stream) -> None:
        kept = set()
        for event_id in sorted(stream.enabled):
            declared = stream.events[event_id]
            new_id = event_id
            if self._is_taken(event_id, declared) or (stream.scope and self._same(declared) not in (event_id, None)):
                new_id = self._other_id(declared)
                if new_id < 0:
                    self.recording.note(f"no id is left for event {declared.name!r}: its records were left out")
                    continue
                renamed = self._new_ids.setdefault(stream.number, {})
                renamed[event_id.to_bytes(2, "little")] = new_id.to_bytes(2, "little")
            self.events[new_id] = declared._replace(id=new_id)
            self._ids.setdefault(declared[1:4], new_id)
            kept.add(event_id.to_bytes(2, "little"))
        self._kept[stream.number] = frozenset(kept)

    def _other_id(self, declared: Declared) -> int:
        """Return an id for an event whose own means another one in another session, -1 if there is none left."""
        if (same := self._same(declared)) is not None:
            return same
        return next((free for free in self._free if free not in self.events), -1)

    def _is_taken(self, event_id: int, declared: Declared) -> bool:
        return self.events.get(event_id, declared)[1:] != declared[1:]

    def _same(self, declared: Declared) -> int | None:
        """Return the id under which another session has this event, which each host numbers as it likes."""
        return self._ids.get(declared[1:4])

    def cpus_of(self, number: int) -> list[int]:
        """Return the CPUs on which the records of a page were written, ascending."""
        if not self.recording.page_has_cpus[number]:
            return [self.recording.page_cpu[number]]
        return sorted(self._by_cpu(number, self._walked(number).heads()))

    def open(self, number: int, cpu: int) -> Run:
        """Read, walk and count one page, only its records of `cpu`.

        Records of events that were never enabled in their stream are left out.
        """
        run = self._walked(number)
        heads = run.heads()
        if not self.recording.page_has_cpus[number]:
            return self._chosen(number, run, heads, cpu, None)
        return self._chosen(number, run, heads, cpu, self._by_cpu(number, heads).get(cpu, set()))

    def open_all(self, numbers: Iterable[int]) -> Iterator[Run]:
        """Open pages one after the other; one with records of several CPUs gives a run for each."""
        for number in numbers:
            run = self._walked(number)
            heads = run.heads()
            if not self.recording.page_has_cpus[number]:
                yield self._chosen(number, run, heads, run.cpu, None)
                continue
            for cpu, written in sorted(self._by_cpu(number, heads).items()):
                yield self._chosen(number, run, heads, cpu, written)

    def _walked(self, number: int) -> Run:
        recording = self.recording
        process = recording.streams[recording.page_stream[number]].process
        run = Run(recording.page_data(number), recording.page_ts[number], recording.page_cpu[number], process)
        run.has_gap = bool(recording.page_gap[number])
        if run.problem:
            recording.note(f"a page of process {process.pid} is damaged: {run.problem}")
        return run

    def _by_cpu(self, number: int, heads: Heads) -> dict[int, set[bytes]]:
        """Return the CPUs of a page whose records say theirs, and for each what stands in the records' headers."""
        page_cpu = self.recording.page_cpu[number]
        scope = self.recording.streams[self.recording.page_stream[number]].scope
        found: dict[int, set[bytes]] = {}
        for head in heads:
            cpu = cpu_in(head)
            cpu = page_cpu if cpu >= MAX_CPUS else scope.host.cpu_of(cpu) if scope else cpu
            found.setdefault(cpu, set()).add(head[CPU_IN_HEAD])
        return found if len(found) <= _CPUS_OF_A_PAGE else {page_cpu: set().union(*found.values())}

    def _chosen(self, number: int, run: Run, heads: Heads, cpu: int, written: set[bytes] | None) -> Run:
        """Count a page's records, and leave out those nobody asked for; `written`: take those of this CPU only."""
        stream = self.recording.page_stream[number]
        kept, new_ids = self._kept[stream], self._new_ids.get(stream, {})
        scope = self.recording.streams[stream].scope
        host, threads = scope.host if scope else None, dict[bytes, int]()
        dropped = set()
        for head, (count, first_ns, last_ns) in heads.items():
            if written is not None and head[CPU_IN_HEAD] not in written:
                continue
            if head[:2] in kept:
                tid = threads[head[4:]] = _thread(head, host)
                self._count(self.tallies[stream], head, new_ids, tid, count, first_ns, last_ns)
            else:
                self.tallies[stream].other += count
                dropped.add(head[:2])
        drift = _drift(scope, run, heads)
        if not dropped and not new_ids and written is None and not scope and not drift:
            return run
        renamed = b"".join(old + new for old, new in new_ids.items())
        cpus = None if written is None else b"".join(written)
        moved = b"".join(old + new.to_bytes(4, "little") for old, new in threads.items()) if host else b""
        return run.select(cpu=cpu, dropped=b"".join(dropped), renamed=renamed, cpus=cpus, threads=moved, drift=drift)

    def _count(
        self, tally: Tally, head: bytes, new_ids: dict[bytes, bytes], tid: int, count: int, first_ns: int, last_ns: int
    ) -> None:
        tally.delivered[int.from_bytes(new_ids.get(head[:2], head[:2]), "little")] += count
        tally.add_times(first_ns, last_ns)
        if tid not in tally.tids and self._tids_left:
            self._tids_left -= 1
            tally.tids.add(tid)

    def settle(self) -> list[ProcessLedger]:
        """Close the books: fill in what processes were seen to do, and return each one's ledger."""
        self._missing.clear()
        return [self._settle_one(stream) for stream in self.recording.streams.values()]

    def _settle_one(self, stream: Stream) -> ProcessLedger:
        tally, process = self.tallies[stream.number], stream.process
        process.first_ns, process.last_ns = tally.first_ns, tally.last_ns
        for tid in sorted(tally.tids):
            process.tids.setdefault(tid, process.comm)
        delivered = tally.delivered
        counts = added(stream.earlier, stream.counts) or {}
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
            dropped = stream.fleet.get(event_id, 0) if event_id in stream.enabled else 0
            events.append(event_ledger(name, facts.mapping(counted, str(event_id)), number, dropped))
        fleet = sum(event.fleet for event in events)
        ledger = ProcessLedger(
            pid=process.pid,
            comm=process.comm,
            events=tuple(events),
            committed=facts.count(counts, "committed"),
            delivered=delivered.total(),
            other=tally.other + facts.count(counts, "left_out") + sum(stream.fleet.values()) - fleet,
            overwritten=facts.count(counts, "overwritten"),
            missed=facts.count(counts, "missed"),
            alive=counts.get("alive") is True,
            exact=counts.get("exact") is True,
            counted=bool(counts),
            fleet=fleet,
            cut_off=stream.scope is not None and not stream.scope.ended,
        )
        if self.recording.end is None:
            ledger = ledger.caught_up()
        return self._with_missing(ledger, stream.scope)

    def _with_missing(self, ledger: ProcessLedger, scope: Scope | None) -> ProcessLedger:
        """Put what nobody accounts for down to the batches that never came, as far as those had records.

        Where a host was lost, nobody knows how many were on their way.
        """
        if scope is None:
            return ledger
        left = self._missing.get(id(scope), scope.missing_records)
        gone = max(ledger.unexplained[1], 0)
        gone = gone if ledger.cut_off else min(gone, left)
        if not gone:
            return ledger
        self._missing[id(scope)] = left - gone
        return replace(ledger, fleet=ledger.fleet + gone)


def _thread(head: bytes, host: Host | None) -> int:
    """Return what a record's thread is called in the trace."""
    tid: int = _HEAD.unpack(head)[3]
    return tid if host is None else host.number_of(tid)


def _drift(scope: Scope | None, run: Run, heads: Heads) -> float:
    """Return how a page's times part from its time stamp's, in ns a ns."""
    if scope is None or not heads:
        return 0.0
    clock, since = scope.clock, run.since
    span = max(last_ns for _, _, last_ns in heads.values()) - since
    there_ns = since - clock.at(since).shift_ns  # close enough: the shift of a moment one shift away
    moved_ns = clock.at(there_ns + span).shift_ns - clock.at(there_ns).shift_ns
    return moved_ns / span if abs(moved_ns) > _SAME_NS else 0.0


def closed(recording: Recording, pages: Pages) -> Ledger:
    """Return the ledger of a recording whose pages were all opened."""
    return Ledger(tuple(pages.settle()), recording.end is not None)
