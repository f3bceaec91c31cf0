"""Text as the kernel handles it: which bytes are white space, how words split, how numbers are read.

A kernel text is a `str` in which every character stands for one byte (latin-1), so that any bytes a
program hands over come back unchanged. Python's own `str.split`, `str.strip` and `int` follow
Unicode and Python rules, which differ from the kernel's: nothing in this room may use them on such text.
"""

import errno
from typing import Final

from ..errors import Refused

SPACES: Final = "\t\n\v\f\r \xa0"
"""What the kernel's isspace() accepts: the six of ASCII, and 0xa0 (which also cuts UTF-8 letters such as 'à')."""

_SPACE_TO_BLANK: Final = dict.fromkeys(map(ord, SPACES), " ")
_DIGITS: Final = {8: "01234567", 10: "0123456789", 16: "0123456789abcdefABCDEF"}
_UINT_MAX: Final = 0xFFFFFFFF
_DIGITS_MAX: Final = 22
"""Significant digits of 2^64 in octal. Python itself refuses to read very long decimals."""


def words(text: str) -> list[str]:
    """Split `text` on runs of kernel white space.

    >>> words("u32  a;\\tu32 b\\xa0")
    ['u32', 'a;', 'u32', 'b']
    """
    return [word for word in text.translate(_SPACE_TO_BLANK).split(" ") if word]


def unsigned(text: str, base: int, maximum: int = _UINT_MAX) -> int | None:
    """Read an unsigned number up to `maximum` (below 2^64) as kstrtouint() does; None where that refuses.

    `base` 0 means by prefix: 0x is hexadecimal, another leading 0 octal. One leading ``+`` and one trailing
    newline are let through; blanks, underscores and a minus are not.

    Source: user_events contract, fields.md sections 2 and 3.

    >>> unsigned("0x14", 0), unsigned("024", 0), unsigned("+20\\n", 10), unsigned("0x14", 10)
    (20, 20, 20, None)
    """
    digits = text.removeprefix("+").removesuffix("\n")
    if base == 0:
        base = _base_of(digits)
    if base == 16:
        digits = digits[2:]
    if not digits or digits.strip(_DIGITS[base]):
        return None
    significant = digits.lstrip("0")
    if len(significant) > _DIGITS_MAX:
        return None
    number = int(significant or "0", base)
    return number if number <= maximum else None


def _base_of(digits: str) -> int:
    if not digits.startswith("0"):
        return 10
    hexadecimal = digits[1:2] in ("x", "X") and digits[2:3] != "" and digits[2] in _DIGITS[16]
    return 16 if hexadecimal else 8


def require_bytes(text: str) -> None:
    """Refuse, with EINVAL, text that no C program could have handed to the kernel.

    That is a NUL, at which the kernel would stop reading, and a character above U+00FF, which is no byte.
    """
    if "\0" in text:
        raise Refused(errno.EINVAL, f"{text!r} has a NUL, at which the kernel stops reading: leave it out")
    wide = next((char for char in text if char > "\xff"), None)
    if wide is not None:
        raise Refused(
            errno.EINVAL,
            f"{text!r} has {wide!r}, which is no single byte: hand over UTF-8 as text.encode().decode('latin-1')",
        )
