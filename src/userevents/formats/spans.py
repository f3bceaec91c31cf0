"""The spans of a trace as columns: one row for each begin and its end.

Columns: `span` (the pair's name), `key` (its values, with commas between), `begin_ns`, `end_ns`, `latency_ns`, `pid`,
`process`, `tid` and `cpu` of the begin, `end_tid` and `end_cpu`, and `fields`: JSON of the begin's fields, and of those
that only the end has.
"""

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

from .arrow import Buffers, PureChunk, Schema
from .columns import packed
from .pairs import Matcher, Pair, PairChoice, Span
from .summary import process_names
from .text import json_value, show_value
from .trace import Trace

SCHEMA: Final[Schema] = (
    ("span", "u", 0),
    ("key", "u", 0),
    ("begin_ns", "l", 8),
    ("end_ns", "l", 8),
    ("latency_ns", "l", 8),
    ("pid", "l", 8),
    ("process", "u", 0),
    ("tid", "i", 4),
    ("cpu", "i", 4),
    ("end_tid", "i", 4),
    ("end_cpu", "i", 4),
    ("fields", "u", 0),
)
_AT_ONCE: Final = 1 << 16
_TOLD_EVERY: Final = 1 << 14


def span_chunks(
    trace: Trace, pairs: Sequence[Pair], told: Callable[[int], None] = lambda _: None
) -> Iterator[PureChunk]:
    """Yield the spans of a trace, in the order in which they end; `told` hears how many records were read since."""
    matcher = Matcher(pairs)
    names = process_names(trace.processes)
    waiting: list[tuple[Any, ...]] = []
    read = 0
    for row in trace.rows(PairChoice(pairs)):
        for span in matcher.add(row):
            waiting.append(_columns_of(span, names))
        read += 1
        if read == _TOLD_EVERY:
            told(read)
            read = 0
        if len(waiting) >= _AT_ONCE:
            yield chunk_of(SCHEMA, waiting)
            waiting = []
    told(read)
    if waiting:
        yield chunk_of(SCHEMA, waiting)


def _columns_of(span: Span, names: dict[int, str]) -> tuple[Any, ...]:
    begin_ns, cpu, tid, (pid, comm), decoder, values = span.begin
    end_ns, end_cpu, end_tid, _, end_decoder, end_values = span.end
    fields = dict(zip(end_decoder.event.keys, end_values, strict=False)) | dict(
        zip(decoder.event.keys, values, strict=False)
    )
    return (
        span.pair.name,
        ",".join(map(show_value, span.key)),
        begin_ns,
        end_ns,
        end_ns - begin_ns,
        pid,
        names.get(pid, comm) if pid is not None else comm,
        tid,
        cpu,
        end_tid,
        end_cpu,
        json.dumps({name: json_value(value) for name, value in fields.items()}, separators=(",", ":")),
    )


def chunk_of(schema: Schema, rows: Sequence[tuple[Any, ...]]) -> PureChunk:
    """Return rows of Python values as columns: text, and integers of 4 and 8 bytes; None is null."""
    columns = [
        _buffers(format_, values) for (_, format_, _), values in zip(schema, zip(*rows, strict=True), strict=True)
    ]
    return PureChunk(schema, len(rows), columns)


def _buffers(format_: str, values: Sequence[Any]) -> Buffers:
    nulls = values.count(None)
    valid = packed(bytearray(value is not None for value in values)) if nulls else None
    if format_ != "u":
        there: Iterable[int] = (value or 0 for value in values) if nulls else values
        return Buffers(nulls, (valid, array({"l": "q", "i": "i"}[format_], there).tobytes()))
    pieces = [b"" if value is None else value.encode("utf-8", "backslashreplace") for value in values]
    offsets = array("i", accumulate(map(len, pieces), initial=0))
    return Buffers(nulls, (valid, offsets.tobytes(), b"".join(pieces)))
