"""Reading the fleet's stream from a real server: everything once and in order, whatever is lost on the way."""

import asyncio
import json
from collections.abc import Callable

from tests.fleet.conftest import Test
from userevents.fleet import names
from userevents.fleet.broker import Broker
from userevents.fleet.stream import Reader, see_stream

With = Callable[[Test], None]


async def send(broker: Broker, numbers: range) -> None:
    """Store a message of a host for each number."""
    for number in numbers:
        await broker.ask(names.data_subject("web.1", "pages"), str(number).encode())


async def lose(broker: Broker, reader: Reader, count: int) -> None:
    """Have the reader's consumer send messages to where they do not reach it, as to a connection that breaks."""
    consumer = (await reader._pull.consumer_info()).name
    subject = f"{names.API_SUBJECT}.CONSUMER.MSG.NEXT.{names.DATA_STREAM}.{consumer}"
    inbox = await broker.client.subscribe(broker.client.new_inbox())
    await broker.client.publish(subject, json.dumps({"batch": count, "no_wait": True}).encode(), reply=inbox.subject)
    for _ in range(count):
        await inbox.next_msg(5)
    await inbox.unsubscribe()


def test_what_a_consumer_sent_and_did_not_arrive_is_read_again(with_broker: With) -> None:
    """With something behind it at once; else once nothing has come for a while, and what has ended is not the end."""

    async def read(broker: Broker) -> None:
        reader = Reader(broker, (await see_stream(broker)).last + 1)
        found: list[int] = []
        async with asyncio.timeout(30):
            await send(broker, range(4))
            async for messages in reader.lots():
                found += [int(message.payload) for message in messages]
                if found == list(range(4)) and messages:
                    await send(broker, range(4, 9))
                    await lose(broker, reader, 3)
                if found == list(range(9)) and messages:
                    assert await reader.is_at_end()
                    await send(broker, range(9, 12))
                    await lose(broker, reader, 3)
                    assert not await reader.is_at_end()
                if len(found) >= 12:
                    break
        await reader.close()
        assert found == list(range(12))

    with_broker(read)
