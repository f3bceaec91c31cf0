"""Calls of one's own functions as events, while somebody listens. Python 3.12 and later.

For programs that nobody changed there is ``userevents record --calls``.
"""

from ..client import register
from ..providers.calls import watch
from ..providers.declarations import CALLS


def watch_calls(*patterns: str) -> bool:
    """Write `py_enter` and `py_leave` for functions of these patterns, ``"shop.*:Cart.*"``, from now on, while enabled.

    A thread looks ten times a second whether somebody listens (docs/providers.md). False where it cannot be had: before
    Python 3.12, or where two other tools hold the places in ``sys.monitoring``.
    """
    enter, leave = map(register, CALLS)
    return watch(patterns, enter, leave) is not None
