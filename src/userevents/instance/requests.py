"""What a client may ask of a recording, in words: ``userevents/control`` takes one request a write.

finish          end the recording in the stream
rotate          end it, and begin the next one in the same instant
buffer SIZE     let every program recorded have at least so many bytes of ring
flight          hand out nothing: the programs' rings keep the newest, for dumps
dump NAME [NS]  put into this stream what the flight recording NAME holds, from a monotonic time on, and end
watch [FILTER]  put the events that patterns want into the rings, from their first record on, and none into the stream;
                with a filter as the kernel has them only what passes
until NS        let a capture end before that monotonic time; may be put off until it has ended
capture NAME NS put into this stream what the flight recording NAME holds from a monotonic time on, and what is
                written next, and end as `until` says
"""

import errno
from typing import Final, NamedTuple

from ..errors import Refused

_NUMBERS_OF_WORDS: Final = {
    "finish": (0,),
    "rotate": (0,),
    "buffer": (1,),
    "flight": (0,),
    "dump": (1, 2),
    "until": (1,),
    "capture": (2,),
}
_NAMING: Final = ("dump", "capture")
_DIGITS_MAX: Final = 19


class Request(NamedTuple):
    """One request: its verb, and the name and number that go with it, empty and 0 where none do."""

    verb: str
    name: str = ""
    number: int = 0


def parse_request(text: str) -> Request:
    """Read one request; EINVAL for one there is not."""
    verb, *words = text.split() or [""]
    if verb == "watch":
        return Request(verb, text.strip().removeprefix(verb).strip())
    if len(words) not in _NUMBERS_OF_WORDS.get(verb, ()):
        known = ", ".join((*_NUMBERS_OF_WORDS, "watch"))
        raise Refused(errno.EINVAL, f"a recording cannot be asked to '{text}'; the requests are: {known}")
    name = words.pop(0) if verb in _NAMING else ""
    return Request(verb, name, _number(words[0]) if words else 0)


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= _DIGITS_MAX):
        raise Refused(errno.EINVAL, f"'{word}' is no number of bytes or nanoseconds")
    return int(word)
