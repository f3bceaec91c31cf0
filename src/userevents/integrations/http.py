"""The events of HTTP requests, which the middlewares for ASGI and WSGI share."""

from itertools import count

from ..client import char16, event, u16, u64

next_number = count(1).__next__
"""Give a request its number, unique in this process and its forks' (with the process id)."""


@event
def http_begin(request: u64, method: char16, path: str) -> None:
    """A request begins. `request` is its number in this process; what it emits may take it from the context."""


@event
def http_end(request: u64, status: u16, duration_ns: u64, method: char16, path: str, error: str) -> None:
    """A request ended with its response's last byte handed over: `status` 0 is none, `error` what was raised."""
