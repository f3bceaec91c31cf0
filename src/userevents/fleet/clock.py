"""Comparing a host's clock with ours, by asking its agent over the broker.

Some questions one after the other; the one that was answered soonest says most: the host read its clock somewhere
between our two readings, so the offset is half-way, give or take half of that time less what the host took itself.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from . import names
from .merged import Sample

if TYPE_CHECKING:
    from .connection import Connection

QUESTIONS: Final = 5
_ANSWER_S: Final = 0.5


class Compared(NamedTuple):
    """What a host's agent answered: which run of it, and its clock beside ours."""

    run: str
    sample: Sample


def compared(asked_ns: int, answered_ns: int, answer: bytes) -> Compared | None:
    """Return what an answer says, that came between two readings of our clock; None for nonsense.

    >>> compared(1000, 2000, b"a1 500100 500300")
    Compared(run='a1', sample=Sample(here_ns=1500, there_ns=500200, uncertainty_ns=400))
    """
    words = answer.split(b" ")
    if len(words) != 3 or not all(word.isdigit() and len(word) <= 19 for word in words[1:]) or not words[0].isalnum():
        return None
    came_ns, went_ns = int(words[1]), int(words[2])
    inside_ns = answered_ns - asked_ns - (went_ns - came_ns)
    if went_ns < came_ns or inside_ns < 0:
        return None
    middle_ns = (asked_ns + answered_ns) // 2
    return Compared(words[0].decode("ascii"), Sample(middle_ns, (came_ns + went_ns) // 2, (inside_ns + 1) // 2))


async def compare(broker: "Connection", host: str, questions: int = QUESTIONS) -> Compared | None:
    """Ask a host for its clock, and return the best answer; None if it gives none."""
    from nats import errors

    best: Compared | None = None
    subject = names.ask_subject(host, "clock")
    for _ in range(questions):
        asked_ns = time.monotonic_ns()
        try:
            answer = await broker.client.request(subject, b"", timeout=_ANSWER_S)
        except (errors.Error, TimeoutError, OSError):
            break
        found = compared(asked_ns, time.monotonic_ns(), answer.data)
        if found and (best is None or found.sample.uncertainty_ns < best.sample.uncertainty_ns):
            best = found
        await asyncio.sleep(0)
    return best
