"""WSGI middleware: an event at the begin and the end of each request. For any WSGI application, by itself."""

from __future__ import annotations  # those of inner functions would be evaluated at every request

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..client.context import bound, rebind, unbind, wanted
from ..client.exchange import begin_exchange
from .http import http_begin, http_end, next_number

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]
_End = Callable[[str], None]

_WHOLE = (list, tuple)


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
        number = next_number()
        path = get("SCRIPT_NAME", "") + get("PATH_INFO", "")
        token = rebind({**bound(), "request": number}) if wanted else None
        exchange = begin_exchange(http_begin, number, get("REQUEST_METHOD", ""), path, start_response)
        try:
            body = app(environ, exchange)
        except BaseException as raised:
            exchange.end(http_end, type(raised).__name__)
            raise
        finally:
            if token is not None:
                unbind(token)
        if isinstance(body, _WHOLE) or _is_file(environ, body):
            exchange.end(http_end, "")
            return body
        return _Body(body, lambda error: exchange.end(http_end, error))

    return traced


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
