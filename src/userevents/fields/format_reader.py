"""Reading `format` files: ours, the kernel's for any event, and those stored in a trace.dat.

Source: user_events contract, fields.md section 6.
"""

from typing import Final, NamedTuple

from ..abi.user_events import MAX_FIELD_ARRAY_SIZE
from ..errors import Malformed
from .grammar import Field
from .types import DATA_LOC, REL_LOC, SCALARS

_WHAT: Final = "event format"
_NUMBER_DIGITS_MAX: Final = 10


class EventFormat(NamedTuple):
    """What a `format` file says: an event's name, its id, the common header, its own fields, and how to print."""

    name: str
    id: int
    common: tuple[Field, ...]
    fields: tuple[Field, ...]
    print_fmt: str


def parse_format(text: str) -> EventFormat:
    """Parse the text of a `format` file.

    Fields are those before (`common`) and after the first blank line. A ``char x[16]`` becomes a field `x` of
    type ``char[16]``, its length taken from the size, since user events print none (or, on some kernels,
    garbage); a ``__rel_loc char x[]`` becomes ``__rel_loc char[]``.

    Raises `Malformed` with the position of what is not a format text.

    Source: user_events contract, fields.md section 6.

    >>> from .format import format_text
    >>> from .grammar import parse_fields
    >>> parse_format(format_text("tick", 20, parse_fields("char[3] a"))).fields
    (Field(ctype='char[3]', name='a', size=3, offset=8, signed=True),)
    """
    name, position = _between(text, 0, "name: ", "\nID: ")
    event_id, position = _between(text, position, "", "\nformat:\n")
    sections: list[list[Field]] = [[]]
    while not text.startswith("print fmt:", position):
        if text.startswith("\n", position):
            if len(sections) == 1:
                sections.append([])
            position += 1
        else:
            field, position = _field(text, position)
            sections[-1].append(field)
    common, own = sections if len(sections) == 2 else (sections[0], [])
    print_fmt = text[position + len("print fmt:") :].removeprefix(" ").removesuffix("\n")
    return EventFormat(name, _number(event_id, len("name: ") + len(name) + 1), tuple(common), tuple(own), print_fmt)


def _between(text: str, position: int, before: str, after: str) -> tuple[str, int]:
    """Return what stands between two fixed texts, and the position behind them."""
    start = position + len(before)
    end = text.find(after, start)
    if not text.startswith(before, position) or end < 0:
        raise Malformed(_WHAT, f"no {before + '...' + after!r}", position)
    return text[start:end], end + len(after)


def _field(text: str, position: int) -> tuple[Field, int]:
    """Parse one ``field:TYPE NAME; offset:O; size:S; signed:B;`` line."""
    declared, rest = _between(text, position, "", ";")
    line_end = text.find("\n", rest)
    if line_end < 0:
        raise Malformed(_WHAT, "a field's line does not end", position)
    declared = declared.lstrip(" \t")
    if not declared.startswith("field"):
        raise Malformed(_WHAT, f"{declared[:40]!r} is neither a field nor 'print fmt:'", position)
    said = dict(item.strip().partition(":")[::2] for item in text[rest:line_end].split(";"))
    if "offset" not in said or "size" not in said:
        raise Malformed(_WHAT, f"{declared[:40]!r} has no offset or no size", position)
    size = _number(said["size"], position)
    ctype, name = _type_and_name(declared.partition(":")[2].lstrip(" "), size)
    signed = said.get("signed", "0") != "0"
    return Field(ctype, name, size, _number(said["offset"], position), signed), line_end + 1


def _type_and_name(declared: str, size: int) -> tuple[str, str]:
    """Turn C's ``char x[16]`` into the type ``char[16]`` and the name ``x``."""
    ctype, _, name = declared.rpartition(" ")
    plain, bracket, count = name.removesuffix("]").rpartition("[")
    if not bracket or not name.endswith("]") or ctype.startswith(DATA_LOC):
        return ctype, name
    if ctype.startswith(REL_LOC):
        return f"{ctype}[]", plain
    element = SCALARS[ctype][0] if ctype in SCALARS else 0
    if not element or size % element:
        return f"{ctype}[{count}]", plain
    if size == element and _is_part_of_name(count):
        return ctype, name
    return f"{ctype}[{size // element}]", plain


def _is_part_of_name(count: str) -> bool:
    """Tell whether ``[count]`` behind one element is no length: not 1, none, or the garbage of some kernels.

    User events take any name, ``a[20]`` among them.
    """
    is_garbage = count.startswith("-") or (count.isdecimal() and len(count) > len(str(MAX_FIELD_ARRAY_SIZE)))
    return count not in ("", "1") and not is_garbage


def _number(text: str, position: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _NUMBER_DIGITS_MAX):
        raise Malformed(_WHAT, f"{text[:40]!r} is not a number", position)
    return int(text)
