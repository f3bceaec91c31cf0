"""What a trace comes to: events by process with counts and rates, the slowest records, the ledger in lines.

Plain values, one pass over the records, memory by processes and events and not by records.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from heapq import heappush, heappushpop
from itertools import count

from .ledger import REASON_WORDS, Ledger
from .model import Event, Process, Record


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

    def add(self, record: Record, names: dict[int, str]) -> None:
        """Count one record; `names` are the processes' names by PID, the thread's own stands in where one lacks."""
        ts_ns = record.ts_ns
        if not self.records:
            self.first_ns = ts_ns
        self.records += 1
        self.last_ns = ts_ns
        pid = record.tid if record.pid is None else record.pid
        process = names.get(pid, record.comm)
        key = (pid, process, record.event.name)
        row = self.rows.get(key)
        if row is None:
            self.rows[key] = Row(process, pid, record.event.name, 1, ts_ns, ts_ns)
        else:
            row.count += 1
            row.last_ns = ts_ns

    def by_process(self) -> list[Row]:
        """Return the rows process by process, the most frequent event first."""
        return sorted(self.rows.values(), key=lambda row: (row.process, row.pid, -row.count, row.event))


def process_names(processes: Iterable[Process]) -> dict[int, str]:
    """Return the processes' names by PID."""
    return {process.pid: process.title for process in processes}


@dataclass(frozen=True, slots=True)
class Pattern:
    """One ``[SYSTEM:]EVENT`` pattern with shell globs."""

    system: str
    event: str

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Read a pattern; without a colon it is for any system."""
        system, colon, event = text.partition(":")
        return cls(system or "*", event or "*") if colon else cls("*", text)

    def matches(self, event: Event) -> bool:
        """Whether an event is meant; multi-format names match with their suffix."""
        return fnmatchcase(event.name, self.event) and fnmatchcase(event.system, self.system)


def chosen(records: Iterable[Record], patterns: Iterable[Pattern], pids: frozenset[int]) -> Iterator[Record]:
    """Yield the records whose event matches any pattern and whose process (or thread) is one of `pids`; empty: all."""
    wanted = tuple(patterns)
    if not wanted and not pids:
        yield from records
        return
    known: dict[int, bool] = {}
    for record in records:
        event = record.event
        matched = known.get(event.id)
        if matched is None:
            matched = known[event.id] = not wanted or any(pattern.matches(event) for pattern in wanted)
        if matched and (not pids or record.pid in pids or record.tid in pids):
            yield record


class Top:
    """Keeps the `limit` records with the highest value of one field; EVENT may be a glob, ties keep the earlier."""

    def __init__(self, event: str, key: str, limit: int) -> None:
        self.pattern = Pattern.parse(event)
        self.key = key
        self.limit = limit
        self.seen = 0
        self._order = count(0, -1)
        self._heap: list[tuple[float, int, Record]] = []

    def add(self, record: Record) -> None:
        """Look at one record."""
        value = record.values.get(self.key)
        if not isinstance(value, int | float) or value != value or not self.pattern.matches(record.event):
            return
        self.seen += 1
        entry = (value, next(self._order), record)
        if len(self._heap) < self.limit:
            heappush(self._heap, entry)
        elif self._heap:
            heappushpop(self._heap, entry)

    def records(self) -> list[Record]:
        """Return the records found, the highest value first."""
        return [record for _, _, record in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


def ledger_lines(ledger: Ledger) -> list[tuple[str, int]]:
    """Return the ledger's totals as (what, number), in the order in which they add up; reasons only where not 0."""
    lines = [("attempts", ledger.total("attempts"))]
    lines += [(f"dropped: {REASON_WORDS[reason]}", number) for reason, number in ledger.dropped.items() if number]
    lines += [("in flight at a death", ledger.total("in_flight"))] if ledger.total("in_flight") else []
    lines.append(("committed", ledger.total("committed")))
    lines += [(name, ledger.total(name)) for name in ("overwritten", "missed") if ledger.total(name)]
    lines += [("not asked for", ledger.total("other"))] if ledger.total("other") else []
    lines.append(("delivered", ledger.total("delivered")))
    lines.append(("lost", ledger.total("lost")))
    cut = sum(event.cut for process in ledger.processes for event in process.events)
    lines += [("delivered with strings cut to fit", cut)] if cut else []
    return lines


def ledger_verdict(ledger: Ledger) -> str:
    """Say in a sentence whether the ledger balances, and by how much not."""
    if ledger.is_balanced:
        return "balanced: every attempt is accounted for"
    attempts, committed = ledger.unexplained
    if not attempts and not committed:
        return "not closed: some processes left no counts"
    return f"not balanced: {attempts:,} attempts and {committed:,} committed records are unaccounted for"


def summary_json(summary: Summary, ledger: Ledger | None) -> dict[str, object]:
    """Return a summary as one JSON object: rows, totals, and the ledger's figures (null without one)."""
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
    }
