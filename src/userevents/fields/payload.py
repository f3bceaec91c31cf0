"""Field values in a record: the validators a record must pass, and decoding it, whatever its bytes say.

A record is the 8-byte common header and the payload; offsets count from its first byte. Nothing here
trusts one: a field, or the data its dynamic word points to, may lie outside.

Source: user_events contract, write.md section 4 and fields.md section 4.
"""

from struct import unpack_from
from typing import Final

from .grammar import Field
from .types import DATA_LOC, DYN_LOC_SIZE, NUMBER, REL_LOC, STRUCT, filter_class

Value = int | str | bytes | float | None
"""A decoded field; None where the record does not reach."""

_Reading = tuple[int, int, int, bool]
"""How to read one field: what it is (below), its start, its end, and whether a number is signed."""

_INTEGER: Final = 0
_FLOAT: Final = 1
_BYTES: Final = 2
_TEXT: Final = 3
_DATA_BYTES: Final = 4
_DATA_TEXT: Final = 5
_REL_BYTES: Final = 6
_REL_TEXT: Final = 7

_plans: dict[tuple[Field, ...], tuple[_Reading, ...]] = {}
_PLANS_MAX: Final = 1024


def validate(fields: tuple[Field, ...], record: bytes) -> bool:
    """Tell whether the kernel would keep `record`: its dynamic fields lie inside, its strings end in a NUL.

    Only that is looked at: overlaps and a word pointing into the header pass. A ``__data_loc`` string of offset 0
    and size 0 has its last byte before the record. On the kernel that is part of the record's time delta, and 0
    only within half a millisecond of the record before; here it always counts as 0.

    Source: user_events contract, write.md section 4.

    >>> from .grammar import parse_fields
    >>> name = parse_fields("__rel_loc char[] name")
    >>> validate(name, bytes(8) + b"\\0\\0\\3\\0ab\\0"), validate(name, bytes(8) + b"\\0\\0\\3\\0abc")
    (True, False)
    """
    for field in fields:
        if field.ctype.startswith((DATA_LOC, REL_LOC)):
            start, size = dynamic_range(field.offset, record, field.ctype.startswith(REL_LOC))
            end = start + size
            if start < 0 or end > len(record):
                return False
            if "char" in field.ctype and end and record[end - 1]:
                return False
    return True


def dynamic_range(offset: int, record: bytes, relative: bool) -> tuple[int, int]:
    """Return where the dynamic field whose word is at `offset` has its data, as start and size.

    The start is negative if the word itself lies outside the record; the data may.

    Source: user_events contract, fields.md section 4.
    """
    end = offset + DYN_LOC_SIZE
    if end > len(record):
        return -1, 0
    word = int.from_bytes(record[offset:end], "little")
    return (word & 0xFFFF) + (end if relative else 0), word >> 16


def decode(fields: tuple[Field, ...], record: bytes | memoryview) -> tuple[Value, ...]:
    """Return the value of each field: `int`, `str` (text up to its first NUL), `bytes` or `float`.

    Text is read as UTF-8, other bytes in it shown as ``\\xNN``. ``struct f64`` of 8 bytes is a float, other
    structs and arrays are bytes. A value that does not lie inside the record is None. No record raises.

    Source: user_events contract, fields.md section 4.

    >>> from .grammar import parse_fields
    >>> decode(parse_fields("s16 a; __rel_loc char[] b"), bytes(8) + b"\\xff\\xff\\0\\0\\3\\0hi\\0")
    (-1, 'hi')
    """
    plan = _plans.get(fields)
    if plan is None:
        if len(_plans) >= _PLANS_MAX:
            _plans.clear()
        plan = _plans[fields] = tuple(map(_reading_of, fields))
    data = bytes(record)
    length = len(data)
    return tuple(
        (
            int.from_bytes(data[start:end], "little", signed=signed)
            if kind == _INTEGER
            else _value(kind, start, end, data)
        )
        if end <= length
        else None
        for kind, start, end, signed in plan
    )


def _value(kind: int, start: int, end: int, data: bytes) -> Value:
    if kind == _FLOAT:
        return float(unpack_from("<d", data, start)[0])
    if kind >= _DATA_BYTES:
        start, size = dynamic_range(start, data, relative=kind >= _REL_BYTES)
        end = start + size
        if start < 0 or end > len(data):
            return None
    value = data[start:end]
    return value.partition(b"\0")[0].decode("utf-8", "backslashreplace") if kind & 1 else value


def _reading_of(field: Field) -> _Reading:
    return _kind_of(field), field.offset, field.offset + field.size, field.signed


def _kind_of(field: Field) -> int:
    is_text = "char" in field.ctype
    if field.ctype.startswith(DATA_LOC):
        return _DATA_TEXT if is_text else _DATA_BYTES
    if field.ctype.startswith(REL_LOC):
        return _REL_TEXT if is_text else _REL_BYTES
    if filter_class(field.ctype) != NUMBER or "[" in field.ctype:
        return _TEXT if is_text else _BYTES
    if field.ctype.startswith(STRUCT) and "*" not in field.ctype:
        return _FLOAT if field.ctype == "struct f64" and field.size == 8 else _BYTES
    return _INTEGER if field.size in (1, 2, 4, 8) else _BYTES
