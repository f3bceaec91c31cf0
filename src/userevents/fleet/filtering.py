"""The fleet's filters, done by the host: records that do not pass are taken out of the frames before they are sent.

The recording stream has whole pages, which no filter of an instance has seen. A record that does not pass gets the
id 0, which no event has, and its payload becomes zeros: its page stays as long and as timed as it was, and readers
count it as one that nobody asked for (docs/formats/recording.md). Who looks on and wants some records only does the
same for himself (`Chosen`): hosts have one stream for everybody, and pages that stay as long would spare it nothing.
Pure.
"""

import json
from collections.abc import Sequence
from struct import Struct
from struct import error as StructError
from typing import Final, NamedTuple

from ..abi.ring_buffer import PAGE_HEADER_SIZE, PAGE_SIZE
from ..buffer import page as pages
from ..buffer import stream as wire
from ..control.events import EventName, Pattern
from ..errors import Malformed, Refused
from ..fields import parse_fields
from ..fields.filter import Filter, parse_filter
from .merged import Sample, Sink
from .sequence import Ready

_TYPE: Final = Struct("<H")
_HEAD: Final = Struct("<HHi")
"""Event id, flags (or the record's CPU) and thread, as every record begins."""
_RUN_ENTRY: Final = Struct("<QII")
_FACTS: Final = (wire.STREAM, wire.EVENT, wire.THREADS)


class _Event(NamedTuple):
    """What an id means in a stream."""

    name: EventName
    fields: str


