"""What a histogram reads from a record: a field or something else, and the modifier that says how to take it.

Source: user_events contract, tracefs.md section 11.
"""

import errno
from typing import Final, NamedTuple

from ..errors import Refused
from ..fields import Field
from ..fields.format import COMMON_FIELDS
from ..fields.payload import dynamic_range
from ..fields.types import DATA_STRING, REL_STRING, STATIC_STRING, filter_class
from .hist_expressions import Node, is_expression, parse_expression
from .hist_text import NO_VARIABLES, HistRefused
from .trigger_context import TriggerContext
from .triggers_text import UNSIGNED_LONG, read_number

EXPRESSION: Final = "expression"
FIELD: Final = "field"
CPU: Final = "common_cpu"
HITCOUNT: Final = "hitcount"
STACKTRACE: Final = "common_stacktrace"
TIMESTAMP: Final = "common_timestamp"

MASK: Final = UNSIGNED_LONG - 1
STRING_MAX: Final = 256
"""Room for a dynamic string in a key, its NUL included."""
STACK_SIZE: Final = 128

BAD_MODIFIER: Final = "Invalid field modifier"
NO_FIELD: Final = "Couldn't find field"

_ALWAYS: Final = {CPU: CPU, HITCOUNT: HITCOUNT, STACKTRACE: STACKTRACE, TIMESTAMP: TIMESTAMP}
_GENERIC: Final = {"cpu": CPU, "CPU": CPU, "stacktrace": STACKTRACE, "STACKTRACE": STACKTRACE}
"""Other names, which an event's own fields come before."""
_PLAIN_MODIFIERS: Final = {
    "hex": "hex",
    "sym": "sym",
    "symXoffset": "sym-offset",
    "syscall": "syscall",
    "stacktrace": "stacktrace",
    "log2": "log2",
    "usecs": "usecs",
}
_NOT_ON_VALUES: Final = ("log2", "buckets", "sym", "sym-offset", "syscall")
_STRINGS: Final = (STATIC_STRING, DATA_STRING, REL_STRING)
_NUMBER_SIZES: Final = (1, 2, 4, 8)
_TEXT_ADDRESS: Final = 0xFFFF888000000000
"""Where the kernel computes with a string's address, we have none: this stands for it."""


class HistField(NamedTuple):
    """One key or value of a histogram."""

    source: str
    """`FIELD`, `CPU`, `HITCOUNT`, `STACKTRACE`, `TIMESTAMP` or `EXPRESSION`."""
    name: str
    field: Field | None = None
    modifier: str = ""
    buckets: int = 0
    node: Node | None = None
    """What an expression computes; its `field` is the one that stands first."""

    @property
    def label(self) -> str:
        """What stands before its number, and what ``sort=`` calls it."""
        if self.node is not None:
            return self.name if self.node.number is None else ""
        return "" if self.source == HITCOUNT and self.modifier in ("log2", "buckets") else self.name

    @property
    def shown(self) -> str:
        """How the trigger's line lists it."""
        if self.source == STACKTRACE:
            return STACKTRACE
        if self.node is not None:
            return self.name
        name = self.label if self.source in (FIELD, HITCOUNT) else self.source
        modifier = f".{self.modifier}" if self.modifier else ""
        if self.modifier == "buckets":
            signed = self.buckets - UNSIGNED_LONG if self.buckets >> 63 else self.buckets
            return f"{name}{modifier}={signed}"
        return name + modifier

    @property
    def operand_text(self) -> str:
        """How an expression's text has it."""
        if self.source == STACKTRACE:
            return f"{STACKTRACE}.stacktrace"
        return f"{self.label}.{self.modifier}" if self.modifier else self.label

    @property
    def in_usecs(self) -> bool:
        """Whether it is said to be a time in microseconds."""
        return self.modifier == "usecs" if self.node is None else self.node.in_usecs

    @property
    def uses_time(self) -> bool:
        """Whether it is, or is computed of, the record's time stamp."""
        return self.source == TIMESTAMP or (self.node is not None and any(f.uses_time for f in self.node.fields))

    @property
    def is_hidden(self) -> bool:
        """Whether it is counted as a value and not shown: all that is computed of fields."""
        return self.node is not None and self.node.number is None

    @property
    def is_text(self) -> bool:
        """Whether it is a string, as a key."""
        return self._is_string and self.node is None and self.modifier not in ("log2", "buckets")

    @property
    def key_size(self) -> int:
        """The bytes it takes in a key."""
        if self.source == STACKTRACE:
            return STACK_SIZE
        if not self.is_text or self.field is None:
            return 8
        return (self.field.size + 7) & ~7 if filter_class(self.field.ctype) == STATIC_STRING else STRING_MAX

    def same_as(self, other: "HistField") -> bool:
        """Whether two triggers mean the same by it; where it lies in a record, and how wide buckets are, aside.

        Of expressions only the sign matters, and whether they are numbers.
        """
        return self._identity == other._identity

    @property
    def _identity(self) -> tuple[object, ...]:
        if self.node is not None:
            return self.source, self.node.number is None, self.field is not None and self.field.signed
        kind_of = None if self.field is None else (self.field.ctype, self.field.size, self.field.signed)
        return self.source, self.name, self.modifier, kind_of

    def number(self, record: bytes, context: TriggerContext, *, in_usecs: bool = False) -> int:
        """Its value, sign-extended to 64 bits and taken as unsigned.

        >>> from ..fields import parse_fields
        >>> minus_two = HistField(FIELD, "a", parse_fields("s16 a")[0])
        >>> minus_two.number(bytes(8) + b"\\xfe\\xff", None)
        18446744073709551614
        """
        if self.source == HITCOUNT:
            return 1  # whatever its modifier
        if self.node is not None:
            return self.node.compute(record, context, in_usecs)
        value = self._raw(record, context, in_usecs)
        if self.modifier == "log2":
            return max(value - 1, 0).bit_length()
        return value - value % self.buckets if self.buckets else value

    def key(self, record: bytes, context: TriggerContext, *, in_usecs: bool = False) -> bytes:
        """Its bytes in a key: the number, or the text with NULs up to `key_size`."""
        if self.source == STACKTRACE:
            return bytes(STACK_SIZE)
        if not self.is_text:
            return self.number(record, context, in_usecs=in_usecs).to_bytes(8, "little")
        return self._text(record)[: self.key_size - 1].partition(b"\0")[0].ljust(self.key_size, b"\0")

    @property
    def _is_string(self) -> bool:
        return self.field is not None and filter_class(self.field.ctype) in _STRINGS

    def _raw(self, record: bytes, context: TriggerContext, in_usecs: bool) -> int:
        if self.field is not None:
            if self._is_string:
                return _TEXT_ADDRESS
            data = record[self.field.offset : self.field.offset + self.field.size]
            return int.from_bytes(data, "little", signed=self.field.signed) & MASK
        if self.source == CPU:
            return context.cpu
        if self.source == TIMESTAMP:
            return context.now_ns // 1000 if in_usecs and context.clock_in_ns else context.now_ns
        return 0

    def _text(self, record: bytes) -> bytes:
        if self.field is None:
            return b""
        kind = filter_class(self.field.ctype)
        if kind == STATIC_STRING:
            return record[self.field.offset : self.field.offset + self.field.size]
        start, size = dynamic_range(self.field.offset, record, kind == REL_STRING)
        return record[start : start + size] if start >= 0 else b""


