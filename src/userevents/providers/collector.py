"""The `gc` provider: one event at the end of each run of the garbage collector.

The collector calls back before and after; it never runs twice at once, so one start time is enough. An exception in a
callback would be printed by the interpreter, hence the guard.
"""

from __future__ import annotations

import gc
import time

from . import guard
from .events import declared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..client import Event

_callbacks: list[gc._CallbackType] = []


def start(declarations: Sequence[str]) -> None:
    """Declare the event and join the collector's callbacks."""
    (declaration,) = declarations
    _callbacks.append(make_callback(declared(declaration)))
    gc.callbacks.append(_callbacks[-1])


def stop() -> None:
    """Leave the collector's callbacks."""
    while _callbacks:
        gc.callbacks.remove(_callbacks.pop())


def make_callback(event: Event[...]) -> gc._CallbackType:
    """Return the callback that writes `event` after each collection that began while it was recorded."""
    began = 0
    now, absorb = time.perf_counter_ns, guard.absorb

    def callback(phase: str, info: dict[str, int]) -> None:
        nonlocal began
        try:
            if phase == "start":
                began = now() if event else 0
            elif began:
                event(info["generation"], info["collected"], info["uncollectable"], now() - began)
                began = 0
        except Exception as error:
            absorb(error)

    return callback
