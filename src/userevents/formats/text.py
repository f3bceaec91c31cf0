"""Records as text for people and as JSON for programs. Pure functions; no byte of a trace reaches a terminal raw."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ..fields.escape import escape, printable
from .model import Event, Record, Value

# fmt: off
__all__ = [
    "TABLE", "TABLE_HEAD", "TEXT", "Layout", "escape", "fill", "host_line", "host_table_line", "json_line",
    "json_value", "printable", "show_time", "show_value", "show_values", "table_line", "text_line",
]
# fmt: on


def show_value(value: Value) -> str:
    """Return a value for people: numbers in decimal, text escaped, bytes in hex, `?` for one that is not there."""
    if type(value) is str:
        return escape(value)
    if value is None:
        return "?"
    return value.hex() if isinstance(value, bytes) else str(value)


def show_values(values: dict[str, Value]) -> str:
    """Return the fields of a record for people: ``a=1 path=/x``."""
    return " ".join([f"{escape(name)}={show_value(value)}" for name, value in values.items()])


def show_time(ts_ns: int) -> str:
    """Return a time in seconds, rounded to the nearest microsecond, half up, as the kernel and trace-cmd do.

    >>> show_time(1_000_000_499), show_time(1_000_000_500)
    ('1.000000', '1.000001')
    """
    sign, ts_ns = ("-", -ts_ns) if ts_ns < 0 else ("", ts_ns)
    micros = (ts_ns + 500) // 1000
    return f"{sign}{micros // 1_000_000}.{micros % 1_000_000:06d}"


def text_line(record: Record) -> str:
    """Return a record as a line like those of ``trace-cmd report``: COMM-TID [CPU] SECONDS: NAME: FIELDS."""
    return _line(TEXT, record)


def json_line(record: Record, more: Mapping[str, object] | None = None) -> str:
    """Return a record as one line of JSON, `more` behind its own members.

    Integers are exact, up to 64 bits. Bytes are ``{"hex": "0aff"}``, a float that is no number ``{"float": "nan"}``,
    a value that the record does not hold null. Everything is ASCII.
    """
    return json.dumps(
        {
            "ts_ns": record.ts_ns,
            "cpu": record.cpu,
            "pid": record.pid,
            "tid": record.tid,
            "comm": record.comm,
            "system": record.event.system,
            "event": record.event.name,
            "fields": {name: json_value(value) for name, value in record.values.items()},
            **(more or {}),
        },
        separators=(",", ":"),
    )


def json_value(value: Value) -> object:
    """Return a value as JSON has it: bytes and floats that are no number as an object."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


_TIME_WIDTH = 14
TABLE_HEAD = f"{'TIME':>{_TIME_WIDTH}}  {'CPU':>3}  {'PROCESS':<24} {'EVENT':<24} FIELDS"


def table_line(record: Record) -> str:
    """Return a record as a row under `TABLE_HEAD`."""
    return _line(TABLE, record)


def host_line(record: Record, host: str | None, in_doubt: bool, more: Mapping[str, object] | None = None) -> str:
    """Return a record of a trace of several hosts as a line of JSON, `more` before what it says of its order."""
    return json_line(record, {"host": host, **(more or {}), "order_in_doubt": in_doubt})


def host_table_line(record: Record, host: str | None, in_doubt: bool) -> str:
    """Return a record of a trace of several hosts as a row; its process's name begins with the host's.

    ``~`` behind the time: it may have come before one of another host above it.
    """
    line = table_line(record)
    at = line.index(" ", _TIME_WIDTH)
    return f"{line[:at]}{'~' if in_doubt else ' '}{line[at + 1 :]}"


class Layout(NamedTuple):
    """How a record becomes a line: who wrote it, and the template that takes who, the time and the shown values.

    `time_first`: the template takes the time before who. Lines lose the blanks at their end.
    """

    who: Callable[[str, int | None, int, int], str]
    """(name, pid, tid, cpu)"""
    head: str
    name: Callable[[str], str]
    time_first: bool

    def template(self, event: Event) -> str:
        """Return the template for records of an event."""
        values = " ".join([f"{escape(key)}=\0" for key in event.keys])
        return self.head + f"{self.name(escape(event.name))} {values}".replace("%", "%%").replace("\0", "%s")


TEXT = Layout(
    who=lambda comm, _pid, tid, cpu: f"{escape(comm):>16}-{tid:<5} [{cpu:03d}]",
    head="%s %12s: ",
    name=lambda name: f"{name + ':':<21}",
    time_first=False,
)
TABLE = Layout(
    who=lambda comm, pid, tid, cpu: f"{cpu:>3}  {f'{escape(comm)}-{tid if pid is None else pid}':<24}",
    head="%14s  %s ",
    name=lambda name: f"{name:<24}",
    time_first=True,
)


def _line(layout: Layout, record: Record) -> str:
    who = layout.who(record.comm, record.pid, record.tid, record.cpu)
    event = record.event._replace(keys=tuple(record.values))
    return fill(layout, layout.template(event), who, record.ts_ns, record.values.values()).rstrip()


def fill(layout: Layout, template: str, who: str, ts_ns: int, values: Iterable[Value]) -> str:
    """Return the line of one record, as long as it comes."""
    time = show_time(ts_ns)
    return template % (*((time, who) if layout.time_first else (who, time)), *map(show_value, values))
