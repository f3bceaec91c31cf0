"""What a trace comes to: events by process with counts and rates, the slowest records, the ledger in lines.

Plain values, one pass over the records, memory by processes and events and not by records.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappush, heapreplace
from itertools import count
from struct import Struct

from ..abi.ring_buffer import RECORD_HEADER
from ..buffer.page import body_start
from ..buffer.run import Run
from .choice import Choice, Pattern
from .decoder import Decoder
from .flight import NO_FLIGHT, Flight
from .ledger import AFTER_WORDS, REASON_WORDS, Ledger
from .model import Event, Process, Record
from .rows import Row as RecordRow
from .sources import Source

_HEAD = Struct(RECORD_HEADER)


@dataclass(slots=True)
class Row:
    """One event of one process: how often, and the times (ns) of its first and last record."""

    process: str
    pid: int
    event: str
    count: int
    first_ns: int
    last_ns: int

    @property
    def rate(self) -> float | None:
        """Records a second between the first and the last one, None for fewer than two or no time between."""
        if self.count < 2 or self.last_ns <= self.first_ns:
            return None
        return (self.count - 1) * 1e9 / (self.last_ns - self.first_ns)


@dataclass(slots=True)
class Summary:
    """Events by process, and the time and number of all records. Feed it with `add`."""

    rows: dict[tuple[int, str, str], Row] = field(default_factory=dict)
    records: int = 0
    first_ns: int = 0
    last_ns: int = 0

    def count(
        self, pid: int, comm: str, event: Event, names: dict[int, str], number: int, first_ns: int, last_ns: int
    ) -> None:
        """Count so many records of one event and process.

        `names` are the processes' names by PID, the thread's own stands in where one lacks.
        """
        self.first_ns = min(self.first_ns, first_ns) if self.records else first_ns
        self.last_ns = max(self.last_ns, last_ns) if self.records else last_ns
        self.records += number
        process = names.get(pid, comm)
        key = (pid, process, event.name)
        row = self.rows.get(key)
        if row is None:
            self.rows[key] = Row(process, pid, event.name, number, first_ns, last_ns)
        else:
            row.count += number
            row.first_ns = min(row.first_ns, first_ns)
            row.last_ns = max(row.last_ns, last_ns)

    def by_process(self) -> list[Row]:
        """Return the rows process by process, the most frequent event first."""
        return sorted(self.rows.values(), key=lambda row: (row.process, row.pid, -row.count, row.event))


class _Total:
    """Records of one head in the pages of one process; `holds`: whose thread it is does not depend on the time."""

    __slots__ = ("event", "first_ns", "holds", "last_ns", "number", "tag", "tid")

    def __init__(self, source: Source, tag: Process | None, head: bytes, ts_ns: int) -> None:
        event_id, _, _, self.tid = _HEAD.unpack(head)
        self.event = Decoder(source.events.get(event_id), event_id).event
        self.tag = tag
        self.holds = source.who(tag, self.tid, ts_ns)[2]
        self.number = self.first_ns = self.last_ns = 0

    def add(self, number: int, first_ns: int, last_ns: int) -> None:
        """Count so many records."""
        self.first_ns = min(self.first_ns, first_ns) if self.number else first_ns
        self.last_ns = max(self.last_ns, last_ns) if self.number else last_ns
        self.number += number


def summarize(source: Source, choice: Choice) -> Summary:
    """Count the records of a trace; none is decoded, and they need not be merged."""
    summary, names, shift = Summary(), process_names(source.processes), source.shift_ns
    totals: dict[tuple[int, bytes], _Total] = {}

    def settle(total: _Total, number: int, first_ns: int, last_ns: int) -> None:
        pid, comm, _ = source.who(total.tag, total.tid, first_ns)
        if choice.wants_event(total.event) and choice.wants_thread(pid, total.tid):
            summary.count(total.tid if pid is None else pid, comm, total.event, names, number, first_ns, last_ns)

    for run in source.runs():
        tag = run.tag
        for head, (number, first_ns, last_ns) in run.heads().items():
            total = totals.get((id(tag), head))
            if total is None:
                total = totals[id(tag), head] = _Total(source, tag, head, first_ns + shift)
            if total.holds:
                total.add(number, first_ns + shift, last_ns + shift)
            else:
                for time in times_of(run, head):
                    settle(total, 1, time + shift, time + shift)
    for total in totals.values():
        if total.number:
            settle(total, total.number, total.first_ns, total.last_ns)
    return summary


def times_of(run: Run, head: bytes) -> Iterator[int]:
    """Yield the times of the records of a page that begin with `head`."""
    data = run.data
    for time, start in zip(run.times, run.starts, strict=True):
        body = body_start(data, start)
        if data[body : body + len(head)] == head:
            yield time


def counts_by_event(source: Source) -> dict[int, int]:
    """Count the records of a trace by event id."""
    found: dict[int, int] = {}
    for run in source.runs():
        for head, (number, _, _) in run.heads().items():
            event_id = _HEAD.unpack(head)[0]
            found[event_id] = found.get(event_id, 0) + number
    return found


def process_names(processes: Iterable[Process]) -> dict[int, str]:
    """Return the processes' names by PID."""
    return {process.pid: process.title for process in processes}


