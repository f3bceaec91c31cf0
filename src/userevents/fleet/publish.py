"""The agent's part that sends what the tracer records; it reads the fleet's instance, and never keeps it waiting.

What comes is read at once, whatever the broker does, and kept in a bounded backlog (batches.py). Messages go out
many at a time; each is confirmed by the broker, and what is not confirmed goes out again in the same order and with
the same number, so that it is stored once. Questions are answered beside: the clock, and beginning a new recording.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..control import Handle, InstanceControl
from ..errors import NoBroker, NoTracer, Refused, Unusable
from . import names
from .batches import BACKLOG_SIZE, Backlog, Batcher, Sent
from .connection import given_up
from .local import make_instance
from .sequence import HEADER, MESSAGE_ID, Head, pack_head
from .stream import ensure
from .waiting import end

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from .agent import Agent

RECORDING_S: Final = 600.0
"""A new recording begins so often, so that whoever reads the stream from anywhere on soon finds a beginning."""
WINDOW: Final = 256
"""Messages on their way at once."""
_READ_SIZE: Final = 1 << 20
_READ_S: Final = 0.02
_IDLE_S: Final = 0.3
_SMALL: Final = 4 << 10
_SMALL_A_SECOND: Final = 5.0
_SMALL_AT_ONCE: Final = 4.0
"""Few records go at once, in as many messages, and so do the first ones after something was enabled; where more
follow, they wait for others to share one with them."""
_LARGER_COST: Final = 0.25
"""Of a message with more than a few records; a full one waits for nothing."""
_HEADERS_MAX: Final = 1024
_CONFIRM_S: Final = 5.0
_AGAIN_S: Final = 0.5
_END_S: Final = 2.0
_LAST_S: Final = 0.002


class Quota:
    """When what waits goes out before its message is full. Times are of any clock that only goes on, in seconds."""

    def __init__(self, now_s: float) -> None:
        self._credit = _SMALL_AT_ONCE
        self._lately_s = now_s
        self._switched = 0

    def allows(self, size: int, now_s: float, switched: int) -> bool:
        """Whether so many bytes may go now, which counts as done; `switched` is how often anything was enabled."""
        self._credit = min(self._credit + (now_s - self._lately_s) * _SMALL_A_SECOND, _SMALL_AT_ONCE)
        self._lately_s = now_s
        if switched != self._switched:
            self._credit, self._switched = _SMALL_AT_ONCE, switched
        cost = 1.0 if size < _SMALL else _LARGER_COST
        if not size or self._credit < cost:
            return False
        self._credit -= cost
        return True


class Publisher:
    """Sends one agent's recordings, from `run` to its end. `backlog` tells what waits and what was dropped."""

    def __init__(self, agent: "Agent", backlog_size: int = BACKLOG_SIZE) -> None:
        self.run_id = os.urandom(8).hex()
        """Which run this is: numbers begin anew in each."""
        self.batcher = Batcher()
        self.backlog = Backlog(backlog_size)
        self.sent = 0
        """Messages that the broker confirmed."""
        self._agent = agent
        self._subject = names.data_subject(agent.host, "pages")
        self._wake = asyncio.Event()
        self._confirmed_s = time.monotonic()
        self._client: Client | None = None
        self._heard: list[Subscription] = []
        self._acks = ""
        self._told = 0
        self._complained = False
        self._has_no_stream = False
        """Whether the broker said that it cannot store what was sent."""
        self._lost_before = int(agent.facts.get("lost", 0))
        self._control: InstanceControl | None = None

    async def run(self) -> None:
        """Record and send until the agent ends."""
        reading, control = self._agent.access(), self._agent.access()
        try:
            stream = make_instance(reading).stream()
            self._control = make_instance(control)
            sending = asyncio.create_task(self._send_all())
            try:
                await self._read_all(stream)
                await self._drain()
            except Exception:  # another run begins without what this one kept
                self._tell_lost(self.backlog.records)
                raise
            finally:
                await end(sending)
                for each in self._heard:  # the next run answers by itself
                    await given_up(each)
                await asyncio.to_thread(stream.close)
        finally:
            reading.close()
            control.close()

    # From the tracer.

    async def _read_all(self, stream: Handle) -> None:
        began = time.monotonic()
        quota = Quota(began)
        finished = False
        while True:
            if self._agent.ending.is_set() and not finished:
                finished = True
                await self._ask_tracer(InstanceControl.finish)
            data = await _read(stream, _READ_S if self.batcher.size else _IDLE_S)
            now = time.monotonic()
            if data == b"":
                break
            for batch in self.batcher.add(self._agent.filtering.through(data)) if data else ():
                self.backlog.add(batch)
            if quota.allows(self.batcher.size, now, self._agent.switched):
                for batch in self.batcher.flush():
                    self.backlog.add(batch)
            if (self.backlog.needs_recording or now - began >= RECORDING_S) and not finished:
                began = now
                await self._ask_tracer(InstanceControl.rotate)
            if self.backlog:
                self._wake.set()
            if self.backlog.dropped:
                self._tell_lost()
        for batch in self.batcher.flush():
            self.backlog.add(batch)
        self._wake.set()

    def _tell_lost(self, kept: int = 0) -> None:
        """Have the host tell how many records it has dropped, and those kept that go, too."""
        self._agent.facts["lost"] = self._lost_before + self.backlog.dropped + kept

    async def _ask_tracer(self, what: Callable[[InstanceControl], None]) -> bool:
        if self._control is not None:
            with contextlib.suppress(NoTracer, Refused):
                await asyncio.to_thread(what, self._control)
                return True
        return False

    async def _drain(self) -> None:
        """Give the broker a moment to confirm what is left."""
        deadline = time.monotonic() + _END_S
        while (self.backlog or self.backlog.unconfirmed) and time.monotonic() < deadline:
            self._wake.set()
            await asyncio.sleep(_LAST_S)
        left, records = len(self.backlog) + self.backlog.unconfirmed, self.backlog.records
        if records:  # without any, what is left only tells of this host
            text = f"fleet: {left} batches with {records:,} records were not confirmed by the broker, and may be lost"
            self._agent.log("warning", text)

    # To the broker.

    async def _send_all(self) -> None:
        connections = 0
        while True:
            try:
                await self._agent.broker.connected.wait()
                if self._agent.broker.connections != connections or self._has_no_stream:
                    if self._has_no_stream:
                        await asyncio.sleep(_AGAIN_S)
                        self._has_no_stream = False
                    connections = self._agent.broker.connections
                    await self._begin()
                await self._send_some()
            except (NoBroker, Unusable, Refused) as error:
                self._agent.log_once("warning", f"fleet: {error}; trying on")
                connections = 0
                await asyncio.sleep(_AGAIN_S)

    async def _begin(self) -> None:
        """A connection was made: see that the stream is there, listen, and send again what was not confirmed."""
        broker = self._agent.broker
        try:
            await ensure(broker)
        except NoBroker:  # so it is, too, for a host that may not ask: then sending will tell whether there is one
            if not broker.connected.is_set():
                raise
        client = broker.client
        if client is not self._client:
            self._client = client
            self._acks = client.new_inbox()
            self._heard = [await broker.reach(client.subscribe(f"{self._acks}.*", cb=self._on_ack))]
            answers = {"clock": self._on_clock, "recording": self._on_recording, "patterns": self._on_patterns}
            for what, answer in answers.items():
                subject = names.ask_subject(self._agent.host, what)
                self._heard.append(await broker.reach(client.subscribe(subject, cb=answer)))
        self._send_again()
        if self.backlog.dropped > self._told:
            self._agent.log("warning", f"fleet: {self.backlog.dropped - self._told:,} records were dropped meanwhile")
            self._told = self.backlog.dropped

    def _send_again(self) -> None:
        self._confirmed_s = time.monotonic()
        self.backlog.send_again()

    async def _send_some(self) -> None:
        backlog = self.backlog
        await self._agent.broker.reach(self._fill_window())
        self._wake.clear()
        if backlog and backlog.room(WINDOW):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AGAIN_S):
                await self._wake.wait()
        if backlog.unconfirmed and time.monotonic() - self._confirmed_s > _CONFIRM_S:
            self._send_again()

    async def _fill_window(self) -> None:
        backlog, broker = self.backlog, self._agent.broker
        while broker.connected.is_set() and backlog and backlog.room(WINDOW):
            sent = backlog.take()
            if sent is None:
                break
            if backlog.unconfirmed == 1:
                self._confirmed_s = time.monotonic()
            await self._publish(broker.client, sent)

    async def _publish(self, client: "Client", sent: Sent) -> None:
        batch = sent.batch
        payload = batch.payload()
        if len(payload) + _HEADERS_MAX > client.max_payload:
            self._agent.log_once(
                "error", f"fleet: the broker takes {client.max_payload} bytes a message, too few for us"
            )
            self.backlog.give_up(sent.seq)
            return
        head = Head(
            self.run_id,
            sent.seq,
            self.backlog.low,
            batch.recording,
            sent.before,
            batch.records,
            time.monotonic_ns(),
            time.time_ns(),
            batch.begins,
            batch.ends,
            batch.more,
        )
        headers = {HEADER: pack_head(head), MESSAGE_ID: f"{self.run_id}-{sent.seq}"}
        await client.publish(self._subject, payload, reply=f"{self._acks}.{sent.seq}", headers=headers)

    async def _on_ack(self, answer: "Msg") -> None:
        """The broker stored a message, or says why not."""
        number = answer.subject.rpartition(".")[2]
        if answer.data.startswith(b'{"error"') or not answer.data.startswith(b"{"):
            await self._on_no(answer)
        elif number.isdecimal():
            self.backlog.confirm(int(number))
            self.sent += 1
            self._confirmed_s = time.monotonic()
            self._complained = False
            if not self._wake.is_set():
                self._wake.set()

    async def _on_no(self, answer: "Msg") -> None:
        """A message was not stored: there is no stream, or no leader of it; try again in a while."""
        if not self._complained:
            self._complained = True
            why = "nobody listens"
            with contextlib.suppress(ValueError, KeyError, TypeError):
                why = json.loads(answer.data)["error"]["description"]
            self._agent.log("warning", f"fleet: the broker does not store what we send ({why}); trying on")
        self._confirmed_s = min(self._confirmed_s, time.monotonic() - _CONFIRM_S + _AGAIN_S)
        self._has_no_stream = True

    # Questions.

    async def _on_clock(self, question: "Msg") -> None:
        """Tell the clock as it was when the question came."""
        came_ns = time.monotonic_ns()
        await question.respond(b"%s %d %d" % (self.run_id.encode(), came_ns, time.monotonic_ns()))

    async def _on_recording(self, question: "Msg") -> None:
        """Begin a new recording; the answer says which one ends with that. Without an answer we are asked again."""
        ends = self.batcher.recording
        if await self._ask_tracer(InstanceControl.rotate):
            await question.respond(f"{self.run_id} {ends}".encode())

    async def _on_patterns(self, question: "Msg") -> None:
        """Somebody looks on, and wants patterns recorded for a while (borrowed.py)."""
        try:
            found = json.loads(question.data)
            who, patterns = str(found["who"])[:64], [str(each)[:512] for each in found["patterns"]][:100]
        except (ValueError, TypeError, KeyError, RecursionError):
            return
        agent = self._agent
        before = agent.borrowed.patterns(time.monotonic())
        if agent.borrowed.renew(who, patterns, time.monotonic()):
            if agent.borrowed.patterns(time.monotonic()) != before:
                agent.asked.set()
            await question.respond(self.run_id.encode())


async def _read(stream: Handle, wait_s: float) -> bytes | None:
    """Read what is there, or wait for it in a thread; changing threads costs more than a read does."""
    await asyncio.sleep(0)
    data = stream.read(_READ_SIZE, 0)
    return await asyncio.to_thread(stream.read, _READ_SIZE, wait_s) if data is None else data


async def publish(agent: "Agent") -> None:
    """Send what the host records, as long as the agent runs."""
    await Publisher(agent, agent.backlog_size).run()
