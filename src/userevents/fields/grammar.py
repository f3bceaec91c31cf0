"""Declaration text to fields and back: the command, its field list, and where each field lies in a record.

Source: user_events contract, fields.md sections 1 to 4.
"""

import errno
from functools import lru_cache
from typing import Final, NamedTuple

from ..abi.ring_buffer import RECORD_HEADER_SIZE
from ..errors import Refused
from .kernel_text import SPACES, require_bytes, unsigned
from .types import DATA_LOC, REL_LOC, STRUCT, field_size, is_signed

_UNSIGNED: Final = "unsigned "
_TYPE_PREFIXES: Final = (_UNSIGNED, STRUCT, DATA_LOC + _UNSIGNED, DATA_LOC, REL_LOC + _UNSIGNED, REL_LOC)
"""Words that make the next one part of the type too, in the order in which the kernel tries them."""

_INT_MAX: Final = 0x7FFFFFFF
_MAX_ERRNO: Final = 4095


class Field(NamedTuple):
    """One field of an event: its type text as stored, its name, and where its bytes are.

    `offset` counts from the start of the record, so an event's first own field is at 8, after the common header.
    """

    ctype: str
    name: str
    size: int
    offset: int
    signed: bool

    def __str__(self) -> str:
        """Spell the field as a declaration does: ``u32 a``, and a struct with its size, ``struct f64 t 8``."""
        if self.ctype.startswith(STRUCT):
            return f"{self.ctype} {self.name} {self.size}"
        return f"{self.ctype} {self.name}"


class BadField(Refused):
    """A field that cannot be parsed: `size` characters of `piece`, from `at` on, are at fault.

    `piece` is the field as it was written, leading white space gone; `at` may point past its end.
    """

    def __init__(self, number: int, piece: str, problem: str, at: int, size: int) -> None:
        super().__init__(number, f"field {piece!r}: {problem}")
        self.piece = piece
        self.problem = problem
        self.at = at
        self.size = max(size, 1)


class Declaration(NamedTuple):
    """An event as declared: its name and its fields in order."""

    name: str
    fields: tuple[Field, ...]


@lru_cache(1024)
def parse_command(text: str) -> tuple[str, str | None, str]:
    """Split a registration's text into NAME, TEXTFLAGS (None without a ``:``) and ARGS.

    Only a blank ends the name; neither the name nor the flags are judged here.

    Source: user_events contract, fields.md section 1.

    >>> parse_command("tick u32 count; u32 cpu")
    ('tick', None, 'u32 count; u32 cpu')
    """
    require_bytes(text)
    token, _, args = text.partition(" ")
    name, colon, flags = token.partition(":")
    return name, flags if colon else None, args


def parse_fields(args: str) -> tuple[Field, ...]:
    """Parse a field list; the first bad field decides the refusal.

    Raises `Refused`: EINVAL, except that a struct size of 2^31 or more comes out negative in the kernel and is
    returned as the error itself (4294967295 is EPERM).

    Source: user_events contract, fields.md sections 2 to 4.

    >>> [str(field) for field in parse_fields("u32 a;; __rel_loc char[] b;")]
    ['u32 a', '__rel_loc char[] b']
    """
    require_bytes(args)
    fields: list[Field] = []
    offset = RECORD_HEADER_SIZE
    for piece in args.split(";"):
        declared = piece.lstrip(SPACES)
        if declared:
            fields.append(_parse_field(declared, offset))
            offset += fields[-1].size
    return tuple(fields)


def parse_declaration(text: str) -> Declaration:
    """Parse a registration's whole text, ``NAME[ FIELDS]``.

    Raises `Refused` as `parse_fields` does, and with EINVAL for text flags (``NAME:FLAG``): none exist.

    Source: user_events contract, fields.md sections 1 and 2.

    >>> parse_declaration("tick u32 count").name
    'tick'
    """
    name, flags, args = parse_command(text)
    if flags is not None:
        raise Refused(
            errno.EINVAL,
            f"event name {name + ':' + flags!r} has a ':', which begins flags, and none are supported: "
            "leave it out of the name",
        )
    return Declaration(name, parse_fields(args))


