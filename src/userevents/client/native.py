"""Whether the C writer is used. USEREVENTS_NATIVE=0 chooses its twin in pure Python, as does a machine without it."""

import os
import sys

from ..session import cursor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from ..session.writer import MakePlace

_writer: "ModuleType | None" = None
if os.environ.get("USEREVENTS_NATIVE", "") != "0" and "t" not in sys.abiflags:
    try:
        from . import _writer
    except ImportError:
        pass

native: bool = _writer is not None
"""Whether events are written in C."""

Cursor: "MakePlace" = cursor.Cursor if _writer is None else _writer.Cursor


def on_top_of(base: type) -> type | None:
    """Return the native class of events, which does by `base` what takes patience; None for there is none."""
    return None if _writer is None else _writer.event_type(base)
