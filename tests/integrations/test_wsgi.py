"""The WSGI middleware in the standard library's server, behind its validator of the protocol."""

import io
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.validate import validator

import pytest

from userevents import event, from_context, u64
from userevents.integrations.wsgi import trace_requests
from userevents.testing import PrivateTracer


@event
def stock_read(request: u64 = from_context()) -> None:
    """What the application itself tells."""


closed: list[str] = []


class Pieces:
    """A body that must be closed."""

    def __init__(self, pieces: list[bytes | Exception]) -> None:
        self._pieces = iter(pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = next(self._pieces)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        """Tell that it was."""
        closed.append("closed")


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer as the path says."""
    stock_read()
    kind = environ["PATH_INFO"]
    if kind == "/raise":
        raise ValueError("no stock")
    start_response("404 Not Found" if kind == "/missing" else "200 OK", [("Content-Type", "text/plain")])
    if kind == "/pieces":
        return Pieces([b"a", b"b"])
    if kind == "/half":
        return Pieces([b"a", OSError("disk")])
    if kind == "/file":
        wrapper: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"file"))
        return wrapper
    return [b"ok"]


class Quiet(WSGIRequestHandler):
    """No log."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def get_stderr(self) -> Any:
        """Say nothing of the application's errors."""
        return io.StringIO()


def _serve(app: Any) -> Iterator[str]:
    server: WSGIServer = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The application in its middleware."""
    yield from _serve(trace_requests(application))


@pytest.fixture(scope="module")
def validated() -> Iterator[str]:
    """The same, with the protocol checked on both sides of the middleware."""
    yield from _serve(validator(trace_requests(validator(application))))


def _get(url: str) -> tuple[int, bytes, str | None]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read(), answer.headers["Content-Length"]
    except urllib.error.HTTPError as error:
        return error.code, error.read(), None


@pytest.mark.parametrize(
    ("path", "status", "body"), [("/", 200, b"ok"), ("/missing", 404, b"ok"), ("/pieces", 200, b"ab")]
)
def test_a_request_has_a_begin_and_an_end(
    user_events: PrivateTracer, validated: str, path: str, status: int, body: bytes
) -> None:
    """With the status that the application gave, in order, and what it emits meanwhile carries the number."""
    assert _get(validated + path)[:2] == (status, body)
    end = user_events.wait_for("http_end", path=path)
    assert (end.status, end.method, end.error) == (status, "GET", "")
    assert [record.event for record in user_events.records] == ["http_begin", "stock_read", "http_end"]
    assert {record.request for record in user_events.records} == {end.request}


def test_what_a_server_looks_at_is_handed_on_as_it_is(user_events: PrivateTracer, address: str) -> None:
    """A list of one piece still gets its Content-Length, and a file is still the server's own kind."""
    assert _get(address + "/") == (200, b"ok", "2")
    assert _get(address + "/file")[:2] == (200, b"file")
    assert [record.status for record in user_events["http_end"]] == [200, 200]


def test_a_body_is_closed_and_its_end_is_the_requests(user_events: PrivateTracer, address: str) -> None:
    """Also one that fails on its way."""
    closed.clear()
    _get(address + "/pieces")
    _get(address + "/half")
    end = user_events.wait_for("http_end", path="/half")
    assert (end.status, end.error) == (200, "OSError")
    assert closed == ["closed", "closed"]


def test_an_exception_is_told_and_goes_on(user_events: PrivateTracer, address: str) -> None:
    """The server answers 500 as without us."""
    assert _get(address + "/raise")[0] == 500
    end = user_events.wait_for("http_end", path="/raise")
    assert (end.status, end.error) == (0, "ValueError")


def test_nothing_is_wrapped_while_nobody_listens() -> None:
    """The application gets the server's own start_response, and the server the application's own body."""
    body = [b""]

    def start_response(*_: object) -> None: ...

    def app(environ: dict[str, Any], start: Any) -> list[bytes]:
        assert start is start_response
        return body

    assert trace_requests(app)({}, start_response) is body