def min_payload(fields: tuple[Field, ...]) -> int:
    """Return the fewest bytes a payload of these fields may have; the 8 header bytes do not count.

    Source: user_events contract, fields.md section 4.

    >>> min_payload(parse_fields("u32 a; __rel_loc char[] b"))
    8
    """
    return fields[-1].offset + fields[-1].size - RECORD_HEADER_SIZE if fields else 0


def fields_text(fields: tuple[Field, ...]) -> str:
    """Spell `fields` as the kernel lists them; `parse_fields` reads it back to the same fields.

    Source: user_events contract, fields.md section 7.

    >>> fields_text(parse_fields("u32 a;struct f64 b 08;"))
    'u32 a; struct f64 b 8'
    """
    return "; ".join(map(str, fields))


def _parse_field(piece: str, offset: int) -> Field:
    """Parse one field, its leading white space gone: TYPE NAME, or struct TAG NAME SIZE."""
    ctype, *rest = _split_field(piece)
    if not rest:
        raise _no_name(piece)
    size_at = 0
    if piece.startswith(STRUCT) and len(rest) > 1:
        size_at = len(ctype) + len(rest[0]) + 2
        size = _struct_size(piece, rest[1], size_at)
        last = 2
    else:
        size = _known_size(piece, ctype)
        last = 1
    if len(rest) > last:
        raise _too_many(piece, ctype, rest, last)
    if size > _INT_MAX:
        raise _negative_size(piece, size, size_at)
    return Field(ctype, rest[0], size, offset, is_signed(ctype))


def _split_field(piece: str) -> list[str]:
    """Split a field into its type and, at every single blank, the words after it."""
    prefix = next((prefix for prefix in _TYPE_PREFIXES if piece.startswith(prefix)), "")
    end = piece.find(" ", len(prefix))
    if end < 0:
        if prefix:
            raise _refused(piece, f"a name must follow the type, as in '{piece} NAME'", len(piece), 1)
        return [piece]
    return [piece[:end], *piece[end + 1 :].split(" ")]


def _known_size(piece: str, ctype: str) -> int:
    try:
        return field_size(ctype)
    except Refused as refusal:
        raise _refused(piece, refusal.reason, 0, len(ctype)) from None


def _struct_size(piece: str, text: str, at: int) -> int:
    size = unsigned(text, 10)
    if not size:
        raise _refused(piece, f"the size {text!r} is not a decimal from 1 to {_INT_MAX}", at, len(text))
    return size


def _negative_size(piece: str, size: int, at: int) -> BadField:
    """A size that the kernel's int holds as a negative number is returned as if it were an error."""
    number = (1 << 32) - size
    problem = f"the size {size} is more than {_INT_MAX}"
    return BadField(number if number <= _MAX_ERRNO else errno.EINVAL, piece, problem, at, len(piece) - at)


def _no_name(piece: str) -> BadField:
    at = next((at for at, char in enumerate(piece) if char in SPACES), -1)
    if at >= 0:
        problem = "type and name must be separated by one blank, not by a tab, a newline or the like"
        return _refused(piece, problem, at, 1)
    return _refused(piece, f"a name must follow the type, as in '{piece} NAME'", len(piece), 1)


def _too_many(piece: str, ctype: str, rest: list[str], last: int) -> BadField:
    if "" in rest:
        problem = "every blank counts: write exactly one between type and name, and none before ';' or at the end"
        number = rest.index("")
    else:
        problem = f"{rest[last]!r} follows {rest[last - 1]!r}: separate fields by ';'"
        number = last
    return _refused(piece, problem, len(ctype) + 1 + sum(len(word) + 1 for word in rest[:number]), len(rest[number]))


def _refused(piece: str, problem: str, at: int, size: int) -> BadField:
    return BadField(errno.EINVAL, piece, problem, at, size)
