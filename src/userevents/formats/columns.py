"""The records of one event as columns, for whatever reads Arrow: pyarrow, DuckDB, Polars, nanoarrow; no copy is made.

Columns are `ts_ns` (int64), `cpu` (int32), `pid` (int64, null where the trace does not say), `tid` (int32), then one
for each field: integers of their size and sign, ``struct f64`` float64, text utf8 (up to its NUL; bytes that are no
UTF-8 stand as ``\\xNN``, as in a report), other arrays and structs binary of fixed size, dynamic ones binary. A value
that its record does not hold is null. A field named like a column before it gets a number: `cpu_2`.

The extension's `Columns` collects where it is there, and else `PureCollector`, which says what both do.
"""

from array import array
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from struct import Struct
from typing import Any, Final, cast

from ..abi.ring_buffer import RECORD_HEADER
from ..buffer.merge import Batch, PureBatch
from ..buffer.native import native
from ..buffer.page import body_start, record_end
from ..errors import Unusable
from ..fields import decode
from ..fields.payload import BYTES, FLOAT, INTEGER, Reading, readings
from .arrow import CODED, Buffers, PureChunk, Schema
from .choice import no_event
from .model import Event
from .naming import Names

Who = Callable[[Any, int, int, int], tuple[int | None, bool]]
"""Of (tag of the run, cpu, tid, time): the PID, None if it is not known; whether that holds at any time."""
Needed = Container[str] | None
"""The names of the columns to fill; the others are there, but null in every row. None: all."""

Progress = Callable[[], tuple[int, int]]
"""How many bytes of records were read, and of how many."""

_COMMON: Final[Schema] = (("ts_ns", "l", 8), ("cpu", "i", 4), ("pid", "l", 8), ("tid", "i", 4))
_PID: Final = 2
_INTEGERS: Final = {1: "Cc", 2: "Ss", 4: "Ii", 8: "Ll"}
_TYPECODES: Final = {"C": "B", "c": "b", "S": "H", "s": "h", "I": "I", "i": "i", "L": "Q", "l": "q", "g": "d"}
_CODE_SIZE: Final = 4
_FIXED_MAX: Final = 256
"""Longer arrays are binary: a field may claim any size."""
_ROWS_MAX: Final = 1 << 20
_BYTES_MAX: Final = 1 << 30
_HEAD = Struct(RECORD_HEADER)


class Columns:
    """The records of one event, in chunks of up to 1,048,576 rows. Give it to a consumer of Arrow as it is."""

    def __init__(self, event: Event, names: tuple[str, ...], chunks: tuple[PureChunk, ...]) -> None:
        self.event = event
        self.names = names
        self.chunks = chunks
        """Each can be given to a consumer by itself, too."""

    def __len__(self) -> int:
        """How many records there are."""
        return sum(map(len, self.chunks))

    def __arrow_c_schema__(self) -> object:
        """Return the schema as a capsule."""
        return self.chunks[0].__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return a stream of the chunks as a capsule; another schema than ours cannot be asked for."""
        return type(self.chunks[0]).stream(self.chunks)


class PureCollector:
    """Collects the records of one event from batches; `shift` is added to every time.

    `left_out` has a byte for each column, or none: where that is not 0, the column is null in every row.
    """

    def __init__(self, event: Event, schema: Schema, who: Who, shift: int = 0, left_out: bytes = b"") -> None:
        self._event = event
        self._schema = schema
        self._who = who
        self._shift = shift
        self._left_out = left_out or bytes(len(schema))
        self._begin()

    def _begin(self) -> None:
        self._columns = [_Column(format_, width) for _, format_, width in self._schema]

    def add(self, batch: PureBatch, done: int = 0) -> int:
        """Take in a batch, from its record number `done` on; return how far it fitted."""
        records = batch.records()
        for number in range(done, len(records)):
            time, start, run = records[number]
            body = run.data[body_start(run.data, start) : record_end(run.data, start)]
            event_id, _, _, tid = _HEAD.unpack_from(body)
            if event_id != self._event.id:
                continue
            if any(column.is_full for column in self._columns):
                return number
            time += self._shift
            pid = None if self._left_out[_PID] else self._who(run.tag, run.cpu, tid, time)[0]
            values = (time, run.cpu, pid, tid, *decode(self._event.fields, body))
            for column, value, is_left_out in zip(self._columns, values, self._left_out, strict=True):
                column.append(None if is_left_out else value)
        return len(records)

    def expect(self, done: int, size: int) -> None:
        """Hear how many bytes were read, and of how many: memory for the rest may be made ready."""

    def take(self) -> PureChunk:
        """Return the columns so far, and begin anew."""
        columns = [column.buffers() for column in self._columns]
        chunk = PureChunk(self._schema, len(self._columns[0].valid), columns)
        self._begin()
        return chunk


class _Column:
    """One column under construction."""

    def __init__(self, format_: str, width: int) -> None:
        self._width = width
        self._is_number = format_ in _TYPECODES
        self._numbers: array[Any] = array(_TYPECODES.get(format_, "i"))
        self._codes: dict[str, int] | None = {} if format_ == CODED else None
        self._offsets = array("i", [0])
        self._bytes = bytearray()
        self.valid = bytearray()

    @property
    def is_full(self) -> bool:
        """Whether another chunk must begin before the next value."""
        return len(self.valid) >= _ROWS_MAX or len(self._bytes) >= _BYTES_MAX

    def append(self, value: int | float | str | bytes | None) -> None:
        """Add a value of the column's type; None is null."""
        self.valid.append(value is not None)
        if self._is_number:
            self._numbers.append(0 if value is None else value)
        elif self._codes is None:
            self._append_bytes(value.encode() if isinstance(value, str) else cast(bytes | None, value))
        else:
            self._numbers.append(0 if value is None else self._code_of(cast(str, value), self._codes))

    def _append_bytes(self, value: bytes | None) -> None:
        self._bytes += bytes(self._width) if value is None else value
        self._offsets.append(len(self._bytes))

    def _code_of(self, text: str, codes: dict[str, int]) -> int:
        if text not in codes:
            codes[text] = len(codes)
            self._append_bytes(text.encode())
        return codes[text]

    def buffers(self) -> Buffers:
        """Return what Arrow wants of it."""
        nulls = self.valid.count(0)
        valid = packed(self.valid) if nulls else None
        varying = self._offsets.tobytes(), bytes(self._bytes)
        if self._codes is not None:
            return Buffers(nulls, (valid, self._numbers.tobytes()), (len(self._codes), (None, *varying)))
        if not self._width:
            return Buffers(nulls, (valid, *varying))
        return Buffers(nulls, (valid, self._numbers.tobytes() if self._is_number else varying[1]))


