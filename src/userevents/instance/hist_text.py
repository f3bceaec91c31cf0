"""The text of a hist command: ``keys=K[,K][:vals=V][:sort=S][:size=N]...``, cut into its parts and nothing more.

Source: user_events contract, tracefs.md sections 11 and 12.
"""

import errno
from typing import Any, Final, NamedTuple

from ..errors import Refused
from ..fields.kernel_text import SPACES
from .triggers_text import read_number

BITS_MIN: Final = 7
BITS_MAX: Final = 17
BITS_DEFAULT: Final = 11
ACTIONS_MAX: Final = 8
VARIABLES_MAX: Final = 16

EMPTY_ASSIGNMENT: Final = "Empty assignment"
TOO_MANY_VARIABLES: Final = "Too many variables defined"
NO_VARIABLES: Final = "Variables are not supported"
NO_ACTIONS: Final = "Actions are not supported"

_ACTIONS: Final = ("onmatch(", "onmax(", "onchange(")
_LISTS: Final = {
    "key=": "keys",
    "keys=": "keys",
    "val=": "vals",
    "vals=": "vals",
    "values=": "vals",
    "sort=": "sort",
    "clock=": "clock",
}
_WORDS: Final = {
    "nohitcount": "no_hitcount",
    "NOHC": "no_hitcount",
    "pause": "pause",
    "cont": "cont",
    "continue": "cont",
    "clear": "clear",
}


class HistRefused(Refused):
    """A refused hist command that the error log tells of.

    `message` is the log's text; the caret stands under the first `word` of the command, or under its first
    character where the word is not in it.
    """

    def __init__(self, message: str, word: str = "", number: int = errno.EINVAL) -> None:
        super().__init__(number, f"{message}{f': {word!r}' if word else ''}")
        self.message = message
        self.word = word


class HistText(NamedTuple):
    """The parts of a hist command; None where one is not there."""

    keys: str
    vals: str | None = None
    sort: str | None = None
    name: str = ""
    clock: str = "global"
    bits: int = BITS_DEFAULT
    """The table's size is two to this power."""
    no_hitcount: bool = False
    pause: bool = False
    cont: bool = False
    clear: bool = False


def parse_hist_text(text: str) -> HistText:
    """Cut `text`, which is what stands between ``hist:`` and `` if``.

    Raises `HistRefused`, or `Refused` (EINVAL) where the kernel says nothing in the error log. Variables and
    actions are read as the kernel reads them, and then refused, all of them.

    >>> parse_hist_text("keys=a,b:size=200:pause")[:6]
    ('a,b', None, None, '', 'global', 8)
    """
    parts: dict[str, Any] = {}
    refusals: list[HistRefused] = []
    variables = actions = 0
    for piece in text.split(":"):
        label, equals, value = piece.partition("=")
        if equals and not value:
            raise HistRefused(EMPTY_ASSIGNMENT, piece)
        if equals and _assign(parts, label + equals, value):
            continue
        if equals:
            variables += 1
            if variables > VARIABLES_MAX:
                raise HistRefused(TOO_MANY_VARIABLES, piece)
            refusals.append(HistRefused(NO_VARIABLES, piece))
        elif piece in _WORDS:
            parts[_WORDS[piece]] = True
        else:
            actions += 1
            if not piece.startswith(_ACTIONS) or actions > ACTIONS_MAX:
                raise Refused(errno.EINVAL, f"'{piece}' says nothing to a histogram; it has keys=, vals=, sort=, size=")
            refusals.append(HistRefused(NO_ACTIONS, piece))
    if "keys" not in parts:
        raise Refused(errno.EINVAL, f"'{text}': a histogram needs keys; write keys=FIELD")
    if refusals:
        raise refusals[0]
    return HistText(**parts)


def split_filter(text: str) -> tuple[str, str | None]:
    """Return what stands before the `` if`` of a hist command, and the ``if FILTER``.

    It is the first ``if`` with a blank or tab on both sides; but one that begins the text, or comes too close
    to its end, is refused (EINVAL) before that is looked at.

    >>> split_filter("keys=a if b == 1")
    ('keys=a', 'if b == 1')
    """
    at = text.find("if")
    while at >= 0:
        if at == 0:
            raise Refused(errno.EINVAL, f"'{text}': what is to be counted must stand before the filter")
        if text[at - 1] in " \t":
            if at >= len(text) - 3:
                raise Refused(errno.EINVAL, f"'{text}': a filter must follow 'if'")
            if text[at + 2] in " \t":
                return text[: at - 1].strip(SPACES), text[at:].strip(SPACES)
        at = text.find("if", at + 1)
    return text, None


def _assign(parts: dict[str, Any], label: str, value: str) -> bool:
    """Take in ``LABEL=VALUE``; False where the label is none of ours."""
    if label == "size=":
        parts["bits"] = _bits(value)
    elif label == "name=":
        parts["name"] = value
    elif label in _LISTS:
        parts[_LISTS[label]] = value.strip(SPACES) if label == "clock=" else value
    else:
        return False
    return True


def _bits(text: str) -> int:
    try:
        size = read_number(text, "a histogram's size")
    except Refused as refusal:
        raise Refused(errno.EINVAL, refusal.reason) from None
    bits = (size - 1).bit_length() if size else 0
    if not BITS_MIN <= bits <= BITS_MAX:
        raise Refused(errno.EINVAL, f"size={text}: a histogram can have {1 << BITS_MIN} to {1 << BITS_MAX} entries")
    return bits
