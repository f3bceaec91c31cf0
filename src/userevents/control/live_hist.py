"""Histograms that a tree counts while events happen: hist triggers in an instance of one's own, and their text read.

The kernel shows all numbers unsigned; the event's fields say which are not.

Source: user_events contract, tracefs.md section 11.
"""

import os
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..abi import tracefs as abi
from ..errors import Malformed, NoTracer, Refused
from ..fields import Field
from ..fields.types import DATA_STRING, REL_STRING, STATIC_STRING, filter_class
from .access import Access, read_file
from .events import GONE, EventControl, EventName, Pattern, all_events
from .tracer import Tracer

SIZE: Final = 1 << 14
"""Keys that a table has room for."""
_TOTAL: Final = re.compile(r"^    (Hits|Entries|Dropped): (\d+)$", re.MULTILINE)
_BITS: Final = 64
_STRINGS: Final = (STATIC_STRING, DATA_STRING, REL_STRING)


class HistKey(NamedTuple):
    """One key as a trigger has it; `bucket` is ``""``, ``"log2"`` or a width."""

    field: str
    bucket: str | int = ""

    @property
    def text(self) -> str:
        """How a trigger writes it."""
        if not self.bucket:
            return self.field
        return f"{self.field}.log2" if self.bucket == "log2" else f"{self.field}.buckets={self.bucket}"


class HistRow(NamedTuple):
    """One entry: its key, how many records have it, the sums of its values. Text is kernel text."""

    key: tuple[int | str, ...]
    hits: int
    sums: tuple[int, ...]


class HistTable(NamedTuple):
    """What was counted; `dropped` records found no room in the table."""

    rows: tuple[HistRow, ...]
    hits: int
    dropped: int


class LiveHist:
    """Counts events that a pattern matches, from now on. Raises `Refused` as the tree does; `events` says which."""

    def __init__(
        self, access: Access, pattern: Pattern, keys: Sequence[HistKey], values: Sequence[str] = (), where: str = ""
    ) -> None:
        self.access = access
        self._keys = tuple(keys)
        self._values = tuple(values)
        self._pattern = pattern
        self._where = where
        self._name = f"hist-{os.getpid()}-{os.urandom(3).hex()}"
        self._instance = Tracer(access).create_instance(self._name)
        self._prefix = f"{abi.INSTANCES}/{self._name}/"
        self._events: dict[EventName, tuple[Field, ...]] = {}
        self.log = ""
        """What the instance's error log says of the trigger that was refused."""

    @property
    def events(self) -> list[EventName]:
        """The events that are counted."""
        return list(self._events)

    def look(self) -> None:
        """Take up events that match and are not counted yet. One that goes meanwhile is left out."""
        keys = ",".join(key.text for key in self._keys)
        values = f":vals={','.join(self._values)}" if self._values else ""
        condition = f" if {self._where}" if self._where else ""
        for name in all_events(self.access):
            if name in self._events or not self._pattern.matches(name):
                continue
            control = EventControl(self.access, self._prefix, name)
            try:
                fields = control.format.fields
                control.write_trigger(f"hist:keys={keys}{values}:size={SIZE}{condition}")
            except Refused as refused:
                if refused.name in GONE:
                    continue
                self.log = "".join(control.errors()[-1:])
                raise
            self._events[name] = fields

    def table(self) -> HistTable:
        """Return what was counted so far, over all events together."""
        found: dict[tuple[int | str, ...], HistRow] = {}
        hits = dropped = 0
        for name, fields in self._events.items():
            path = f"{self._prefix}{abi.EVENTS}/{name.system}/{name.name}/{abi.HIST}"
            each = parse_hist(read_file(self.access, path).decode("latin-1"), self._keys, self._values, fields)
            hits, dropped = hits + each.hits, dropped + each.dropped
            for row in each.rows:
                known = found.get(row.key)
                sums = tuple(map(sum, zip(known.sums, row.sums, strict=True))) if known else row.sums
                found[row.key] = HistRow(row.key, row.hits + (known.hits if known else 0), sums)
        return HistTable(tuple(found.values()), hits, dropped)

    def close(self) -> None:
        """Stop counting, and remove the instance."""
        try:
            self._instance.remove()
        except (Refused, NoTracer):
            pass  # it goes with its tracer


def parse_hist(text: str, keys: Sequence[HistKey], values: Sequence[str], fields: Sequence[Field]) -> HistTable:
    r"""Read a ``hist`` file that shows one histogram of these keys and values.

    Text keys lose blanks at their end, which the file fills up with them.

    >>> parse_hist("{ a:          3 } hitcount:          2\n\nTotals:\n    Hits: 2\n", [HistKey("a")], [], ())
    HistTable(rows=(HistRow(key=(3,), hits=2, sums=()),), hits=2, dropped=0)
    """
    signed = {field.name for field in fields if field.signed}
    texts = {field.name for field in fields if filter_class(field.ctype) in _STRINGS}
    body, _, totals = text.rpartition("\nTotals:\n")
    counted = {what: int(number) for what, number in _TOTAL.findall(totals)}
    rows = []
    for found in _entry(keys, values, texts).finditer(body):
        groups = found.groups()
        key = tuple(_key(each, group, texts, signed) for each, group in zip(keys, groups[: len(keys)], strict=True))
        sums = tuple(
            _number(group, name in signed) for name, group in zip(values, groups[len(keys) + 1 :], strict=True)
        )
        rows.append(HistRow(key, int(groups[len(keys)]), sums))
    if len(rows) != counted.get("Entries", len(rows)):
        raise Malformed("hist", f"says that it has {counted['Entries']} entries, and {len(rows)} can be read")
    return HistTable(tuple(rows), counted.get("Hits", 0), counted.get("Dropped", 0))


def _entry(keys: Sequence[HistKey], values: Sequence[str], texts: set[str]) -> "re.Pattern[str]":
    shown = ", ".join(f"{re.escape(key.field)}: {_group(key, texts)} *" for key in keys)
    sums = "".join(rf"  {re.escape(name)}: +(\d+)" for name in values)
    return re.compile(rf"^\{{ {shown}\}} hitcount: +(\d+){sums}$", re.MULTILINE | re.DOTALL)


def _group(key: HistKey, texts: set[str]) -> str:
    if key.bucket:
        return r"~ 2\^(\d+)" if key.bucket == "log2" else r"~ (\d+)-\d+"
    return "(.*?)" if key.field in texts else r" *(\d+)"


def _key(key: HistKey, text: str, texts: set[str], signed: set[str]) -> int | str:
    if not key.bucket and key.field in texts:
        return text.rstrip(" ")
    return int(text) if key.bucket else _number(text, key.field in signed)


def _number(text: str, is_signed: bool) -> int:
    value = int(text)
    return value - (1 << _BITS) if is_signed and value >> (_BITS - 1) else value
