"""Records as text for people and as JSON for programs. Pure functions; no byte of a trace reaches a terminal raw."""

import json
import math

from ..fields.escape import escape, printable
from .model import Record, Value

__all__ = ["escape", "json_line", "printable", "show_time", "show_value", "show_values", "table_line", "text_line"]


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
    who = f"{escape(record.comm):>16}-{record.tid:<5} [{record.cpu:03d}]"
    name = escape(record.event.name) + ":"
    return f"{who} {show_time(record.ts_ns):>12}: {name:<21} {show_values(record.values)}".rstrip()


def json_line(record: Record) -> str:
    """Return a record as one line of JSON.

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
            "fields": {name: _json_value(value) for name, value in record.values.items()},
        },
        separators=(",", ":"),
    )


def _json_value(value: Value) -> object:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


TABLE_HEAD = f"{'TIME':>14}  {'CPU':>3}  {'PROCESS':<24} {'EVENT':<24} FIELDS"


def table_line(record: Record) -> str:
    """Return a record as a row under `TABLE_HEAD`."""
    who = f"{escape(record.comm)}-{record.pid if record.pid is not None else record.tid}"
    values = show_values(record.values)
    return (
        f"{show_time(record.ts_ns):>14}  {record.cpu:>3}  {who:<24} {escape(record.event.name):<24} {values}".rstrip()
    )
