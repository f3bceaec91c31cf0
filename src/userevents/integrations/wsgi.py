"""WSGI middleware: an event at the begin and the end of each request. For any WSGI application, by itself."""

from __future__ import annotations  # those of inner functions would be evaluated at every request

from collections.abc import Callable, Iterable, Iterator
from time import monotonic_ns
from typing import Any

from ..client.context import bound, rebind, unbind, wanted
from .http import http_begin, http_end, next_number

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]
_End = Callable[[str], None]

_WHOLE = (list, tuple)
_MOST_NUMBERS = 256
_numbers: dict[str, int] = {"": 0}
"""Of the status lines that were met."""


def trace_requests(app: App) -> App:
    """Wrap an application: ``app = trace_requests(app)``.

    While nobody listens the application is called and nothing else. A response that is a list, a tuple or the server's
    own file wrapper is handed on as it is, since servers look at what it is; such a request ends when the application
    has returned it. Any other ends when the server has closed it. `request` is bound in the context while the
    application is called.
    """

    def traced(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if not (http_end or http_begin):
            return app(environ, start_response)
        get = environ.get
        number, method = next_number(), get("REQUEST_METHOD", "")
        path = get("SCRIPT_NAME", "") + get("PATH_INFO", "")
        status = ""

        def start(line: str, headers: Any, exc_info: Any = None) -> Any:
            nonlocal status
            status = line
            return start_response(line, headers) if exc_info is None else start_response(line, headers, exc_info)

        token = rebind({**bound(), "request": number}) if wanted else None
        http_begin(number, method, path)
        began = monotonic_ns()
        try:
            body = app(environ, start)
        except BaseException as raised:
            http_end(number, _number(status), monotonic_ns() - began, method, path, type(raised).__name__)
            raise
        finally:
            if token is not None:
                unbind(token)
        if isinstance(body, _WHOLE) or _is_file(environ, body):
            http_end(number, _number(status), monotonic_ns() - began, method, path, "")
            return body
        return _Body(body, lambda error: http_end(number, _number(status), monotonic_ns() - began, method, path, error))

    return traced


def _number(status: str) -> int:
    """Return the number in ``200 OK``, 0 where none was given.

    >>> _number("404 Not Found"), _number("")
    (404, 0)
    """
    number = _numbers.get(status)
    if number is None:
        number = int(status[:3]) if status[:3].isdecimal() else 0
        if len(_numbers) < _MOST_NUMBERS:
            _numbers[status] = number
    return number


def _is_file(environ: Environ, body: object) -> bool:
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


class _Body:
    """A response on its way."""

    def __init__(self, body: Iterable[bytes], end: _End) -> None:
        self._body = body
        self._next: Callable[[], bytes] = iter(body).__next__
        self._end = end
        self._error = ""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return self._next()
        except StopIteration:
            raise
        except BaseException as raised:
            self._error = type(raised).__name__
            raise

    def close(self) -> None:
        """Called by the server when it is done, for whatever reason."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._end(self._error)
