"""What stands between a provider and the program: no exception of ours gets out, none of the program's is lost.

A provider's code runs inside the program's own calls, so an exception that left it would abort what the program was
doing. Swallowing everything is wrong too: a signal can arrive while a provider runs, and Python then calls the
program's handler right there. What that handler raises (a job's timeout, say) belongs to the program.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` would import enum
import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, TracebackType


class Busy(_thread._local):
    """A flag that each thread has for itself: `now` is true while that thread is inside the provider."""

    now = False

    def begin(self) -> None:
        """Mark this thread as busy."""
        self.now = True

    def end(self) -> None:
        """Take the mark away."""
        self.now = False


def absorb(error: Exception) -> None:
    """Swallow `error`, raised while a provider worked; raise it again if a signal handler of the program raised it."""
    if _from_signal_handler(error.__traceback__):
        raise error
    if os.environ.get("USEREVENTS_DEBUG") == "1":
        sys.__excepthook__(type(error), error, error.__traceback__)


def _from_signal_handler(traceback: TracebackType | None) -> bool:
    handlers = {_code(_signal.getsignal(number)) for number in range(1, _signal.NSIG)} - {None}
    while traceback is not None:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False


def _code(handler: object) -> CodeType | None:
    """Return the code that Python runs for `handler`: a function, a method, a partial, an object with `__call__`."""
    for _ in range(8):
        code = getattr(handler, "__code__", None)
        if code is not None:
            return code  # type: ignore[no-any-return]
        handler = getattr(handler, "__func__", None) or getattr(handler, "func", None) or type(handler).__call__
    return None
