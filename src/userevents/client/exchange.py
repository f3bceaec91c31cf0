"""An HTTP request while it is recorded: its two events, its status, its duration. The twin of _exchange.c.

What integrations for servers share. An exchange stands in for the channel that an application answers through (ASGI's
`send`, WSGI's `start_response`): a call looks for the status among what is told, and goes on with the same arguments.
"""

from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Protocol

from .native import native_exchange


class Exchange(Protocol):
    """A request between its begin and its end."""

    def __call__(self, *told: Any, **named: Any) -> Any:
        """Tell the channel, and look for the status: ASGI's first message with one, WSGI's last line."""

    def end(self, event: Callable[..., None], error: str, /) -> None:
        """Write the event of the request's end: number, status (0 for none), duration_ns, method, path, error."""


class PureExchange:
    """The same in Python."""

    __slots__ = ("_began", "_channel", "_method", "_number", "_path", "_status")

    def __init__(
        self, event: Callable[..., None], number: int, method: str, path: str, channel: Callable[..., Any], /
    ) -> None:
        self._number, self._method, self._path, self._channel = number, method, path, channel
        self._status: Any = None
        event(number, method, path)
        self._began = monotonic_ns()

    def __call__(self, *told: Any, **named: Any) -> Any:
        """Tell the channel, and look for the status."""
        if told:
            if isinstance(told[0], str):
                self._status = told[0]
            elif self._status is None:
                self._status = told[0].get("status")
        return self._channel(*told, **named)

    def end(self, event: Callable[..., None], error: str, /) -> None:
        """Write the event of the request's end."""
        duration = monotonic_ns() - self._began
        event(self._number, status_number(self._status), duration, self._method, self._path, error)


def status_number(status: Any) -> Any:
    """Return the number of a status, 0 where there is none; that of a line of WSGI's are its first three digits.

    >>> status_number("404 Not Found"), status_number(200), status_number(None), status_number("4")
    (404, 200, 0, 0)
    """
    if not isinstance(status, str):
        return 0 if status is None else status
    digits = status[:3]
    return int(digits) if len(digits) == 3 and digits.isascii() and digits.isdecimal() else 0


begin_exchange: Callable[..., Exchange] = native_exchange or PureExchange
"""Write the event of a request's begin: ``begin_exchange(event, number, method, path, channel)``."""