class Top:
    """Keeps the `limit` records with the highest value of one field; EVENT may be a glob, ties keep the earlier."""

    def __init__(self, event: str, key: str, limit: int) -> None:
        self.pattern = Pattern.parse(event)
        self.key = key
        self.limit = limit
        self.seen = 0
        self.no_numbers = 0
        """Records whose field holds something else."""
        self._order = count(0, -1)
        self._heap: list[tuple[float, int, RecordRow]] = []
        self._places: dict[Decoder, int] = {}

    def add(self, row: RecordRow) -> None:
        """Look at one row of an event that `pattern` matches."""
        decoder, values = row[4], row[5]
        place = self._places.get(decoder)
        if place is None:
            keys = decoder.event.keys
            place = self._places[decoder] = keys.index(self.key) if self.key in keys else -1
        value = values[place] if place >= 0 else None
        if not isinstance(value, int | float) or value != value:
            self.no_numbers += 1
            return
        self.seen += 1
        heap = self._heap
        if len(heap) < self.limit:
            heappush(heap, (value, next(self._order), row))
        elif heap and value > heap[0][0]:
            heapreplace(heap, (value, next(self._order), row))

    def records(self) -> list[Record]:
        """Return the records found, the highest value first."""
        rows = [row for _, _, row in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]
        return [
            Record(ts_ns, cpu, tid, pid, comm, decoder.event, dict(zip(decoder.event.keys, values, strict=True)))
            for ts_ns, cpu, tid, (pid, comm), decoder, values in rows
        ]


def ledger_lines(ledger: Ledger) -> list[tuple[str, int]]:
    """Return the ledger's totals as (what, number), in the order in which they add up; reasons only where not 0."""
    lines = [("attempts", ledger.total("attempts"))]
    lines += [(f"dropped: {REASON_WORDS[reason]}", number) for reason, number in ledger.dropped.items() if number]
    lines += [("in flight at the last count", ledger.total("in_flight"))] if ledger.total("in_flight") else []
    lines.append(("committed", ledger.total("committed")))
    lines += [(words, ledger.total(name)) for name, words in AFTER_WORDS.items() if ledger.total(name)]
    lines += [("not asked for", ledger.total("other"))] if ledger.total("other") else []
    lines.append(("delivered", ledger.total("delivered")))
    lines.append(("lost", ledger.total("lost")))
    cut = sum(event.cut for process in ledger.processes for event in process.events)
    lines += [("delivered with strings cut to fit", cut)] if cut else []
    return lines


def ledger_verdict(ledger: Ledger) -> str:
    """Say in a sentence whether the ledger balances, and by how much not."""
    if ledger.is_balanced:
        until = "" if ledger.complete else " that was counted before the recorder was killed"
        return f"balanced: every attempt{until} is accounted for"
    attempts, committed = ledger.unexplained
    if not attempts and not committed:
        return "not closed: some processes left no counts"
    return f"not balanced: {attempts:,} attempts and {committed:,} committed records are unaccounted for"


def summary_json(summary: Summary, ledger: Ledger | None, flight: Flight = NO_FLIGHT) -> dict[str, object]:
    """Return a summary as one JSON object: rows, totals, the ledger's figures and the flight rules (null without)."""
    rows = [
        {
            "process": row.process,
            "pid": row.pid,
            "event": row.event,
            "count": row.count,
            "first_ns": row.first_ns,
            "last_ns": row.last_ns,
            "rate": row.rate,
        }
        for row in summary.by_process()
    ]
    figures = None
    if ledger is not None:
        figures = {"balanced": ledger.is_balanced, "complete": ledger.complete, "figures": dict(ledger_lines(ledger))}
    return {"records": summary.records, "first_ns": summary.first_ns, "last_ns": summary.last_ns} | {
        "rows": rows,
        "ledger": figures,
        "flight": flight.as_json() if flight.instants else None,
    }
