"""What a trace is read from: a trace.dat, or a raw recording that was not finished; perf.data has a file of its own."""

import re
from collections.abc import Iterator, Mapping
from heapq import merge as merge_sorted
from itertools import chain
from operator import attrgetter
from typing import Any, Final, Protocol

from ..abi.user_events import USER_EVENTS_SYSTEM
from ..buffer.merge import Batch, interleave, interleave_lots
from ..buffer.page import missed
from ..buffer.run import ANY, Run, runs_in
from ..errors import Malformed, Refused
from ..fields import parse_fields, parse_format
from . import facts
from .flight import Flight, read_flight
from .hosts import Host
from .hosts import from_json as from_stored
from .ledger import Ledger, from_json
from .model import PIDS_A_HOST, Event, Process, make_event
from .pages import Pages, closed
from .recording import MAX_NOTES, Recording
from .tracedat_parts import Format
from .tracedat_reader import CpuData, TraceDat

_LOST = re.compile(r"^(overrun|commit overrun|dropped events): *([0-9]{1,20})$", re.MULTILINE)
_UNKNOWN_COMM = "<...>"
_IDLE_COMM = "<idle>"
_SINCE: Final = attrgetter("since")


class Source(Protocol):
    """Where a trace's pages and facts come from."""

    events: dict[int, Event]
    processes: list[Process]
    comms: Mapping[int, str]
    """Names of threads, where the file tells them and not their processes."""
    format_texts: Mapping[int, str]
    """The `format` texts of events that are no user events, by id."""
    notes: list[str]
    flight: Flight
    header: dict[str, object]
    hosts: list[Host]
    """Whose processes they are, in a trace of several hosts; else empty."""
    clock: str
    kind: str
    shift_ns: int
    """Added to every time of its runs."""
    data_size: int
    """Bytes of pages."""
    done_size: int
    """How many of them were read so far, by whom read last."""

    def runs(self) -> Iterator[Run]:
        """Yield every page in the order of its time stamp."""

    def batches(self, only: int = ANY) -> Iterator[Batch]:
        """Yield all records in time order; those of other events than `only` may be left out."""

    def ledger(self) -> Ledger | None:
        """Return the closed ledger, None if the file has none."""

    def losses(self) -> list[str]:
        """Say what a file without a ledger tells about losses."""

    def who(self, tag: Any, tid: int, ts_ns: int) -> tuple[int | None, str, bool]:
        """Return the process a thread belonged to at a time, its name, and whether that holds at any time.

        `tag` is that of the record's run.
        """


def events_of(formats: list[Format], notes: list[str]) -> tuple[dict[int, Event], dict[int, str]]:
    """Return the events of `format` texts, and the texts of those that are no user events; note what cannot be read."""
    events: dict[int, Event] = {}
    texts: dict[int, str] = {}
    unreadable = 0
    for system, text in formats:
        try:
            found = parse_format(text)
        except Malformed:
            unreadable += 1
            continue
        events[found.id] = make_event(found.id, system, found.name, found.fields)
        if not system.startswith(USER_EVENTS_SYSTEM):
            texts[found.id] = text
    if unreadable:
        notes.append(f"{unreadable} of {len(formats)} event formats cannot be read")
    return events, texts


class RecordingSource:
    """A raw recording, read without being finished first."""

    kind = "raw recording"
    clock = "mono"
    shift_ns = 0

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._pages = Pages(recording)
        self.header = recording.header
        self.hosts = sorted(recording.hosts.by_name.values(), key=lambda host: host.number)
        self.notes = recording.notes
        self.flight = read_flight(recording.rules, recording.end)
        self.data_size = recording.data_size
        self.done_size = 0
        self.comms: Mapping[int, str] = {}
        self.format_texts: Mapping[int, str] = {}
        self.processes = [stream.process for stream in recording.streams.values()]
        self.events: dict[int, Event] = {
            event_id: make_event(event_id, event.system, event.name, event.fields)
            for event_id, event in self._pages.events.items()
        }

    def runs(self) -> Iterator[Run]:
        """Yield every page in the order of its time stamp, by CPU where it has records of several."""
        self.done_size = 0
        for run in Pages(self._recording).open_all(self._recording.pages_by_time()):
            self.done_size = min(self.done_size + len(run.data), self.data_size)
            yield run

    def batches(self, only: int = ANY) -> Iterator[Batch]:
        """Yield all records in time order, of all events."""
        return interleave(self.runs())

    def ledger(self) -> Ledger | None:
        """Read all pages once and close the ledger."""
        pages = Pages(self._recording)
        for _ in pages.open_all(range(len(self._recording.page_ts))):
            pass
        return closed(self._recording, pages)

    def losses(self) -> list[str]:
        """Nothing beyond the ledger."""
        return []

    def who(self, tag: Any, tid: int, ts_ns: int) -> tuple[int | None, str, bool]:
        """Return the process that wrote the page, the thread's name, and that this holds at any time."""
        process: Process | None = tag
        return (process.pid, process.tids.get(tid, process.comm), True) if process else (None, _UNKNOWN_COMM, True)


