"""What a client may ask of a recording, in words: ``userevents/control`` takes one request a write.

finish          end the recording in the stream
rotate          end it, and begin the next one in the same instant
buffer SIZE     let every program recorded have at least so many bytes of ring
flight          hand out nothing: the programs' rings keep the newest, for dumps
dump NAME [NS]  put into this stream what the flight recording NAME holds, from a monotonic time on, and end
"""

import errno
from typing import Final, NamedTuple

from ..errors import Refused

_NUMBERS_OF_WORDS: Final = {"finish": (0,), "rotate": (0,), "buffer": (1,), "flight": (0,), "dump": (1, 2)}
_DIGITS_MAX: Final = 18


class Request(NamedTuple):
    """One request: its verb, and the name and number that go with it, empty and 0 where none do."""

    verb: str
    name: str = ""
    number: int = 0


def parse_request(text: str) -> Request:
    """Read one request; EINVAL for one there is not."""
    verb, *words = text.split() or [""]
    if len(words) not in _NUMBERS_OF_WORDS.get(verb, ()):
        known = ", ".join(_NUMBERS_OF_WORDS)
        raise Refused(errno.EINVAL, f"a recording cannot be asked to '{text}'; the requests are: {known}")
    name = words.pop(0) if verb == "dump" else ""
    return Request(verb, name, _number(words[0]) if words else 0)


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= _DIGITS_MAX):
        raise Refused(errno.EINVAL, f"'{word}' is no number of bytes or nanoseconds")
    return int(word)
