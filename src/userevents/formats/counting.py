"""Histograms of a trace's records: how often each key occurs, counted as the kernel's hist triggers count.

Keys are as a trigger has them: numbers as they are, in powers of two (`log2`) or in buckets of equal width, text up to
255 bytes. So a file and a live tree give the same numbers for the same records.

Source: user_events contract, tracefs.md section 11.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from struct import Struct
from typing import Final, NamedTuple

from ..abi.ring_buffer import RECORD_HEADER
from ..buffer.page import body_start, record_end
from ..errors import Unusable
from ..fields.filter import Filter, parse_filter
from ..fields.types import STATIC_STRING, filter_class
from .choice import Choice, Pattern, no_event
from .decoder import Decoder
from .model import Event, Value, readable
from .rows import Row
from .trace import Trace

TEXT_MAX: Final = 255
"""Bytes of text in a key."""
MASK: Final = (1 << 64) - 1
COMMON: Final = ("common_pid", "common_cpu")
LOG2: Final = "log2"
_HEAD: Final = Struct(RECORD_HEADER)

Key = tuple[int | str, ...]


class Entry(NamedTuple):
    """One key: how many records have it, and the sum of each value over them."""

    key: Key
    hits: int
    sums: tuple[int, ...]


class Axis(NamedTuple):
    """One key: a field, and how its numbers are grouped: ``""``, ``"log2"``, or a width."""

    field: str
    bucket: str | int = ""

    def label(self, value: int | str) -> str:
        """Return what a group is called: a number, text, or from where to where.

        >>> Axis("a", "log2").label(4), Axis("a", "log2").label(0), Axis("a", 10).label(20)
        ('9..16', '0..1', '20..29')
        """
        if isinstance(value, str) or not self.bucket:
            return str(value)
        if self.bucket == LOG2:
            return "0..1" if value == 0 else f"{(1 << (value - 1)) + 1}..{1 << value}"
        return f"{value}..{value + int(self.bucket) - 1}"


class Counts(NamedTuple):
    """A histogram: its entries, the most frequent first; records counted, and those that found no room."""

    axes: tuple[Axis, ...]
    values: tuple[str, ...]
    entries: tuple[Entry, ...]
    hits: int
    dropped: int = 0


def ordered(axes: Sequence[Axis], entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return entries as people want them: groups of numbers by their number, all else the most frequent first."""
    if len(axes) == 1 and axes[0].bucket:
        return tuple(sorted(entries, key=lambda entry: entry.key))
    return tuple(sorted(entries, key=lambda entry: (-entry.hits, *map(_rank, entry.key))))


def _rank(value: int | str) -> tuple[int, int, str]:
    return (0, value, "") if isinstance(value, int) else (1, 0, value)


def count(
    trace: Trace,
    pattern: Pattern,
    axes: Sequence[Axis],
    values: Sequence[str] = (),
    where: str = "",
    told: Callable[[], None] = lambda: None,
) -> Counts:
    """Count the records of the events that match, and of those only what passes the filter `where` (kernel text).

    Raises `Unusable` where no event matches, or one lacks a field; `Refused` for a filter that is none.
    """
    readers = _readers(trace, pattern, axes, values)
    choice = Choice((pattern,))
    table: dict[Key, list[int]] = {}
    hits = 0
    for rows in _filtered(trace, choice, where) if where else trace.row_lists(choice):
        told()
        hits += len(rows)
        for row, number in _alike(rows, axes, readers) if not values else zip(rows, repeat(1)):
            keys, sums = readers[row[4].event.id](row)
            entry = table.get(keys)
            if entry is None:
                table[keys] = [number, *sums]
                continue
            entry[0] += number
            for place, value in enumerate(sums, 1):
                entry[place] += value
    signs = [_is_signed(trace, pattern, name) for name in values]
    entries = [
        Entry(key, number, tuple(wrapped(each, signed=sign) for each, sign in zip(sums, signs, strict=True)))
        for key, (number, *sums) in table.items()
    ]
    return Counts(tuple(axes), tuple(values), ordered(axes, entries), hits)


def _alike(rows: list[Row], axes: Sequence[Axis], readers: Mapping[int, object]) -> Iterable[tuple[Row, int]]:
    """Return rows that stand for all with the same values of the keys, and how many those are.

    Of several events, or for keys that are no fields, each row stands for itself.
    """
    keys = rows[0][4].event.keys if rows and len(readers) == 1 else ()
    if any(axis.field not in keys for axis in axes):
        return zip(rows, repeat(1))
    get = itemgetter(*(keys.index(axis.field) for axis in axes))
    values = [get(row[5]) for row in rows]
    like = dict(zip(values, rows, strict=True))
    return [(like[value], number) for value, number in Counter(values).items()]


