"""Linux user_events in user space: typed trace events that cost next to nothing while nobody listens.

from userevents import event, u32, s64, char16

@event
def request(id: u32, latency_ns: s64, method: char16, path: str) -> None:
    "One HTTP request."

request(1, 250_000, "GET", path="/x")
"""

from typing import TYPE_CHECKING

from .client import (
    Event,
    char,
    char8,
    char16,
    char32,
    char64,
    char128,
    char256,
    context,
    data_loc,
    event,
    f64,
    from_context,
    register,
    rel_loc,
    s8,
    s16,
    s32,
    s64,
    struct,
    u8,
    u16,
    u32,
    u64,
    uchar,
)
from .errors import Malformed, NoTracer, Refused, Unusable, UserEventsError

if TYPE_CHECKING:
    import os

    from .formats.opened import OpenTrace

__version__ = "0.1.0"

__all__ = [  # not `open`: whoever imports all of this would lose Python's own
    "Event",
    "Malformed",
    "NoTracer",
    "Refused",
    "Unusable",
    "UserEventsError",
    "char",
    "char8",
    "char16",
    "char32",
    "char64",
    "char128",
    "char256",
    "context",
    "data_loc",
    "event",
    "f64",
    "from_context",
    "register",
    "rel_loc",
    "s8",
    "s16",
    "s32",
    "s64",
    "struct",
    "u8",
    "u16",
    "u32",
    "u64",
    "uchar",
]


def open(path: "str | os.PathLike[str]") -> "OpenTrace":
    """Open a trace file to read its records: a trace.dat, or the FILE.part of a recorder that was killed.

    Raises `OSError` if it cannot be opened and `Malformed` if it is no trace.

    with userevents.open("trace.dat") as trace:
        for record in trace:
            print(record.time_ns, record.process, record.event, dict(record))
        print(len(trace["request"]), trace.losses)
    """
    from .formats.opened import open_for_people  # not needed in a traced program, and slow to import

    return open_for_people(path if isinstance(path, str) else path.__fspath__())
