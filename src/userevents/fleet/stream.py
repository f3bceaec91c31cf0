"""The stream that holds what hosts send: its limits, and reading it from any place on.

Traps of the broker that are dealt with here: a stream's `max_bytes` is set aside when it is made, so a server with
less room refuses it, and a smaller one is tried; a consumer may be gone after a change of the leader, and what it
sent when a connection broke, ours or one between servers, is delivered as far as it knows, so one that fails or left
something out is made anew behind the last message that came.
"""

import asyncio
import contextlib
import errno
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import Malformed, NoBroker, Refused, Unusable
from . import names
from .asking import status_of
from .connection import Connection
from .streams import data_config

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from .broker import Broker

SIZES: Final = (1 << 30, 256 << 20, 64 << 20)
"""Bytes kept where nobody has made the stream, as far as the server has room."""
FETCH: Final = 128
_FETCH_S: Final = 0.25
_AGAIN_S: Final = 0.5
_IDLE_S: Final = 60.0


class Kept(NamedTuple):
    """What the stream holds: numbers of its first and last message, how many there are, and their bytes."""

    first: int
    last: int
    messages: int
    size: int


async def ensure(broker: "Broker") -> None:
    """Make the stream where it is not there. A host that may not leaves that to who may: `fleet init`, `fleet up`.

    Raises `Unusable` where the server has no room for it, `NoBroker`.
    """
    why = ""
    for size in SIZES:
        try:
            await broker.make_stream(data_config(size))
            return
        except Refused as refused:
            if refused.errno == errno.EACCES:
                return
            why = refused.reason
    raise Unusable(f"the broker cannot keep a fleet's events: {why}")


async def see_stream(broker: "Broker") -> Kept:
    """Return what the stream holds; where it is not there, make it. Raises `Refused`, `Unusable`, `NoBroker`."""
    await ensure(broker)
    answer = await broker.ask(f"$JS.API.STREAM.INFO.{names.DATA_STREAM}", b"")
    if status := status_of(answer):
        raise NoBroker(f"nobody knows of the stream '{names.DATA_STREAM}' ({status})")
    found = json.loads(answer.data)
    if error := found.get("error"):
        raise Unusable(f"the stream '{names.DATA_STREAM}' cannot be used: {error.get('description', 'refused')}")
    state = found["state"]
    return Kept(state["first_seq"], state["last_seq"], state["messages"], state["bytes"])


class Message(NamedTuple):
    """A message of the stream: its number there, whose it is, and what it holds."""

    stored: int
    host: str
    head: str | None
    payload: bytes


class Reader:
    """Reads the stream from the message `first` on, for ever; a break of the connection is waited for.

    `host` is one host's name, or empty for all.
    """

    def __init__(self, broker: Connection, first: int, host: str = "") -> None:
        self.next = first
        self._broker = broker
        self._subject = names.data_subject(host, "pages") if host else f"{names.DATA_SUBJECT}.*.pages"
        self._pull: Any = None
        self._connections = 0
        self._taken = 0
        """How many messages of this consumer were taken: it numbers them from 1."""
        self._idle = 0

    async def lots(self) -> AsyncIterator[list[Message]]:
        """Yield the messages that came, many at once; an empty list when none came for a while."""
        while True:
            try:
                async with asyncio.timeout(_FETCH_S):
                    await self._broker.connected.wait()
                yield await self._fetch()
            except (NoBroker, TimeoutError):
                await self._drop()
                yield []
                await asyncio.sleep(_AGAIN_S)

    async def close(self) -> None:
        """Leave the stream."""
        await self._drop()

    async def is_at_end(self) -> bool:
        """Whether the broker says that there is nothing behind what was read; False where it says nothing."""
        try:
            found = None if self._pull is None else await self._pull.consumer_info()
        except Exception:  # whatever is wrong with it, the next `_fetch` deals with
            return False
        return found is not None and not found.num_pending and found.delivered.stream_seq < self.next

    async def _fetch(self) -> list[Message]:
        from nats import errors
        from nats.js.errors import APIError

        try:
            if self._connections != self._broker.connections:
                await self._drop()
            if self._pull is None:
                self._pull = await self._made()
            found = await self._pull.fetch(FETCH, timeout=_FETCH_S)
        except (errors.TimeoutError, TimeoutError):
            await self._see_consumer()
            return []
        except APIError as error:
            raise NoBroker(f"the stream '{names.DATA_STREAM}' cannot be read ({error.description})") from None
        except (errors.Error, OSError) as error:
            raise NoBroker(f"the stream cannot be read ({str(error) or type(error).__name__})") from None
        messages = []
        for each in found:
            stored, number = each.metadata.sequence.stream, each.metadata.sequence.consumer
            if number != self._taken + 1:  # one before it was lost on the way: read on from there, with another
                await self._drop()
                break
            self._taken, self.next = number, stored + 1
            if message := _message(each, stored):
                messages.append(message)
        return messages

    async def _made(self) -> Any:
        """Make a consumer that begins behind what was read."""
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=max(self.next, 1),
            ack_policy=AckPolicy.NONE,
            inactive_threshold=_IDLE_S,
            mem_storage=True,
            num_replicas=1,
        )
        self._connections, self._taken = self._broker.connections, 0
        stream = self._broker.client.jetstream(timeout=2)
        return await stream.pull_subscribe(self._subject, stream=names.DATA_STREAM, config=config)

    async def _see_consumer(self) -> None:
        """Nothing came: see now and then whether that is because the consumer is gone, or what it sent."""
        from nats import errors
        from nats.js.errors import APIError

        self._idle += 1
        if self._idle % 8 == 0 and self._pull is not None:
            try:
                found = await self._pull.consumer_info()
            except (errors.Error, APIError, OSError, TimeoutError):
                raise NoBroker("the consumer is gone") from None
            if found.delivered.consumer_seq > self._taken:
                raise NoBroker("messages were lost on the way")

    async def _drop(self) -> None:
        pull, self._pull = self._pull, None
        if pull is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1):
                    await pull.unsubscribe()


def _message(found: "Msg", stored: int) -> Message | None:
    """Read a message of the stream; None for one whose subject is none of a host."""
    parts = found.subject.split(".")
    try:
        host = names.decode(parts[-2])
    except (LookupError, Malformed):
        return None
    return Message(stored, host, (found.headers or {}).get("Userevents"), found.data)
