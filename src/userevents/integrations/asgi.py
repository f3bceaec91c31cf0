"""ASGI middleware: an event at the begin and the end of each HTTP request. For any ASGI 3 application, by itself.

Websockets, lifespan and whatever else a server tells pass through untouched.
"""

from __future__ import annotations  # those of inner functions would be evaluated at every request

import inspect
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from ..client.context import bound, rebind, unbind, wanted
from ..client.exchange import begin_exchange
from .http import http_begin, http_end, next_number

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
TracedApp = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]


def trace_requests(app: App) -> TracedApp:
    """Wrap an application: ``app = trace_requests(app)``, or ``app.add_middleware(trace_requests)``.

    While nobody listens the application is awaited and nothing else. While somebody does, `request` is bound in the
    context, so that an event with ``request: u64 = from_context()`` says in which request it happened.
    """

    async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
        number, error = next_number(), ""
        token = rebind({**bound(), "request": number}) if wanted else None
        exchange = begin_exchange(http_begin, number, scope["method"], scope["path"], send)
        try:
            await app(scope, receive, exchange)
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            exchange.end(http_end, error)
            if token is not None:
                unbind(token)

    def traced(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:  # called faster than an object would be
        if not (http_end or http_begin) or scope["type"] != "http":
            return app(scope, receive, send)  # no coroutine of ours around the application's
        return recorded(scope, receive, send)

    return _as_coroutine_function(traced)


def _as_coroutine_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have it taken for what it replaces: servers and frameworks ask whether an application is a coroutine function."""
    mark = getattr(inspect, "markcoroutinefunction", None)
    if mark is not None:
        return mark(function)  # type: ignore[no-any-return]
    code = function.__code__  # before 3.12 they are told by this flag alone, which calls do not look at
    function.__code__ = code.replace(co_flags=code.co_flags | inspect.CO_COROUTINE)
    return function
