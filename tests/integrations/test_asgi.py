"""The ASGI middleware around a real Starlette application, served by a real uvicorn."""

import asyncio
import inspect
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from userevents import event, from_context, u64
from userevents.integrations.asgi import trace_requests
from userevents.testing import PrivateTracer


@event
def cart_opened(user: str, request: u64 = from_context()) -> None:
    """What the application itself tells, and in which request."""


async def plain(request: Request) -> Response:
    """Answer at once."""
    cart_opened(request.path_params["user"])
    return PlainTextResponse("ok", status_code=201)


async def stream(request: Request) -> Response:
    """Answer piece by piece, over some time."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x"
            await asyncio.sleep(0.01)

    return StreamingResponse(pieces())


async def fail(request: Request) -> Response:
    """Raise."""
    raise ValueError("no cart")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server with the application behind the middleware, as an application adds it."""
    app = Starlette(
        routes=[Route("/cart/{user}", plain, methods=["GET", "POST"]), Route("/s", stream), Route("/f", fail)]
    )
    wrapped = trace_requests(app)
    server = uvicorn.Server(uvicorn.Config(wrapped, port=0, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def _get(url: str, method: str = "GET") -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_request_has_a_begin_and_an_end_with_status_and_duration(user_events: PrivateTracer, address: str) -> None:
    """Both carry the request's number, and so does what the application emits meanwhile."""
    assert _get(f"{address}/cart/ann", "POST") == (201, b"ok")
    end = user_events.wait_for("http_end")
    assert (end.status, end.method, end.path, end.error) == (201, "POST", "/cart/ann", "")
    (begin,) = user_events["http_begin"]
    assert (begin.method, begin.path, begin.request) == ("POST", "/cart/ann", end.request)
    assert user_events["cart_opened"].last.request == end.request
    assert [record.event for record in user_events.records] == ["http_begin", "cart_opened", "http_end"]
    assert 0 < end["duration_ns"] <= end.time_ns - begin.time_ns


def test_a_streamed_response_ends_with_its_last_piece(user_events: PrivateTracer, address: str) -> None:
    """The duration takes in the whole body."""
    assert _get(f"{address}/s") == (200, b"xxx")
    assert user_events.wait_for("http_end", path="/s").duration_ns > 25_000_000


def test_an_exception_is_told_and_goes_on(user_events: PrivateTracer, address: str) -> None:
    """Starlette answers 500 and raises to the server, as it does without us."""
    assert _get(f"{address}/f") == (500, b"Internal Server Error")
    end = user_events.wait_for("http_end", path="/f")
    assert (end.status, end.error) == (500, "ValueError")


def test_nothing_changes_while_nobody_listens(user_events: PrivateTracer, address: str) -> None:
    """The answer is the same, and nothing is recorded."""
    user_events.enable("something_else")
    assert _get(f"{address}/cart/ann") == (201, b"ok")
    assert user_events.records.count == 0


def test_many_requests_at_once_are_told_apart(user_events: PrivateTracer, address: str) -> None:
    """Each has its number; what each emits carries it."""
    threads = [threading.Thread(target=_get, args=(f"{address}/cart/{number}",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    user_events.wait_for("http_end", lambda _: user_events["http_end"].count == 20)
    ends = {record.path: record.request for record in user_events["http_end"]}
    assert len(set(ends.values())) == 20
    assert {f"/cart/{record.user}": record.request for record in user_events["cart_opened"]} == ends


def test_what_is_no_http_passes_untouched(user_events: PrivateTracer) -> None:
    """Websocket and lifespan scopes reach the application with the server's own channels."""
    seen: list[tuple[Any, ...]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    async def receive() -> Any: ...
    async def send(message: Any) -> None: ...

    for kind in ("websocket", "lifespan"):
        scope = {"type": kind}
        asyncio.run(trace_requests(app)(scope, receive, send))
        assert seen.pop() == (scope, receive, send)
    assert user_events.records.count == 0


def test_a_cancelled_request_is_told(user_events: PrivateTracer) -> None:
    """The client went away before there was a status."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def channel(*_: Any) -> Any: ...

    async def main() -> None:
        scope = {"type": "http", "method": "GET", "path": "/"}
        task = asyncio.create_task(trace_requests(app)(scope, channel, channel))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert user_events["http_end"].last.fields | {"duration_ns": 0, "request": 0} == {
        "request": 0,
        "status": 0,
        "duration_ns": 0,
        "method": "GET",
        "path": "/",
        "error": "CancelledError",
    }


def test_it_is_taken_for_the_coroutine_function_that_it_replaces() -> None:
    """Servers tell ASGI 3 from 2 by that, frameworks an asynchronous endpoint from one for a thread."""

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    assert inspect.iscoroutinefunction(trace_requests(app))
    assert sys.version_info >= (3, 14) or asyncio.iscoroutinefunction(trace_requests(app))
    pending = trace_requests(app)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert inspect.iscoroutine(pending)
    pending.close()