class Filtering:
    """Takes out what the filters in force reject. Without any, frames pass as they are.

    Of an event to which its filter cannot be applied all records pass, or none if it `is_strict`.
    """

    def __init__(self, *, is_strict: bool = False) -> None:
        self._is_strict = is_strict
        self.rejected = 0
        """Records that were taken out so far."""
        self.refused: dict[str, str] = {}
        """Why a filter cannot be applied, by event."""
        self._filters: list[tuple[Pattern, str]] = []
        self._events: dict[tuple[int, int], _Event] = {}
        self._compiled: dict[int, dict[int, Filter | None]] = {}
        """By stream and event id; None rejects every record."""
        self._comms: dict[int, str] = {}

    def set(self, filters: Sequence[tuple[str, str]]) -> None:
        """Filter by these (pattern, expression) from now on: the last pattern that matches an event decides."""
        self._filters = [(Pattern.parse(_kernel(pattern)), _kernel(text)) for pattern, text in filters]
        self._compiled, self.refused = {}, {}
        for stream, number in self._events:
            self._compile(stream, number)

    def through(self, data: bytes) -> bytes:
        """Return whole frames, as a stream's read gave them, with what does not pass taken out."""
        out: bytearray | None = None
        offset = 0
        while offset < len(data):
            if data[offset : offset + len(wire.MAGIC)] == wire.MAGIC:
                offset += wire.START.size
                continue
            size, kind, _, stream, used = wire.FRAME.unpack_from(data, offset)
            size = max(size, wire.FRAME.size)
            begin = offset + wire.FRAME.size
            if kind == wire.HEADER:
                self._events, self._compiled = {}, {}
            elif kind in _FACTS:
                self._learn(kind, stream, data[begin : begin + used])
            elif kind in (wire.PAGE_PART, wire.PAGE_RUN) and self._compiled.get(stream):
                out = bytearray(data) if out is None else out
                self._clean(out, kind, stream, begin)
            offset += size
        return data if out is None else bytes(out)

    def _learn(self, kind: int, stream: int, payload: bytes) -> None:
        content = json.loads(payload)
        if kind == wire.STREAM:
            self._comms[int(content["pid"])] = str(content["comm"])
        elif kind == wire.THREADS:
            self._comms |= {int(tid): str(name) for tid, name in content.items()}
        elif content.get("enabled"):
            event = _Event(EventName(content["system"], content["name"]), content["fields"])
            if self._events.get((stream, content["id"])) != event:
                self._events[stream, content["id"]] = event
                self._compile(stream, content["id"])

    def _compile(self, stream: int, number: int) -> None:
        event = self._events[stream, number]
        self._compiled.setdefault(stream, {}).pop(number, None)
        text = next((text for pattern, text in reversed(self._filters) if pattern.matches(event.name)), "")
        if not text:
            return
        try:
            self._compiled[stream][number] = parse_filter(text, parse_fields(event.fields))
        except (Refused, Malformed) as error:
            self.refused[str(event.name)] = error.reason if isinstance(error, Refused) else str(error)
            if self._is_strict:
                self._compiled[stream][number] = None

    def _clean(self, out: bytearray, kind: int, stream: int, begin: int) -> None:
        """Take out what does not pass in the page frame whose payload begins at `begin`."""
        filters = self._compiled[stream]
        if kind == wire.PAGE_PART:
            _, cpu, flags, _, _, _, length = wire.PART.unpack_from(out, begin)
            start = begin + wire.PART.size
            self._clean_records(out, start, length, filters, cpu, bool(flags & wire.PART_CPUS))
            return
        _, count, _ = wire.RUN.unpack_from(out, begin)
        table = begin + wire.RUN.size
        first = table + count * _RUN_ENTRY.size
        for number in range(count):
            _, cpu, flags = _RUN_ENTRY.unpack_from(out, table + number * _RUN_ENTRY.size)
            at = first + number * PAGE_SIZE
            try:
                _, found = pages.page_data(bytes(out[at : at + PAGE_SIZE]))
            except Malformed:
                continue  # a reader says so; nothing in it can be told apart
            has_cpus = bool(flags & wire.RUN_CPUS)
            self._clean_records(out, at + PAGE_HEADER_SIZE, len(found), filters, cpu, has_cpus)

    def _clean_records(
        self, out: bytearray, at: int, length: int, filters: dict[int, Filter | None], cpu: int, has_cpus: bool
    ) -> None:
        data = bytes(out[at : at + length])
        for start in pages.walk(data, 0).starts:
            body = pages.body_start(data, start)
            number, said, tid = _HEAD.unpack_from(data, body)
            if number not in filters:
                continue
            chosen = filters[number]
            end = pages.record_end(data, start)
            record = data[body:end]
            if has_cpus:
                cpu = said
                record = record[:2] + bytes(2) + record[4:]
            if chosen is None or not chosen.matches(record, cpu=cpu, comm=self._comms.get(tid, "")):
                _TYPE.pack_into(out, at + body, 0)
                out[at + body + _HEAD.size : at + end] = bytes(end - body - _HEAD.size)
                self.rejected += 1


class Chosen:
    """A sink (merged.py) before another one: of the events that patterns name, only records that pass are left."""

    def __init__(self, sink: Sink, patterns: Sequence[str], where: str) -> None:
        self.unreadable = 0
        """Batches that were left out, since their frames cannot be read."""
        self._sink = sink
        self._filters = [(pattern, where) for pattern in patterns]
        self._scopes: dict[int, Filtering] = {}

    def refused(self) -> dict[str, str]:
        """Why the filter cannot be applied to an event, by event: none of its records passes."""
        return {event: why for each in self._scopes.values() for event, why in each.refused.items()}

    def host(self, scope: int, name: str, number: int, run: str) -> None:
        """A host's agent appears."""
        self._scopes[scope] = Filtering(is_strict=True)
        self._scopes[scope].set(self._filters)
        self._sink.host(scope, name, number, run)

    def clock(self, scope: int, sample: Sample) -> None:
        """A scope's clock was compared."""
        self._sink.clock(scope, sample)

    def batch(self, scope: int, ready: Ready, stored: int, upto: int) -> None:
        """A batch's turn."""
        try:
            payload = self._scopes[scope].through(ready.payload)
        except (ValueError, LookupError, TypeError, RecursionError, StructError):
            self.unreadable += 1
            return
        self._sink.batch(scope, ready._replace(payload=payload), stored, upto)


def _kernel(text: str) -> str:
    """What people typed, as kernel text: one character a byte."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")