def wrapped(value: int, *, signed: bool) -> int:
    """Return a number as 64 bits hold it.

    >>> wrapped(2**64 - 1, signed=True), wrapped(-1, signed=False)
    (-1, 18446744073709551615)
    """
    value &= MASK
    return value - (1 << 64) if signed and value >> 63 else value


def _is_signed(trace: Trace, pattern: Pattern, name: str) -> bool:
    fields = [field for event in trace.events.values() if pattern.matches(event) for field in event.fields]
    return any(field.signed for field in fields if readable(field.name) == name)


def _filtered(trace: Trace, choice: Choice, where: str) -> Iterator[list[Row]]:
    """Yield the rows of the records that pass, in no order: a filter judges the bytes, of which rows have none."""
    source = trace.source
    judges: dict[int, tuple[Decoder, Filter] | None] = {}
    for event in source.events.values():
        wanted = choice.wants_event(event)
        judges[event.id] = (Decoder(event, event.id), parse_filter(where, event.fields)) if wanted else None
    for run in source.runs():
        passed: list[Row] = []
        for time, start in zip(run.times, run.starts, strict=True):
            body = run.data[body_start(run.data, start) : record_end(run.data, start)]
            event_id, _, _, tid = _HEAD.unpack_from(body)
            judge = judges.get(event_id)
            if judge is None:
                continue
            decoder, filter_ = judge
            pid, comm, _ = source.who(run.tag, tid, time + source.shift_ns)
            if filter_.matches(body, cpu=run.cpu, comm=comm):
                passed.append((time + source.shift_ns, run.cpu, tid, (pid, comm), decoder, tuple(decoder.row(body))))
        yield passed


_Reader = Callable[[Row], tuple[Key, tuple[int, ...]]]


def _readers(trace: Trace, pattern: Pattern, axes: Sequence[Axis], values: Sequence[str]) -> dict[int, _Reader]:
    """Return what reads keys and values from the rows of each event."""
    chosen = [event for event in trace.events.values() if pattern.matches(event)]
    if not chosen:
        raise Unusable(no_event(str(pattern), trace.events.values()))
    return {event.id: _reader(event, axes, values) for event in chosen}


def _reader(event: Event, axes: Sequence[Axis], values: Sequence[str]) -> _Reader:
    keys = [_key_reader(event, axis) for axis in axes]
    numbers = [_number_reader(event, name) for name in values]

    def read(row: Row) -> tuple[Key, tuple[int, ...]]:
        return tuple([key(row) for key in keys]), tuple([number(row) for number in numbers])

    return read


def _key_reader(event: Event, axis: Axis) -> Callable[[Row], int | str]:
    get = _getter(event, axis.field)
    bucket, room = axis.bucket, _room(event, axis.field)

    def read(row: Row) -> int | str:
        value = get(row)
        if isinstance(value, str) and not bucket:
            return value if len(value) * 4 <= room else _cut(value, room)
        if isinstance(value, str | bytes | float):
            raise Unusable(
                f"field '{axis.field}' of event '{event.name}' is no {'integer' if bucket else 'integer or text'}: "
                f"{'only integers go into buckets' if bucket else 'a histogram has no other keys'}"
            )
        number = value or 0
        if not bucket:
            return number
        unsigned = number & MASK
        return max(unsigned - 1, 0).bit_length() if bucket == LOG2 else unsigned - unsigned % int(bucket)

    return read


def _room(event: Event, name: str) -> int:
    """How many bytes of a text field a key holds."""
    for field in event.fields:
        if readable(field.name) == name and filter_class(field.ctype) == STATIC_STRING:
            return ((field.size + 7) & ~7) - 1
    return TEXT_MAX


def _cut(text: str, room: int) -> str:
    return text.encode("utf-8", "surrogateescape")[:room].decode("utf-8", "backslashreplace")


def _number_reader(event: Event, name: str) -> Callable[[Row], int]:
    get = _getter(event, name)

    def read(row: Row) -> int:
        value = get(row)
        if value is not None and not isinstance(value, int):
            raise Unusable(f"field '{name}' of event '{event.name}' is no integer: only those are summed up")
        return value or 0

    return read


def _getter(event: Event, name: str) -> Callable[[Row], Value]:
    if name in event.keys:
        place = event.keys.index(name)
        return lambda row: row[5][place] if place < len(row[5]) else None
    if name == "common_pid":
        return lambda row: row[2]
    if name == "common_cpu":
        return lambda row: row[1]
    fields = ", ".join(event.keys) or "none"
    raise Unusable(f"event '{event.name}' has no field '{name}': its fields are {fields}, and {', '.join(COMMON)}")
