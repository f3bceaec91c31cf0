"""All records of a trace as one table of SQL, `events`: made while DuckDB asks for it, in the order of time.

Two transcoders go over the records: one puts what every record has into rows of fixed size, of which each column is
every so many words; the other puts the fields as JSON, where a statement asks for them.
"""

import json
from array import array
from collections.abc import Iterator
from struct import Struct
from typing import Final

from ..buffer.merge import Batch
from . import transcode as steps
from .arrow import CODED, JSON, Buffers, PureChunk, Schema
from .columns import Needed
from .decoder import Decoder
from .sql_text import EVENTS, RECORDS, host_in_sql, wall_offset_ns
from .summary import process_names
from .text import json_value
from .trace import Reader, Trace
from .transcode import Program, Step, Transcoder, joined, literal, step

UNKNOWN_PID: Final = -(1 << 63)
SCHEMA: Final[Schema] = (
    ("ts_ns", "l", 8),
    ("cpu", "i", 4),
    ("pid", "l", 8),
    ("tid", "i", 4),
    ("process", CODED, 4),
    ("system", CODED, 4),
    ("event", CODED, 4),
    ("fields", JSON, 0),
)
_PLACES: Final = {"ts_ns": 0, "pid": 1, "tid": 4, "process": 5, "cpu": 6, "system": 7, "event": 7}
"""Which word of a row each column is, in words of its own size."""
_ROW_SIZE: Final = 32
_WHO: Final = Struct("<qii")
_AT_ONCE: Final = 1 << 14
_AT_ONCE_SIZE: Final = 1 << 24


def events_view(trace: Trace) -> str:
    """Return the statement that makes `events`: with times of the wall clock, and hosts where there are several."""
    offset = wall_offset_ns(trace)
    time = "NULL::TIMESTAMP_NS" if offset is None else f"make_timestamp_ns(ts_ns + {offset})"
    pid = f"nullif(pid, {UNKNOWN_PID})"
    host = f", {host_in_sql(trace, pid)} AS host" if trace.hosts else ""
    return (
        f"CREATE VIEW {EVENTS} AS SELECT ts_ns, {time} AS time, cpu, {pid} AS pid, tid, process, system, event, "
        f"fields{host} FROM {RECORDS}"
    )


def event_chunks(trace: Trace, read: Reader = iter, needed: Needed = None) -> Iterator[PureChunk]:
    """Yield all records of a trace in chunks, with the columns that are `needed`; the others are null."""
    table = _Table(trace, needed)
    waiting = 0
    for batch in read(trace.source.batches()):
        size = table.add(batch)
        waiting += len(batch)
        if waiting >= _AT_ONCE or size >= _AT_ONCE_SIZE:
            waiting = 0
            yield from table.take()
    yield from table.take()


class _Names:
    """Texts of a dictionary, each with its number; `distinct` texts stand in it once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._ends = array("i", [0])
        self._bytes = bytearray()

    def number_of(self, text: str) -> int:
        """Return the number of a text."""
        if text not in self._numbers:
            self._numbers[text] = len(self._numbers)
            self.append(text)
        return self._numbers[text]

    def append(self, text: str) -> int:
        """Add a text, whether it is there or not, and return its number."""
        self._bytes += text.encode("utf-8", "backslashreplace")
        self._ends.append(len(self._bytes))
        return len(self._ends) - 2

    def buffers(self) -> tuple[int, tuple[bytes | None, ...]]:
        """Return how many there are, and the buffers of a column of them."""
        return len(self._ends) - 1, (None, self._ends.tobytes(), bytes(self._bytes))


class _Table:
    """Records on their way into chunks."""

    def __init__(self, trace: Trace, needed: Needed) -> None:
        self._trace = trace
        self._needed = {name for name, _, _ in SCHEMA} if needed is None else needed
        self._names = process_names(trace.processes)
        self._processes, self._systems, self._events = _Names(), _Names(), _Names()
        shift = trace.source.shift_ns
        self._rows = Transcoder(self._row_of, self._who, _quote, shift)
        self._fields = Transcoder(self._fields_of, lambda *_: (b"", True), _quote, shift, False, True)

    def add(self, batch: Batch) -> int:
        """Take in records; return how many bytes wait to be taken."""
        waiting = self._rows.add(batch)
        return waiting + self._fields.add(batch) if "fields" in self._needed else waiting

    def take(self) -> Iterator[PureChunk]:
        """Yield what was taken in."""
        rows = memoryview(b"".join(piece[5] for piece in self._rows.take()))
        if "fields" not in self._needed:
            if rows:
                yield self._chunk(rows, None)
            return
        for _, records, _, _, _, data, ends in self._fields.take():
            if records:
                offsets = bytes(4) + ends
                yield self._chunk(rows[: records * _ROW_SIZE], Buffers(0, (None, offsets, data)))
                rows = rows[records * _ROW_SIZE :]

    def _chunk(self, rows: memoryview, fields: Buffers | None) -> PureChunk:
        length = len(rows) // _ROW_SIZE
        columns = [self._column(name, size, rows, length) for name, _, size in SCHEMA[:-1]]
        return PureChunk(SCHEMA, length, [*columns, fields or Buffers(length, (*_nulls(length), b""))])

    def _column(self, name: str, size: int, rows: memoryview, length: int) -> Buffers:
        names = {"process": self._processes, "system": self._systems, "event": self._events}.get(name)
        if name not in self._needed:
            return Buffers(length, _nulls(length), (1, (None, bytes(8), b"")) if names else None)
        words = rows.cast("q" if size == 8 else "i")
        values = words[_PLACES[name] :: _ROW_SIZE // size].tobytes()
        return Buffers(0, (None, values), None if names is None else names.buffers())

    def _row_of(self, event_id: int) -> Program:
        decoder = Decoder(self._trace.events.get(event_id), event_id)
        self._systems.append(decoder.event.system)
        number = self._events.append(decoder.event.name)
        found = step(steps.TIME_U64), step(steps.WHO), step(steps.CPU_U32), literal(number.to_bytes(4, "little"))
        return found, decoder.readings, decoder

    def _fields_of(self, event_id: int) -> Program:
        decoder = Decoder(self._trace.events.get(event_id), event_id)
        found: list[Step] = [literal("{")]
        for number, key in enumerate(decoder.event.keys):
            found += [literal(f"{',' if number else ''}{json.dumps(key)}:"), step(steps.JSON, number)]
        return joined([*found, literal("}")]), decoder.readings, decoder

    def _who(self, tag: object, _cpu: int, tid: int, ts_ns: int) -> tuple[bytes, bool]:
        pid, comm, holds = self._trace.source.who(tag, tid, ts_ns)
        name = comm if pid is None else self._names.get(pid, comm)
        return _WHO.pack(UNKNOWN_PID if pid is None else pid, tid, self._processes.number_of(name)), holds


def _nulls(length: int) -> tuple[bytes, bytes]:
    """Return the validity of nothing but nulls, and values of up to 8 bytes, or offsets."""
    zeros = bytes(8 * (length + 1))
    return zeros, zeros


def _quote(value: str | float) -> bytes:
    return json.dumps(json_value(value), separators=(",", ":")).encode()
