"""Arithmetic in keys and values of a histogram: fields and numbers joined by ``+ - * /``, and ``-(...)`` around it.

    expression := '-(' expression ')' | expression SIGN expression | FIELD[.MODIFIER] | NUMBER

There are no other brackets. The text is split at its last ``+`` or ``-``, else at its last ``*`` or ``/``; so a ``-``
within ``-(...)`` splits it, too, and leaves nothing that can be read. All numbers are unsigned and have 64 bits.

Source: user_events contract, tracefs.md section 11; recordings of a real kernel.
"""

import errno
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from ..errors import Refused
from ..fields import Field
from .hist_text import HistRefused
from .trigger_context import TriggerContext
from .triggers_text import UNSIGNED_LONG, read_number

NO_NUMBER: Final = "Expecting numeric literal"
NO_STRINGS: Final = "String type can not be an operand in expression"
OTHER_UNITS: Final = "Timestamp units in expression don't match"
TOO_MANY: Final = "Too many subexpressions (3 max)"
UNARY_INSIDE: Final = "Unary minus not supported in sub-expressions"
ZERO_DIVISION: Final = "Division by zero"

_OPERATORS_MAX: Final = 3
_MASK: Final = UNSIGNED_LONG - 1
_OPERATORS: Final = "+-*/"
_DIGITS: Final = tuple("0123456789")
_SHIFT: Final = 20


class Operand(Protocol):
    """A field as expressions see it."""

    @property
    def field(self) -> Field | None:
        """The event's own field, if it is one."""

    @property
    def operand_text(self) -> str:
        """How an expression's text has it."""

    @property
    def is_text(self) -> bool:
        """Whether it is a string, with which one cannot compute."""

    @property
    def in_usecs(self) -> bool:
        """Whether it is said to be a time in microseconds."""

    @property
    def uses_time(self) -> bool:
        """Whether it is the record's time stamp."""

    def number(self, record: bytes, context: TriggerContext, *, in_usecs: bool = False) -> int:
        """Its value in a record."""


Atom = Callable[[str], Operand]
"""Reads the name of a field, and may refuse it."""
Compute = Callable[[bytes, TriggerContext, bool], int]
"""Gives the value for a record, time stamps in microseconds or not."""


class Node(NamedTuple):
    """An expression, or a part of one."""

    text: str
    """As the trigger's line shows it: numbers in decimal, those that stand together as one."""
    compute: Compute
    fields: tuple[Operand, ...] = ()
    """Its fields in order; size and sign of the expression are those of the one that stands first."""
    number: int | None = None
    """The value of a number."""
    in_usecs: bool = False
    starts_with_field: bool = True


def is_expression(text: str) -> bool:
    """Whether `text` is more than the name of a field: it has an operator, or is a number.

    >>> is_expression("count.hex"), is_expression("count-1"), is_expression("1")
    (False, True, True)
    """
    return text.startswith(_DIGITS) or any(operator in text for operator in _OPERATORS)


def parse_expression(text: str, atom: Atom) -> Node:
    """Read an expression; `atom` reads a field, and may refuse it.

    Raises `HistRefused`: EINVAL, or EDOM for a division by a number that is 0. `Refused` (EINVAL) where an
    operand is missing, of which the kernel says nothing in the error log.
    """
    return _Parser(atom).parse(text)


class _Parser:
    """Reads one expression, of so many operators as the kernel allows."""

    def __init__(self, atom: Atom) -> None:
        self._atom = atom
        self._operators = 0

    def parse(self, text: str) -> Node:
        """Read an expression, or a part of one."""
        if self._operators > _OPERATORS_MAX:
            raise HistRefused(TOO_MANY, text)
        at = _root(text)
        if at is None:
            return self._leaf(text)
        self._operators += 1
        if at == 0 and text[0] == "-":
            return self._negated(text)
        if at in (0, len(text) - 1):
            raise Refused(errno.EINVAL, f"'{text}': an operand is missing beside '{text[at]}'")
        left = self._operand(text[:at])
        right = self._operand(text[at + 1 :])
        if left.in_usecs != right.in_usecs:
            raise HistRefused(OTHER_UNITS)
        return _joined(left, text[at], right, text[at + 1 :])

    def _operand(self, text: str) -> Node:
        found = self.parse(text)
        if len(found.fields) == 1 and found.fields[0].is_text:
            raise HistRefused(NO_STRINGS, text)
        return found

    def _leaf(self, text: str) -> Node:
        if text.startswith(_DIGITS):
            try:
                return _constant(read_number(text, "a number"))
            except Refused:
                raise HistRefused(NO_NUMBER, text) from None
        field = self._atom(text)

        def compute(record: bytes, context: TriggerContext, in_usecs: bool) -> int:
            return field.number(record, context, in_usecs=in_usecs)

        return Node(field.operand_text, compute, (field,), in_usecs=field.in_usecs)

    def _negated(self, text: str) -> Node:
        """Read ``-(...)``."""
        end = text.rfind(")")
        if "(" not in text or end < 2:
            raise Refused(errno.EINVAL, f"'{text}': a minus needs brackets: write -(...)")
        if end != len(text) - 1:
            raise HistRefused(UNARY_INSIDE, text[2:])
        inner = self._operand(text[2:end])
        return inner._replace(
            text=f"-({inner.text})", compute=lambda *record: -inner.compute(*record) & _MASK, number=None
        )


def _root(text: str) -> int | None:
    """Where the operator stands that is carried out last; 0 for a ``-`` that negates all."""
    if text.rfind("-") == 0:
        return 0
    for signs in ("+-", "*/"):
        at = max(map(text.rfind, signs))
        if at >= 0:
            return at
    return None


def _constant(number: int) -> Node:
    return Node(str(number), lambda *_: number, number=number, starts_with_field=False)


def _joined(left: Node, sign: str, right: Node, divisor: str) -> Node:
    operation = _OPERATIONS[sign]
    if sign == "/" and right.number is not None:
        if not right.number:
            raise HistRefused(ZERO_DIVISION, divisor, errno.EDOM)
        operation = _divide_by_number
    if left.number is not None and right.number is not None:
        return _constant(operation(left.number, right.number))
    return Node(
        f"{left.text}{sign}{right.text}",
        lambda *record: operation(left.compute(*record), right.compute(*record)),
        left.fields + right.fields,
        in_usecs=left.in_usecs,
        starts_with_field=left.starts_with_field,
    )


def _divide(value: int, divisor: int) -> int:
    return value // divisor if divisor else _MASK


def _divide_by_number(value: int, divisor: int) -> int:
    """Divide by a number as the kernel does: by multiplying and shifting where both are small, which rounds up.

    >>> _divide_by_number(10, 3), _divide_by_number(12, 4), _divide_by_number(1 << 21, 3)
    (4, 3, 699050)
    """
    if not divisor & (divisor - 1) or divisor > 1 << _SHIFT or value >= 1 << _SHIFT:
        return value // divisor
    return value * ((1 << _SHIFT) // divisor) + (1 << _SHIFT) - 1 >> _SHIFT


_OPERATIONS: Final[dict[str, Callable[[int, int], int]]] = {
    "+": lambda left, right: left + right & _MASK,
    "-": lambda left, right: left - right & _MASK,
    "*": lambda left, right: left * right & _MASK,
    "/": _divide,
}
