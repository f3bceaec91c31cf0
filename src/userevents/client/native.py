"""Whether the C writer is used. USEREVENTS_NATIVE=0 chooses its twin in pure Python, as does a machine without it.

And whether each thread has a ring of its own: where there is no GIL, or USEREVENTS_RINGS=thread asks for it.
"""

import os
import sys

from ..session import cursor
from ..session.writer import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from ..session.lanes import LanedWriter, Seats
    from ..session.producer import Session
    from ..session.writer import MakePlace
    from .exchange import Exchange

    SessionWriter = Writer | LanedWriter

_writer: "ModuleType | None" = None
if os.environ.get("USEREVENTS_NATIVE", "") != "0":
    try:
        from . import _writer
    except (ImportError, SystemError):  # not built; SystemError: built for Python with a GIL, and here is none
        pass

native: bool = _writer is not None
"""Whether events are written in C."""

Cursor: "MakePlace" = cursor.Cursor if _writer is None else _writer.Cursor

ring_per_thread: bool = "t" in sys.abiflags or os.environ.get("USEREVENTS_RINGS", "") == "thread"
"""Whether threads share no ring."""


def make_writer(session: "Session") -> "SessionWriter":
    """Return what writes the records of a session."""
    if not ring_per_thread:
        return Writer(session, Cursor)
    from ..session.lanes import LanedWriter, ThreadSeats

    make_seats: type[Seats] = getattr(_writer, "Seats", ThreadSeats)
    return LanedWriter(session, Cursor, make_seats())


def on_top_of(base: type) -> type | None:
    """Return the native class of events, which does by `base` what takes patience; None for there is none."""
    return None if _writer is None else _writer.event_type(base)


native_exchange: "Callable[..., Exchange] | None" = getattr(_writer, "begin_exchange", None)
"""`exchange.begin_exchange` in C."""
