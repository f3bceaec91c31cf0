"""What a trace says in SQL: names of tables, the statements that make our own, and values of results as JSON."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from . import facts
from .hosts import pids_a_host
from .ledger import AFTER_WORDS
from .model import Event
from .naming import Names
from .trace import Trace

EVENTS: Final = "events"
PROCESSES: Final = "processes"
LOSSES: Final = "losses"
SPANS: Final = "spans"
HOSTS: Final = "hosts"
"""Only in a trace of several hosts."""
OWN_TABLES: Final = (EVENTS, PROCESSES, LOSSES, SPANS)
RECORDS: Final = "userevents_records"
"""The table that `events` is a view of."""

# fmt: off
_RESERVED: Final = frozenset({
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "both", "case", "cast", "check",
    "collate", "column", "constraint", "create", "default", "deferrable", "desc", "describe", "distinct", "do", "else",
    "end", "except", "false", "fetch", "for", "foreign", "from", "group", "having", "in", "initially", "intersect",
    "into", "lambda", "lateral", "leading", "limit", "not", "null", "offset", "on", "only", "or", "order", "pivot",
    "pivot_longer", "pivot_wider", "placing", "primary", "qualify", "references", "returning", "select", "show",
    "some", "summarize", "symmetric", "table", "then", "to", "trailing", "true", "union", "unique", "unpivot", "using",
    "variadic", "when", "where", "window", "with",
})
# fmt: on


def quoted(name: str) -> str:
    """Return a name as an SQL identifier, whatever is in it.

    >>> quoted('a.b "c"')
    '"a.b ""c""\"'
    """
    return '"' + name.replace('"', '""') + '"'


def name_in_sql(name: str) -> str:
    """Return a name as one writes it in SQL: as it is where it may stand so, else quoted.

    >>> name_in_sql("request"), name_in_sql("tick.0"), name_in_sql("order")
    ('request', '"tick.0"', '"order"')
    """
    plain = name.isascii() and name.isidentifier() and name.lower() not in _RESERVED
    return name if plain else quoted(name)


def literal(text: str) -> str:
    """Return text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def table_names(events: Iterable[Event], own: Sequence[str] = ()) -> dict[int, str]:
    """Return the name of each event's table, by its id: the event's, with a number where that is taken.

    SQL does not tell upper from lower case, so neither may two names differ by it alone.
    """
    names = Names((*OWN_TABLES, *own), str.casefold)
    ordered = sorted(events, key=lambda event: (event.system != "user_events", event.id))
    return {event.id: names.take(event.name.replace("\0", "\\0") or "unnamed") for event in ordered}


def host_in_sql(trace: Trace, pid: str = "pid") -> str:
    """Return the expression that tells a record's host from its pid, in a trace of several hosts."""
    names = [""] * (max(host.number for host in trace.hosts) + 1)
    for host in trace.hosts:
        names[host.number] = host.name
    return f"[{', '.join(map(literal, names[1:]))}][CAST({pid} // {pids_a_host(trace.hosts)} AS INT)]"


def host_rows(trace: Trace) -> list[tuple[Any, ...]]:
    """Return the rows of the table of hosts."""
    columns = ("number", "name", "offset_ns", "uncertainty_ns", "drift_ppm", "missing", "missing_records", "ended")
    return [tuple(getattr(host, column) for column in columns) for host in trace.hosts]


def wall_offset_ns(trace: Trace) -> int | None:
    """Return what to add to the trace's times for nanoseconds since 1970; None where the trace does not say."""
    mono, real = facts.time(trace.header, "mono_ns"), facts.time(trace.header, "real_ns")
    return real - mono if trace.clock == "mono" and mono and real else None


def loss_rows(trace: Trace) -> Iterator[tuple[Any, ...]]:
    """Yield what is missing: (pid, process, event, what, reason, records); without a ledger, the file's sentences."""
    ledger = trace.ledger
    if ledger is None:
        for sentence in trace.losses():
            yield None, None, None, "told by the file", sentence, None
        return
    for process in ledger.processes:
        who = (process.pid, process.comm)
        for event in process.events:
            for reason, records in event.dropped.items():
                if records:
                    yield *who, event.name, "dropped", reason, records
        for what in AFTER_WORDS:
            if records := getattr(process, what):
                yield *who, None, what, None, records


def as_json(value: object) -> object:
    """Return a value of a result as JSON has it: bytes as ``{"hex": ...}``, times as text, numbers as they are."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else {"float": str(value)}
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    if isinstance(value, dict):
        return {str(key): as_json(each) for key, each in value.items()}
    return str(value)


def json_line(names: Sequence[str], row: Sequence[object], types: Sequence[str]) -> str:
    """Return a row as one line of JSON; what is JSON already stands in it as it is."""
    found = {
        name: json.loads(value) if kind == "JSON" and isinstance(value, str) else as_json(value)
        for name, value, kind in zip(names, row, types, strict=True)
    }
    return json.dumps(found, separators=(",", ":"))
