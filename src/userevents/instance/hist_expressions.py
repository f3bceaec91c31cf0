"""Arithmetic in keys and values of a histogram, which is not supported: what is said of it.

A mistake in an expression is told as the kernel tells it; one without a mistake is refused for being one.

Source: user_events contract, tracefs.md section 11.
"""

import errno
from collections.abc import Callable
from typing import Final, NoReturn

from ..errors import Refused
from .hist_text import HistRefused
from .triggers_text import read_number

NO_EXPRESSIONS: Final = "Expressions are not supported"
NO_NUMBER: Final = "Expecting numeric literal"
NO_STRINGS: Final = "String type can not be an operand in expression"
ZERO_DIVISION: Final = "Division by zero"

_OPERATORS: Final = "+-*/"
_DIGITS: Final = tuple("0123456789")


def is_expression(text: str) -> bool:
    """Whether `text` is more than the name of a field: it has an operator, or is a number.

    >>> is_expression("count.hex"), is_expression("count-1"), is_expression("1")
    (False, True, True)
    """
    return text.startswith(_DIGITS) or any(operator in text for operator in _OPERATORS)


def refuse_expression(text: str, is_string: Callable[[str], bool]) -> NoReturn:
    """Refuse an expression; `is_string` reads the name of a field, and may refuse that itself.

    Raises `HistRefused`: EINVAL, or EDOM for a division by a number that is 0. `Refused` (EINVAL) where an
    operand is missing, of which the kernel says nothing in the error log.
    """
    body = text[2:-1] if text.startswith("-(") and text.endswith(")") else text
    operands = [""]
    for char in body:
        if char in _OPERATORS:
            operands.append("")
        else:
            operands[-1] += char
    if "" in operands:
        raise Refused(errno.EINVAL, f"'{text}': an operand is missing beside an operator")
    for operand in operands:
        if operand.startswith(_DIGITS):
            _check_number(operand, divides=f"/{operand}" in body)
        elif is_string(operand):
            raise HistRefused(NO_STRINGS, operand)
    raise HistRefused(NO_EXPRESSIONS, text)


def _check_number(text: str, *, divides: bool) -> None:
    try:
        number = read_number(text, "a number")
    except Refused:
        raise HistRefused(NO_NUMBER, text) from None
    if divides and not number:
        raise HistRefused(ZERO_DIVISION, text, errno.EDOM)
