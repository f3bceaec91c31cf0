"""What the page shows of a trace, as plain values: who did what when, how long it took, and a sample of the records.

It grows with processes and events, not with records: counts in bins, and so many records in the table; the page says
what is not shown.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..decoder import Decoder
from ..pairs import Matcher, Pair, PairChoice
from ..rows import Row
from ..sql_text import wall_offset_ns
from ..summary import ledger_lines, ledger_verdict, process_names
from ..text import escape, show_values
from ..trace import Trace
from .density import Bins, Bounds, Density, density
from .latency import Latencies

FORM_VERSION = 1
_FIELDS_MAX = 400
_TOLD_EVERY = 1 << 14
_HEAT_BINS = 160
_RULES_MAX = 100


class Limits(NamedTuple):
    """How much the page holds."""

    bins: int = 1200
    rows: int = 20_000


DEFAULT = Limits()


def picture(
    trace: Trace, pairs: Sequence[Pair] = (), limits: Limits = DEFAULT, told: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Return what the page shows; `told` is called now and then. Reads the file three times, four with pairs."""
    summary = trace.summary()
    instants = [instant.ts_ns for instant in trace.flight.instants[:_RULES_MAX]] if summary.records else []
    first_ns, last_ns = min([summary.first_ns, *instants]), max([summary.last_ns, *instants])
    bounds = Bounds.over(first_ns, last_ns, limits.bins)
    counted = density(trace.source, bounds, told)
    names = process_names(trace.processes)
    events = _Index(_event_counts(counted))
    processes = _Index({(pid, names.get(pid, comm)): 0 for pid, comm, _ in sorted(counted.by_event)})
    latencies = _latencies(trace, pairs, first_ns, last_ns, told)
    shown = _Sample(trace, counted, limits.rows, events, processes, names, told)
    return {
        "form": FORM_VERSION,
        "about": _about(trace, counted, first_ns, last_ns),
        "losses": list(map(escape, trace.losses())),
        "ledger": _ledger(trace),
        "bounds": list(bounds),
        "processes": [[pid, escape(name)] for pid, name in processes.keys],
        "events": [_event(trace, event_id) for event_id in events.keys],
        "counts": [
            [processes[pid, names.get(pid, comm)], events[event_id], _sparse(bins)]
            for (pid, comm, event_id), bins in sorted(counted.by_event.items())
        ],
        "cpus": [[cpu, _sparse(bins)] for cpu, bins in sorted(counted.by_cpu.items()) if bins],
        "latencies": latencies,
        "table": shown.facts(),
        "rules": [
            [escape(instant.rule), instant.ts_ns - bounds.start_ns] for instant in trace.flight.instants[:_RULES_MAX]
        ],
        "flight": trace.flight.lines(),
        "notes": list(map(escape, trace.notes)),
    }


class _Index:
    """Keys, each with a number, in their order."""

    def __init__(self, keys: Mapping[Any, object]) -> None:
        self.keys = list(keys)
        self._places = {key: place for place, key in enumerate(self.keys)}

    def __getitem__(self, key: Any) -> int:
        return self._places[key]


def _event_counts(counted: Density) -> dict[int, int]:
    """Records by event id, the most frequent first."""
    totals: dict[int, int] = {}
    for (_, _, event_id), bins in counted.by_event.items():
        totals[event_id] = totals.get(event_id, 0) + sum(bins.values())
    return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))


def _event(trace: Trace, event_id: int) -> str:
    event = trace.events.get(event_id)
    return escape(event.name) if event else f"unknown_{event_id}"


def _sparse(bins: Bins) -> list[int]:
    """Counts as number of the bin, count, number, count ..."""
    return [value for pair in sorted(bins.items()) for value in pair]