class TraceDatSource:
    """A trace.dat: what our own section says, and where there is none, what stock files say."""

    def __init__(self, file: TraceDat) -> None:
        self._file = file
        self.clock = file.clock or "local"
        self.shift_ns = file.ts_offset
        self.notes = file.notes
        self.comms: Mapping[int, str] = file.cmdlines
        self.data_size = sum(data.size for data in file.cpus)
        self.done_size = 0
        section = file.section or {}
        self.kind = f"trace.dat version {file.version}"
        self.header = facts.mapping(section, "header")
        self.notes += facts.texts(section, "notes")[:MAX_NOTES]
        self.flight = read_flight(facts.mappings(section, "rules"), facts.mapping(section, "end"))
        self._ledger = from_json(facts.mapping(section, "ledger")) if file.section is not None else None
        self.processes = [_process(each) for each in facts.mappings(section, "processes")]
        self.hosts = [from_stored(each) for each in facts.mappings(section, "hosts")]
        self._owners: dict[int, list[Process]] = {}
        for process in self.processes:
            for tid in process.tids:
                self._owners.setdefault(tid, []).append(process)
        self.format_texts: Mapping[int, str]
        self.events, self.format_texts = events_of(file.formats, self.notes)
        for each in facts.mappings(section, "events"):
            self._read_declared(each)

    def _read_declared(self, declared: dict[str, object]) -> None:
        """Take an event as it was declared, where trace.dat itself has the spelling that stock tools read."""
        event_id = facts.whole(declared, "id", -1)
        try:
            fields = parse_fields(facts.text(declared, "fields"))
        except Refused:
            return
        if event_id in self.events:
            system, name = facts.text(declared, "system", "user_events"), facts.text(declared, "name")
            self.events[event_id] = make_event(event_id, system, name, fields)

    def runs(self) -> Iterator[Run]:
        """Yield every page in the order of its time stamp."""
        cpus = [chain.from_iterable(self._lots_of(data, ANY)) for data in self._file.cpus if data.size]
        return merge_sorted(*cpus, key=_SINCE)

    def batches(self, only: int = ANY) -> Iterator[Batch]:
        """Yield all records in time order, of one event `only` or of all."""
        self.done_size = 0
        return interleave_lots(self._lots_of(data, only) for data in self._file.cpus if data.size)

    def _lots_of(self, data: CpuData, only: int) -> Iterator[list[Run]]:
        first = 0
        for lot in self._file.lots(data):
            runs, problems = runs_in(lot, self._file.page_size, data.cpu, only, data.instance or None)
            for number, problem in problems:
                self._note_damage(data, first + number, problem)
            self.done_size += len(lot)
            yield runs
            first += len(lot) // self._file.page_size

    def _note_damage(self, data: CpuData, number: int, problem: str) -> None:
        if len(self.notes) < MAX_NOTES:
            at = data.offset + number * self._file.page_size
            note = f"the page of CPU {data.cpu} at byte {at} is damaged, its rest is left out: {problem}"
            if note not in self.notes:  # the file may be read several times
                self.notes.append(note)

    def ledger(self) -> Ledger | None:
        """Return the stored ledger, if the file is one of ours."""
        return self._ledger

    def losses(self) -> list[str]:
        """Say what the kernel's counts, and the marks of its pages, tell about lost records."""
        found = []
        for text in self._file.statistics:
            for what, number in _LOST.findall(text):
                if int(number):
                    found.append(f"{text.partition(chr(10))[0]}: {what}: {number}")
        pages = count = 0
        for data in self._file.cpus:
            for page in self._file.pages(data):
                try:
                    lost = missed(page)
                except Malformed:
                    continue
                pages += lost != 0
                count += max(lost, 0)
        if pages:
            at_least = f", {count} records or more" if count else ""
            found.append(f"records were lost before {pages} of the pages{at_least}")
        return found

    def who(self, tag: Any, tid: int, ts_ns: int) -> tuple[int | None, str, bool]:
        """Return the process that had this thread at that time, its name, and whether that holds at any time.

        The tag is the name of the record's instance, which goes before the thread's. The process is None where the file
        does not say; a thread id that two processes had is told by their times.
        """
        comm = self._file.cmdlines.get(tid, _UNKNOWN_COMM) if tid else _IDLE_COMM
        if tag:
            comm = f"{tag}: {comm}"
        owners = self._owners.get(tid)
        if not owners:
            return None, comm, True
        for process in owners:
            if len(owners) == 1 or (process.first_ns or 0) <= ts_ns <= (process.last_ns or 0):
                return process.pid, process.tids[tid], len(owners) == 1
        return owners[0].pid, comm, False


def _process(stored: dict[str, object]) -> Process:
    tids = {facts.id_of(key): name for key, name in facts.mapping(stored, "tids").items() if isinstance(name, str)}
    pid, host = facts.whole(stored, "pid"), facts.text(stored, "host")
    return Process(
        pid=pid,
        comm=facts.text(stored, "comm", "?"),
        cmdline=facts.texts(stored, "cmdline"),
        start_time=facts.count(stored, "start_time"),
        tids={tid: name for tid, name in tids.items() if tid is not None},
        first_ns=facts.time_or_none(stored, "first_ns"),
        last_ns=facts.time_or_none(stored, "last_ns"),
        host=host,
        host_pid=facts.whole(stored, "host_pid", pid % PIDS_A_HOST) if host else None,  # files of before have none
    )