def parse_key(text: str, fields: tuple[Field, ...]) -> HistField:
    """Read one of ``keys=``; raises `HistRefused`, or ENOMEM for a struct that is no number."""
    return _parse(text, fields, on_value=False)


def parse_value(text: str, fields: tuple[Field, ...]) -> HistField:
    """Read one of ``vals=``; refusals as `parse_key`."""
    found = _parse(text, fields, on_value=True)
    if found.modifier in _NOT_ON_VALUES or found.source == STACKTRACE:
        # The kernel has cut the text behind SYSTEM by now, and looks for what is left of it.
        raise HistRefused(BAD_MODIFIER, text.partition(".")[0] if text.count(".") >= 2 else text)
    return found


def _parse(text: str, fields: tuple[Field, ...], *, on_value: bool) -> HistField:
    if not is_expression(text):
        return _parse_atom(text, fields, on_value=on_value)
    node = parse_expression(text, lambda name: _parse_atom(name, fields, on_value=True))
    first = node.fields[0].field if node.fields and node.starts_with_field else None
    return HistField(EXPRESSION, node.text, first, node=node)


def _parse_atom(text: str, fields: tuple[Field, ...], *, on_value: bool) -> HistField:
    """Read ``[SYSTEM.EVENT.]NAME[.MODIFIER]``. Whatever SYSTEM and EVENT are, the field is one of our own event."""
    if text.count(".") >= 2:
        text = text.split(".", 2)[2]
    if text.startswith("$") and text != "$":
        raise HistRefused(NO_VARIABLES, text)
    name, dot, word = text.partition(".")
    modifier, buckets = _parse_modifier(name, word, on_value=on_value) if dot else ("", 0)
    # The kernel finds a field declared twice at its last place.
    found = next((field for field in (*reversed(fields), *COMMON_FIELDS) if field.name == name), None)
    if name not in _ALWAYS and name not in _GENERIC and found is None:
        raise HistRefused(NO_FIELD, name)
    if modifier == "stacktrace":  # is for arrays of addresses, which no user event has
        raise HistRefused(BAD_MODIFIER, text)
    if name in _ALWAYS:
        return HistField(name, name, None, modifier, buckets)
    if found is None:
        source = _GENERIC[name]
        return HistField(source, STACKTRACE if source == STACKTRACE else name, None, modifier, buckets)
    if filter_class(found.ctype) not in _STRINGS and found.size not in _NUMBER_SIZES:
        raise Refused(
            errno.ENOMEM, f"'{name}' has {found.size} bytes: a histogram reads numbers of 1, 2, 4 or 8, and text"
        )
    return HistField(FIELD, name, found, modifier, buckets)


def _parse_modifier(name: str, word: str, *, on_value: bool) -> tuple[str, int]:
    if word in _PLAIN_MODIFIERS:
        return _PLAIN_MODIFIERS[word], 0
    if word == "execname" and name == "common_pid":
        return word, 0
    if word.startswith("bucket"):
        word = word.removeprefix("bucket").removeprefix("s")
        if word.startswith("="):
            return "buckets", _buckets(word[1:])
    elif on_value:
        for modifier in ("percent", "graph"):
            if word.startswith(modifier):
                return modifier, 0
    raise HistRefused(BAD_MODIFIER, word)


def _buckets(text: str) -> int:
    try:
        number = read_number(text, "a bucket's width")
    except Refused:
        number = 0
    if not number:
        raise HistRefused(BAD_MODIFIER, text)
    return number