def packed(flags: bytearray) -> bytes:
    """Return flags as bits, the first in the lowest bit."""
    packed = bytearray((len(flags) + 7) // 8)
    for number, flag in enumerate(flags):
        packed[number >> 3] |= flag << (number & 7)
    return bytes(packed)


def schema_of(event: Event, *, coded: bool = False) -> Schema:
    """Return the columns of an event: their names, Arrow formats, and the bytes of one value (0: it varies).

    `coded`: text is by dictionary, which DuckDB groups and compares faster; others may take it for another type.
    """
    found: list[tuple[str, str, int]] = [*_COMMON]
    names = Names(name for name, _, _ in found)
    for key, reading in zip(event.keys, readings(event.fields), strict=True):
        name = names.take(key.replace("\0", "\\0"))
        format_, width = _format_of(reading)
        found.append((name, CODED, _CODE_SIZE) if coded and format_ == "u" else (name, format_, width))
    return tuple(found)


def _format_of(reading: Reading) -> tuple[str, int]:
    kind, start, end, signed = reading
    size = end - start
    if kind == INTEGER:
        return _INTEGERS[size][signed], size
    if kind == FLOAT:
        return "g", size
    if kind & 1:
        return "u", 0
    return (f"w:{size}", size) if kind == BYTES and 0 < size <= _FIXED_MAX else ("z", 0)


def chosen_event(events: dict[int, Event], event: str | Event) -> Event:
    """Return the event meant by ``[SYSTEM:]NAME``. Raises `Unusable` if there is none, or several."""
    if isinstance(event, Event):
        return event
    system, colon, name = event.rpartition(":")
    found = [each for each in events.values() if each.name == name and (not colon or each.system == system)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Unusable(
            f"the trace has {len(found)} events '{event}', with different fields: choose one of its `events`"
        )
    raise Unusable(no_event(event, events.values()))


def _collector(event: Event, who: Who, shift: int, needed: Needed, coded: bool) -> PureCollector:
    """Return what collects an event's columns: in C if it can."""
    schema = schema_of(event, coded=coded)
    left_out = b"" if needed is None else bytes(name not in needed for name, _, _ in schema)
    if native:
        collector: PureCollector = native.Columns(event.id, readings(event.fields), schema, who, shift, left_out)
        return collector
    return PureCollector(event, schema, who, shift, left_out)


def chunks_of(
    event: Event, batches: Iterable[Batch], who: Who, shift: int = 0, needed: Needed = None, *, at_once: int = _ROWS_MAX
) -> Iterator[PureChunk]:
    """Yield the records of an event in chunks, made while they are asked for; text in them is `coded`.

    A chunk ends when about `at_once` records of any event have been read.
    """
    collector = _collector(event, who, shift, needed, coded=True)
    read = 0
    for batch in batches:
        done = collector.add(batch)
        while done < len(batch):
            yield collector.take()
            done = collector.add(batch, done)
        read += len(batch)
        if read >= at_once:
            read = 0
            chunk = collector.take()
            if len(chunk):
                yield chunk
    last = collector.take()
    if len(last):
        yield last


def collect(event: Event, batches: Iterable[Batch], who: Who, shift: int = 0) -> Columns:
    """Return the records of an event as columns."""
    return collect_all([event], batches, who, shift)[0]


def _unknown() -> tuple[int, int]:
    return 0, 0


def collect_all(
    events: Sequence[Event],
    batches: Iterable[Batch],
    who: Who,
    shift: int = 0,
    needed: Needed = None,
    *,
    coded: bool = False,
    progress: Progress = _unknown,
) -> list[Columns]:
    """Return the records of each of several events as columns, read in one go."""
    collectors = [_collector(event, who, shift, needed, coded) for event in events]
    chunks: list[list[PureChunk]] = [[] for _ in events]
    for batch in batches:
        for collector, full in zip(collectors, chunks, strict=True):
            done = collector.add(batch)
            while done < len(batch):
                full.append(collector.take())
                done = collector.add(batch, done)
            collector.expect(*progress())
    found = []
    for event, collector, full in zip(events, collectors, chunks, strict=True):
        last = collector.take()
        if len(last) or not full:
            full.append(last)
        found.append(Columns(event, tuple(name for name, _, _ in schema_of(event)), tuple(full)))
    return found
