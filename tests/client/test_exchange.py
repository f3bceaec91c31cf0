"""A recorded request, in C and in Python: the same two events, and the channel answered through as it is."""

import gc
import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.conftest import require_native
from userevents.client.exchange import PureExchange
from userevents.client.native import native_exchange


@pytest.fixture(params=["C", "Python"])
def begin(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """What begins an exchange."""
    if request.param == "Python":
        return PureExchange
    require_native()
    assert native_exchange is not None
    return native_exchange


class Channel:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, *args: Any, **named: Any) -> str:
        """Keep, and answer."""
        self.told.append((args, named))
        return "answer"


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ([{"type": "http.response.start", "status": 201}, {"type": "http.response.body"}], 201),
        ([{"type": "http.response.start", "status": 201}, {"status": 500}], 201),
        ([{"type": "other"}, {"status": 302}], 302),
        (["200 OK", "500 Late"], 500),
        (["404"], 404),
        (["20"], 0),
        (["²00 no digit"], 0),
        ([""], 0),
        ([], 0),
    ],
)
def test_the_status_is_what_was_told(begin: Callable[..., Any], told: list[Any], status: int) -> None:
    """ASGI's first message with one; of WSGI the last line. What is told, and answered, goes through untouched."""
    events: list[tuple[Any, ...]] = []
    channel = Channel()
    exchange = begin(lambda *values: events.append(values), 7, "GET", "/a", channel)
    assert events == [(7, "GET", "/a")]
    for each in told:
        assert exchange(each, [], exc_info=None) == "answer"
    assert [args[0] for args, _ in channel.told] == told
    assert all(args[0] is each for (args, _), each in zip(channel.told, told, strict=True))
    assert all((args[1:], named) == (([],), {"exc_info": None}) for args, named in channel.told)
    exchange.end(lambda *values: events.append(values), "Lost")
    number, found, duration, *rest = events[1]
    assert (number, found, rest) == (7, status, ["GET", "/a", "Lost"])
    assert 0 < duration < 60_000_000_000


def test_other_mappings_and_no_arguments_go_through(begin: Callable[..., Any]) -> None:
    """A message need not be a dict; a call without arguments is the channel's to judge."""

    class Message(dict[str, Any]):
        """Not exactly a dict."""

    exchange = begin(lambda *_: None, 1, "GET", "/", channel := Channel())
    message: Mapping[str, Any] = Message(status=204)
    assert (exchange(message), exchange(), exchange(named=1)) == ("answer",) * 3
    assert channel.told == [((message,), {}), ((), {}), ((), {"named": 1})]
    exchange.end(lambda *values: channel.told.append((values, {})), "")
    assert channel.told[-1][0][1] == 204


def test_what_is_raised_goes_on(begin: Callable[..., Any]) -> None:
    """Of the events, of the channel, of a message that is none."""

    def fail(*_: Any) -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError):
        begin(fail, 1, "GET", "/", print)
    exchange = begin(lambda *_: None, 1, "GET", "/", fail)
    with pytest.raises(LookupError):
        exchange({"status": 1})
    with pytest.raises(AttributeError):
        begin(lambda *_: None, 1, "GET", "/", print)(5)
    with pytest.raises(LookupError):
        exchange.end(fail, "")
    with pytest.raises(TypeError):
        exchange.end(fail)
    with pytest.raises(TypeError):
        begin(fail, 1)


def test_nothing_is_leaked(begin: Callable[..., Any]) -> None:
    """Neither what an exchange holds, nor one in a circle with its channel."""
    path = "/a path"
    channel = Channel()
    before = sys.getrefcount(path), sys.getrefcount(channel)
    for _ in range(1000):
        exchange = begin(lambda *_: None, 1 << 40, "GET", path, channel)
        exchange("200 OK")
        exchange({"status": 200})
        exchange.end(lambda *_: None, "")
    del exchange
    channel.told.clear()
    assert (sys.getrefcount(path), sys.getrefcount(channel)) == before
    channel.told.append(((begin(lambda *_: None, 1, "GET", path, channel),), {}))
    gone = weakref.ref(channel)
    del channel
    gc.collect()
    assert gone() is None
