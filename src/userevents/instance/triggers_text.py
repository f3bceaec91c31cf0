"""The text of a trigger command: ``[!]CMD[:ARGS][ if FILTER]``, and how the kernel cuts it up.

Source: user_events contract, tracefs.md section 11.
"""

import errno
import re
from typing import Final, NamedTuple

from ..errors import Refused
from ..fields import Field
from ..fields.filter import Filter, FilterError, parse_filter
from ..fields.kernel_text import SPACES, require_bytes
from .trigger_context import FILTER_LOCATION, TriggerContext

COMMAND_LIMIT: Final = 4096
UNSIGNED_LONG: Final = 1 << 64
_DIGITS: Final = {8: "01234567", 10: "0123456789", 16: "0123456789abcdefABCDEF"}


class Order(NamedTuple):
    """One command as written: its word, whether it removes, and what follows the word (None if nothing does)."""

    command: str
    remove: bool
    rest: str | None


class Condition(NamedTuple):
    """The ``if`` of a trigger: its text as written, and what it means."""

    text: str
    filter: Filter


def parse_order(text: str) -> Order:
    """Cut a command off its arguments, at the first colon, blank or tab.

    The kernel stops reading at a NUL, and takes white space off both ends.

    >>> parse_order(" !traceoff:3 if a == 1")
    Order(command='traceoff', remove=True, rest='3 if a == 1')
    """
    text = text.partition("\0")[0]
    require_bytes(text)
    if len(text) >= COMMAND_LIMIT:
        raise Refused(errno.EINVAL, f"a trigger of {len(text)} characters: it can have {COMMAND_LIMIT - 1}")
    command, rest = cut(text.strip(SPACES), ": \t")
    return Order(command.removeprefix("!"), command.startswith("!"), None if rest is None else rest.lstrip(SPACES))


def cut(text: str, delimiters: str) -> tuple[str, str | None]:
    """Return what stands before the first of `delimiters`, and what follows it (None where there is none).

    >>> cut("a:b c", ": "), cut("a", ":")
    (('a', 'b c'), ('a', None))
    """
    found = re.search(f"[{delimiters}]", text)
    return (text[: found.start()], text[found.end() :]) if found else (text, None)


def split_condition(rest: str) -> tuple[str, str | None]:
    """Return the arguments, and the ``if FILTER`` after them (None where nothing follows)."""
    args, clause = cut(rest, " \t")
    return args, clause.lstrip(SPACES) or None if clause is not None else None


def parse_condition(clause: str | None, fields: tuple[Field, ...], context: TriggerContext) -> Condition | None:
    """Read ``if FILTER``; what is wrong with the filter goes into the error log, too.

    Raises `Refused`: EINVAL, or the filter's own errno.
    """
    if clause is None:
        return None
    word, text = cut(clause, " \t")
    if word != "if" or text is None:
        raise Refused(errno.EINVAL, f"'{clause}' after a trigger: only 'if FILTER' can stand there")
    try:
        return Condition(text, parse_filter(text, fields, cpus=context.cpus))
    except FilterError as error:
        context.log_error(FILTER_LOCATION, error.message or "Error", text, error.position)
        raise


def read_number(text: str, what: str) -> int:
    """Read an unsigned 64-bit number, 0x and 0 telling its base.

    Raises `Refused`: ERANGE where it is too large, EINVAL where it is none.

    >>> read_number("0x10", "a count"), read_number("+010", "a count")
    (16, 8)
    """
    digits = text.removeprefix("+").removesuffix("\n")
    base = 10
    if digits.startswith("0"):
        base = 16 if digits[1:2] in ("x", "X") and digits[2:3] in set(_DIGITS[16]) else 8
    digits = digits[2:] if base == 16 else digits
    leading = digits[: len(digits) - len(digits.lstrip(_DIGITS[base]))]
    significant = leading.lstrip("0")
    if len(significant) > 22 or int(significant or "0", base) >= UNSIGNED_LONG:
        raise Refused(errno.ERANGE, f"'{text}' as {what}: it can be up to {UNSIGNED_LONG - 1}")
    if not digits or leading != digits:
        raise Refused(errno.EINVAL, f"'{text}' as {what}: write a number, such as 3 or 0x10")
    return int(significant or "0", base)
