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

Checks = tuple[tuple[int, bool, bool], ...]
"""Of each dynamic field: where its word is, whether its offset counts from behind it, whether it is text."""

Reading = tuple[int, int, int, bool]
"""How to read one field: what it is (below), its start, its end, and whether a number is signed."""

INTEGER: Final = 0
FLOAT: Final = 1
BYTES: Final = 2
TEXT: Final = 3
DATA_BYTES: Final = 4
DATA_TEXT: Final = 5
REL_BYTES: Final = 6
REL_TEXT: Final = 7

_plans: dict[tuple[Field, ...], tuple[Reading, ...]] = {}
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
    return passes(checks(fields), record)


def checks(fields: tuple[Field, ...]) -> Checks:
    """Return what `validate` looks at, for many records of one event: hand it to `passes`."""
    return tuple(
        (field.offset, field.ctype.startswith(REL_LOC), "char" in field.ctype)
        for field in fields
        if field.ctype.startswith((DATA_LOC, REL_LOC))
    )


def passes(checks: Checks, record: bytes) -> bool:
    """Tell of one record what `validate` tells."""
    size = len(record)
    for offset, is_relative, is_text in checks:
        start = offset + DYN_LOC_SIZE
        if start > size:
            return False
        word = int.from_bytes(record[offset:start], "little")
        end = (word & 0xFFFF) + (word >> 16)
        if is_relative:
            end += start
        if end > size or (is_text and end and record[end - 1]):
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
        plan = _plans[fields] = readings(fields)
    data = bytes(record)
    length = len(data)
    return tuple(
        (
            int.from_bytes(data[start:end], "little", signed=signed)
            if kind == INTEGER
            else _value(kind, start, end, data)
        )
        if end <= length
        else None
        for kind, start, end, signed in plan
    )


def _value(kind: int, start: int, end: int, data: bytes) -> Value:
    if kind == FLOAT:
        return float(unpack_from("<d", data, start)[0])
    if kind >= DATA_BYTES:
        start, size = dynamic_range(start, data, relative=kind >= REL_BYTES)
        end = start + size
        if start < 0 or end > len(data):
            return None
    value = data[start:end]
    return value.partition(b"\0")[0].decode("utf-8", "backslashreplace") if kind & 1 else value


def readings(fields: tuple[Field, ...]) -> tuple[Reading, ...]:
    """Return how each field of a record is read."""
    return tuple((_kind_of(field), field.offset, field.offset + field.size, field.signed) for field in fields)


def _kind_of(field: Field) -> int:
    is_text = "char" in field.ctype
    if field.ctype.startswith(DATA_LOC):
        return DATA_TEXT if is_text else DATA_BYTES
    if field.ctype.startswith(REL_LOC):
        return REL_TEXT if is_text else REL_BYTES
    if filter_class(field.ctype) != NUMBER or "[" in field.ctype:
        return TEXT if is_text else BYTES
    if field.ctype.startswith(STRUCT) and "*" not in field.ctype:
        return FLOAT if field.ctype == "struct f64" and field.size == 8 else BYTES
    return INTEGER if field.size in (1, 2, 4, 8) else BYTES
