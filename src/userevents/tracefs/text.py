"""How files of the tree read numbers and lines out of what is written to them.

Source: user_events contract, tracefs.md (head).
"""

import errno

from ..abi import tracefs as abi
from ..errors import Refused
from .node import OpenNode

_ULONG_MAX = (1 << 64) - 1
_SPACES = "\t\n\v\f\r \xa0"


def parse_unsigned(data: bytes) -> int:
    """A decimal number as "integer" files take it: one ``+`` before, one newline after, ended by a NUL.

    EINVAL for what is no such number, ERANGE for one of more than 64 bits.
    """
    text = data.split(b"\0", 1)[0]
    digits = text.removesuffix(b"\n").removeprefix(b"+")
    if not digits.isdigit():
        raise Refused(errno.EINVAL, f"'{data[:40].decode('latin-1')}' is not a decimal number")
    if len(digits) > 20 and digits.lstrip(b"0")[20:]:
        raise Refused(errno.ERANGE, "the number has more than 64 bits")
    number = int(digits)
    if number > _ULONG_MAX:
        raise Refused(errno.ERANGE, f"'{number}' has more than 64 bits")
    return number


def command_text(data: bytes) -> str:
    """The command in a write: up to a NUL, white space around it left out; EINVAL when it is longer than a page."""
    if len(data) > abi.COMMAND_TEXT_MAX:
        raise Refused(errno.EINVAL, f"a command of {len(data)} bytes; at most {abi.COMMAND_TEXT_MAX} fit")
    return data.partition(b"\0")[0].decode("latin-1").strip(_SPACES)


def truncates(node: OpenNode) -> bool:
    """Whether opening `node` empties the file."""
    return bool(node.flags & abi.O_TRUNC) and node.flags & abi.O_ACCMODE != abi.O_RDONLY


def text_lines(data: bytes) -> list[str]:
    """The lines of a write to one of our own files, trimmed, blank ones left out; one character a byte."""
    lines = (line.strip(" \t\r") for line in data.decode("latin-1").split("\n"))
    return [line for line in lines if line]
