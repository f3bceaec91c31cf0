"""Decoding many records of one event: what `fields.decode` gives, but worked out once per event, which is faster."""

from collections.abc import Sequence
from struct import Struct
from typing import Any

from ..abi.ring_buffer import RECORD_HEADER_SIZE
from ..fields import Field, decode
from ..fields.payload import Reading, readings
from ..fields.types import DATA_LOC, DYN_LOC_SIZE, NUMBER, REL_LOC, STRUCT, filter_class
from .model import Event, Value

_CODES = {1: "bB", 2: "hH", 4: "iI", 8: "qQ"}
_UNKNOWN_KEYS = ("data",)
_REST = 8
"""In `_pages.h` only: all bytes from `start` on."""
_UNKNOWN_READINGS: tuple[Reading, ...] = ((_REST, RECORD_HEADER_SIZE, RECORD_HEADER_SIZE, False),)
_END_OF_RECORDS = 1 << 20


class Decoder:
    """Decodes the records of one event; an event that the trace does not describe shows its bytes as `data`."""

    def __init__(self, event: Event | None, event_id: int) -> None:
        self._is_known = event is not None
        self.event = event or Event(event_id, "unknown", f"unknown_{event_id}", (), _UNKNOWN_KEYS)
        self._texts: list[int] = []
        self._dynamic: list[tuple[int, int, bool]] = []
        self._struct = self._compiled(self.event.fields)

    def _compiled(self, fields: tuple[Field, ...]) -> Struct | None:
        """Return one struct over all fields, None where they overlap, do not stand in order, or make no sense."""
        layout, at = "<", 0
        for number, field in enumerate(fields):
            odd_word = field.ctype.startswith((DATA_LOC, REL_LOC)) and field.size != DYN_LOC_SIZE
            if odd_word or not at <= field.offset <= _END_OF_RECORDS or not 0 <= field.size <= _END_OF_RECORDS:
                return None
            layout += f"{field.offset - at}x{self._code(number, field)}"
            at = field.offset + field.size
        return Struct(layout)

    def _code(self, number: int, field: Field) -> str:
        """Return a field's struct code, and note what is left to do with what it gives."""
        ctype, size, is_text = field.ctype, field.size, "char" in field.ctype
        if ctype.startswith((DATA_LOC, REL_LOC)):
            base = field.offset + DYN_LOC_SIZE if ctype.startswith(REL_LOC) else 0
            self._dynamic.append((number, base, is_text))
            return "I"
        if filter_class(ctype) != NUMBER or "[" in ctype:
            if is_text:
                self._texts.append(number)
            return f"{size}s"
        if ctype == "struct f64" and size == 8:
            return "d"
        if size not in _CODES or (ctype.startswith(STRUCT) and "*" not in ctype):
            return f"{size}s"
        return _CODES[size][not field.signed]

    def values(self, body: bytes) -> dict[str, Value]:
        """Return the values of one record by name; None for those that do not lie inside it."""
        return dict(zip(self.event.keys, self.row(body), strict=True))

    def row(self, body: bytes) -> Sequence[Value]:
        """Return the values of one record in the order of the event's fields."""
        struct = self._struct
        if not self._is_known:
            return (body[RECORD_HEADER_SIZE:],)
        if struct is None or len(body) < struct.size:
            return decode(self.event.fields, body)
        values: list[Any] = list(struct.unpack_from(body))
        for number in self._texts:
            values[number] = values[number].partition(b"\0")[0].decode("utf-8", "backslashreplace")
        for number, base, is_text in self._dynamic:
            word = values[number]
            start = base + (word & 0xFFFF)
            end = start + (word >> 16)
            data = body[start:end]
            if end > len(body):
                values[number] = None
            else:
                values[number] = data.partition(b"\0")[0].decode("utf-8", "backslashreplace") if is_text else data
        return values

    @property
    def readings(self) -> tuple[Reading, ...]:
        """How each value is read from a record, for those who decode many at once."""
        return readings(self.event.fields) if self._is_known else _UNKNOWN_READINGS
