"""The types a field may have: their size, sign, print conversion and filter class, and what to say instead of others.

Source: user_events contract, fields.md sections 3 and 4.
"""

import errno
from typing import Final

from ..abi.user_events import MAX_FIELD_ARRAY_SIZE
from ..errors import Refused
from .kernel_text import unsigned

SCALARS: Final[dict[str, tuple[int, str]]] = {
    "s64": (8, "%lld"),
    "u64": (8, "%llu"),
    "s32": (4, "%d"),
    "u32": (4, "%u"),
    "int": (4, "%d"),
    "unsigned int": (4, "%u"),
    "s16": (2, "%d"),
    "u16": (2, "%u"),
    "short": (2, "%d"),
    "unsigned short": (2, "%u"),
    "s8": (1, "%d"),
    "u8": (1, "%u"),
    "char": (1, "%d"),
    "unsigned char": (1, "%u"),
}
"""Type text, exactly as it must be written: its size and its conversion in ``print fmt``."""

DATA_LOC: Final = "__data_loc "
REL_LOC: Final = "__rel_loc "
DYN_LOC_SIZE: Final = 4
STRUCT: Final = "struct "

NUMBER: Final = "number"
STATIC_STRING: Final = "static string"
DATA_STRING: Final = "dynamic string"
REL_STRING: Final = "relative dynamic string"
CPUMASK: Final = "cpumask"

_ARRAYS: Final = ("char[", "unsigned char[")
_ARRAY_TEXT_MAX: Final = 7
"""The kernel copies what follows ``[`` into 8 bytes, and refuses what does not fit."""

_INSTEAD: Final = {
    "long": "s64",
    "unsigned long": "u64",
    "ssize_t": "s64",
    "size_t": "u64",
    "pid_t": "s32",
    "unsigned": "unsigned int",
    "signed": "int",
    "bool": "u8",
    "_Bool": "u8",
    "float": "struct f64 NAME 8",
    "double": "struct f64 NAME 8",
    "str": "__rel_loc char[]",
    "string": "__rel_loc char[]",
    "bytes": "__rel_loc u8[]",
}


def field_size(ctype: str) -> int:
    """Return the bytes one field of type `ctype` takes in an event's fixed part.

    `ctype` is a C type as written in a registration, single-spaced (``"unsigned int"``). A dynamic type
    (``__data_loc``, ``__rel_loc``) counts 4: the fixed part holds only its ``size << 16 | offset`` word.

    Raises `Refused` with EINVAL for a type user_events refuses; ``long`` is one, since its size depends on
    the caller's word size, and ``struct TAG`` another, since its size stands after the field's name.

    Source: user_events contract, fields.md section 3.

    >>> field_size("char[20]"), field_size("__rel_loc char[]")
    (20, 4)
    """
    if ctype in SCALARS:
        return SCALARS[ctype][0]
    if ctype.startswith(_ARRAYS):
        return _array_size(ctype)
    if ctype.startswith((DATA_LOC, REL_LOC)):
        return DYN_LOC_SIZE
    raise Refused(errno.EINVAL, f"type {ctype!r} is not one of user_events: {_instead_of(ctype)}")


def is_signed(ctype: str) -> bool:
    """Tell whether the format file calls `ctype` signed: whatever does not begin with ``u``."""
    return not ctype.startswith("u")


def conversion(ctype: str) -> str:
    """Return the conversion that ``print fmt`` gives a field of type `ctype`."""
    if ctype in SCALARS:
        return SCALARS[ctype][1]
    return "%s" if "char[" in ctype else "%llu"


def filter_class(ctype: str) -> str:
    """Return how filters and the kernel's own trace text treat a field of type `ctype`.

    One of `NUMBER`, `STATIC_STRING`, `DATA_STRING`, `REL_STRING`, `CPUMASK`. It goes by what the text
    contains, so ``__rel_loc charly[]`` is a string too.

    Source: user_events contract, fields.md section 4.
    """
    has_char = "char" in ctype
    if "__data_loc" in ctype:
        if has_char:
            return DATA_STRING
        if "cpumask_t" in ctype:
            return CPUMASK
    if "__rel_loc" in ctype and has_char:
        return REL_STRING
    return STATIC_STRING if has_char and "[" in ctype else NUMBER


def _array_size(ctype: str) -> int:
    inside = ctype.partition("[")[2]
    if len(inside) > _ARRAY_TEXT_MAX:
        problem = f"the kernel reads at most {_ARRAY_TEXT_MAX} characters after '[', its ']' among them"
    else:
        count, closed, _ = inside.partition("]")
        size = unsigned(count, 0) if closed else None
        if size is not None and 1 <= size <= MAX_FIELD_ARRAY_SIZE:
            return size
        problem = f"{count!r} is not a length from 1 to {MAX_FIELD_ARRAY_SIZE} followed by ']'"
    raise Refused(
        errno.EINVAL, f"type {ctype!r}: {problem}; write 'char[20]', or '__rel_loc char[]' for text of any length"
    )


def _instead_of(ctype: str) -> str:
    """Say what to write in place of a refused type: the nearest one that serves."""
    if ctype in _INSTEAD:
        return f"write {_INSTEAD[ctype]!r}"
    if ctype.startswith(STRUCT):
        return f"a struct needs its size after the name, '{ctype} NAME 16'"
    base, bracket, _ = ctype.partition("[")
    sized = base.lstrip("_").removesuffix("_t").lower().replace("uint", "u").replace("int", "s")
    if bracket:
        element = sized if sized in SCALARS else base
        return f"only char and unsigned char come as arrays; write '__rel_loc {element}[]'"
    if sized in SCALARS:
        return f"write {sized!r}"
    if "*" in ctype:
        return "write 'u64' for an address, '__rel_loc char[]' for text"
    return (
        "write s8 to s64, u8 to u64, char, [unsigned] short or int, [unsigned] char[N], "
        "'struct TAG NAME SIZE', '__rel_loc T[]' or '__data_loc T[]'"
    )
