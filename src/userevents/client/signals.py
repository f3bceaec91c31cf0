"""Telling what a signal handler of the program raised from what our own work raised.

A signal may arrive while an event is packed, and Python then calls the program's handler right there. What that raises
(a job's timeout, say) belongs to the program; what a wrong argument raises does not reach it.
"""

import _signal  # type: ignore[import-not-found]  # `signal` would import enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType


def raised_by_handler(error: BaseException) -> bool:
    """Whether a signal handler of the program raised `error`, by the frames it passed through."""
    found = map(_signal.getsignal, range(1, _signal.NSIG))
    handlers = {_code(handler) for handler in found if callable(handler)} - {None}
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False


def _code(handler: object) -> "CodeType | None":
    """Return the code that Python runs for `handler`: a function, a method, a partial, an object with `__call__`."""
    for _ in range(8):
        code = getattr(handler, "__code__", None)
        if code is not None:
            return code  # type: ignore[no-any-return]
        handler = getattr(handler, "__func__", None) or getattr(handler, "func", None) or type(handler).__call__
    return None