def _about(trace: Trace, counted: Density, first_ns: int, last_ns: int) -> dict[str, Any]:
    header = trace.header
    command = header.get("command")
    return {
        "file": escape(trace.path.rpartition("/")[2]),
        "kind": trace.kind,
        "clock": escape(trace.clock),
        "host": escape(str(header.get("host", ""))),
        "command": " ".join(escape(str(word)) for word in command) if isinstance(command, list) else "",
        "records": counted.records,
        "first_ns": str(first_ns),
        "last_ns": str(last_ns),
        "wall_ns": None if (offset := wall_offset_ns(trace)) is None else str(first_ns + offset),
    }


def _ledger(trace: Trace) -> dict[str, Any] | None:
    ledger = trace.ledger
    if ledger is None:
        return None
    return {"verdict": ledger_verdict(ledger), "lines": [list(line) for line in ledger_lines(ledger)]}


def _latencies(
    trace: Trace, pairs: Sequence[Pair], first_ns: int, last_ns: int, told: Callable[[], None]
) -> list[dict[str, object]]:
    if not pairs:
        return []
    matcher = Matcher(pairs)
    found = {pair: Latencies(pair, Bounds.over(first_ns, last_ns, _HEAT_BINS)) for pair in pairs}
    for number, row in enumerate(trace.rows(PairChoice(pairs))):
        if number % _TOLD_EVERY == 0:
            told()
        for span in matcher.add(row):
            found[span.pair].add(span)
    return [each.facts(matcher) for each in found.values()]


class _Sample:
    """The records of the page's table: all, or of each event every so many, so that rare events stay whole."""

    def __init__(
        self,
        trace: Trace,
        counted: Density,
        limit: int,
        events: _Index,
        processes: _Index,
        names: dict[int, str],
        told: Callable[[], None],
    ) -> None:
        self._totals = _event_counts(counted)
        self._strides = strides(self._totals, limit)
        self._trace = trace
        self._rows: list[list[Any]] = []
        first_ns = counted.bounds.start_ns
        for ts_ns, cpu, tid, (pid, comm), decoder, values in _chosen(trace, self._strides, told):
            fields = show_values(dict(zip(decoder.event.keys, values, strict=False)))
            if len(fields) > _FIELDS_MAX:
                fields = fields[: _FIELDS_MAX - 1] + "…"
            who = tid if pid is None else pid
            process = processes[who, names.get(who, comm)]
            self._rows.append([ts_ns - first_ns, cpu, process, tid, events[decoder.event.id], fields])

    def facts(self) -> dict[str, Any]:
        """Return the rows, and how they were chosen."""
        how = [
            f"every {_ordinal(stride)} {_event(self._trace, event_id)}"
            for event_id, stride in self._strides.items()
            if stride > 1
        ]
        return {"rows": self._rows, "total": sum(self._totals.values()), "how": how}


def _chosen(trace: Trace, steps: Mapping[int, int], told: Callable[[], None]) -> Iterator[Row]:
    """Yield of each event every so manyth row: this goes over all records, so it does next to nothing with each."""
    left: dict[Decoder, int] = {}
    for rows in trace.row_lists():
        told()
        for row in rows:
            decoder = row[4]
            skipped = left.get(decoder, 0)
            if skipped:
                left[decoder] = skipped - 1
                continue
            left[decoder] = steps.get(decoder.event.id, 1) - 1
            yield row


def strides(totals: Mapping[int, int], limit: int) -> dict[int, int]:
    """Return of each event, every how manyth record to show, so that there are about `limit` in all.

    An event that has no more than its share is shown whole, and leaves the rest of its share to the others.

    >>> strides({1: 10, 2: 990}, 100), strides({1: 5}, 100)
    ({1: 1, 2: 11}, {1: 1})
    """
    found: dict[int, int] = {}
    left, waiting = limit, sorted(totals.items(), key=lambda item: item[1])
    for place, (event_id, total) in enumerate(waiting):
        share = max(left // (len(waiting) - place), 1)
        found[event_id] = max(-(-total // share), 1)
        left -= -(-total // found[event_id])
    return found


def _ordinal(number: int) -> str:
    ending = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"
