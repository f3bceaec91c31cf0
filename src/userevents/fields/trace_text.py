"""The body of a line in the kernel's own `trace` file, which takes no notice of an event's `print fmt`.

Source: user_events contract, tracefs.md section 5.
"""

from typing import Final

from .grammar import Field
from .payload import dynamic_range
from .types import CPUMASK, DATA_STRING, REL_STRING, STATIC_STRING, filter_class

_OVERFLOW: Final = "<OVERFLOW>"


def kernel_text(name: str, fields: tuple[Field, ...], record: bytes) -> str:
    """Return the body of `record`'s line in a `trace` file: ``NAME: a=0x1 (1) b=text``, one character a byte.

    `name` is the tracepoint's. Give the record as long as the ring buffer holds it.

    Source: user_events contract, tracefs.md section 5.

    >>> from .grammar import parse_fields
    >>> kernel_text("tick", parse_fields("s32 a; u8 b"), bytes(8) + b"\\xff\\xff\\xff\\xffA")
    "tick: a=0xffffffff (-1) b='A'(65)"
    """
    if not fields:
        return f"{name}:No fields found"
    return f"{name}:" + "".join(f" {field.name}={_shown(field, record)}" for field in fields)


def _shown(field: Field, record: bytes) -> str:
    end = field.offset + field.size
    if end > len(record):
        return _OVERFLOW
    kind = filter_class(field.ctype)
    if kind == STATIC_STRING:
        return _text(record[field.offset : end])
    if kind in (DATA_STRING, REL_STRING):
        data = _dynamic(field, record, relative=kind == REL_STRING)
        return _OVERFLOW if data is None else _text(data)
    if kind == CPUMASK:
        return "<INVALID-TYPE>"
    if field.size == 4 and ("__data_loc" in field.ctype or "__rel_loc" in field.ctype):
        data = _dynamic(field, record, relative="__data_loc" not in field.ctype)
        return _OVERFLOW if data is None else data.hex(",")
    return _number(record[field.offset : end])


def _dynamic(field: Field, record: bytes, *, relative: bool) -> bytes | None:
    start, size = dynamic_range(field.offset, record, relative)
    return record[start : start + size] if start >= 0 and start + size <= len(record) else None


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("latin-1")


def _number(data: bytes) -> str:
    """Show a number as the kernel does: one or two bytes as unsigned, four or eight in hex unsigned, decimal signed."""
    number = int.from_bytes(data, "little")
    match len(data):
        case 1:
            is_printable = 0x20 <= number < 0x7F or number >= 0xA0
            return f"'{chr(number)}'({number})" if is_printable else f"({number})"
        case 2:
            return f"0x{number:x} ({number})"
        case 4 | 8:
            return f"0x{number:x} ({int.from_bytes(data, 'little', signed=True)})"
    return "<INVALID-SIZE>"
