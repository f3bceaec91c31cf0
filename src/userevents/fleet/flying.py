"""The agent's part for flight rules across hosts: the local flight recording, its rules, and its windows.

Whoever asked (`fleet flight`) renews that now and then (flight_hosts.py). Each question has the rules, the windows to
be held, and what has arrived; each answer has the clock, the instants at which rules held, and the windows that lie in
the object store. So nothing depends on one message; what cannot wait is sent at once as one more answer to the last
question.
"""

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import time
from typing import TYPE_CHECKING, Any, Final

from ..control import Access, Tracer
from ..control.recorder import RawFile
from ..control.rule_watch import Held, RuleWatch
from ..control.rules import Rule
from ..control.window import Window
from ..errors import NoBroker, NoTracer, Refused, Unusable
from . import names, objects
from .connection import given_up
from .local import INSTANCE
from .waiting import end, until

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from .agent import Agent

ASK: Final = "flight"
_FLIGHTS_MAX: Final = 4
_RULES_MAX: Final = 100
_HELD_MAX: Final = 1000
"""Instants kept for a question that did not come yet."""
_TOLD_MAX: Final = 100
_WINDOWS_MAX: Final = 4
_EXPIRES_S: Final = 30.0
"""A flight ends so long after its last question, or as long as that said, while there is a broker to bring one. Whoever
asked may be looking for another server all that time; who ends says so."""
_EXPIRES_MAX_S: Final = 60.0
_TURN_S: Final = 0.05
_IDLE_S: Final = 0.5
_AGAIN_S: Final = 1.0


class HostFlight:
    """One flight recording for the fleet. All of it blocks: it is called in threads, one at a time."""

    def __init__(self, access: Access, name: str, spec: dict[str, Any]) -> None:
        """Begin as asked. Raises `Unusable`, `Refused`, `NoTracer`; `ValueError` and its like for nonsense."""
        rules = tuple(Rule.parse(str(text)) for text in spec["rules"][:_RULES_MAX])
        self.begun_ns = time.monotonic_ns()
        self.name = f"{INSTANCE}-{name}"
        self.refused: list[str] = []
        self.windows: dict[str, Window] = {}
        self.directory = tempfile.mkdtemp(prefix="userevents-flight-")
        self._files = 0
        self._tracer = Tracer(access)
        self._instance = self._tracer.create_instance(self.name)
        try:
            self._instance.fly()
            if buffer_size := int(spec.get("buffer", 0)):
                self._instance.set_buffer(buffer_size)
            self._instance.set_patterns([str(pattern) for pattern in spec["patterns"]])
            self._rules = RuleWatch(access, rules, ["all"], self._refuse, name=f"{INSTANCE}-rule")
        except BaseException:
            self._instance.remove()
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def _refuse(self, rule: Rule, event: object, why: Refused) -> None:
        text = f"rule '{rule.text}' does not look at {event}: {why.reason}"
        if text not in self.refused and len(self.refused) < _RULES_MAX:
            self.refused.append(text)

    def hold(self, number: str, since_ns: int, until_ns: int) -> None:
        """Take a window, or let it end at another time."""
        window = self.windows.get(number)
        if window is not None:
            if until_ns < window.until_ns:
                window.cut(until_ns, "")
            window.extend(until_ns)
        elif len(self.windows) < _WINDOWS_MAX:
            self._files += 1
            raw = RawFile(os.path.join(self.directory, str(self._files)))
            since_ns = max(since_ns, self.begun_ns)
            self.windows[number] = Window(self._tracer, self.name, raw, since_ns, until_ns)

    def turn(self) -> tuple[list[Held], list[str]]:
        """Look which rules held, and go on with the windows; returns that, and the windows that are over now."""
        held = self._rules.look()
        over: list[str] = []
        for number, window in self.windows.items():
            if not window.is_over:
                window.take()
                if window.is_over:
                    window.raw.close()
                    over.append(number)
        return held, over

    def forget(self, number: str) -> None:
        """A window has arrived, or nobody wants it."""
        window = self.windows.pop(number)
        if not window.is_over:
            window.close()
        window.raw.discard()

    def close(self) -> None:
        """End it."""
        for number in list(self.windows):
            self.forget(number)
        self._rules.close()
        with contextlib.suppress(NoTracer, Refused):
            self._instance.remove()
        shutil.rmtree(self.directory, ignore_errors=True)


class Flying:
    """One flight of this host as whoever asked for it is told of it."""

    def __init__(self, agent: "Agent", name: str, flight: HostFlight) -> None:
        self.flight = flight
        self.expires_s = time.monotonic() + _EXPIRES_S
        self._agent = agent
        self._name = name
        self._reply = ""
        self._held: list[tuple[int, dict[str, Any]]] = []
        self._numbers = 0
        self._stored: dict[str, dict[str, Any]] = {}
        self._waiting: list[str] = []
        self._asked: dict[str, Any] = {}
        self._putting: asyncio.Task[None] | None = None

    def ask(self, question: "Msg", asked: dict[str, Any], came_ns: int) -> bytes:
        """Take in a question; returns the answer to it. Raises `ValueError` and its like for nonsense."""
        wait_s = min(max(float(asked.get("expires", _EXPIRES_S)), _EXPIRES_S), _EXPIRES_MAX_S)
        self.expires_s = time.monotonic() + (0 if asked.get("over") else wait_s)
        self._reply = question.reply
        self._asked = asked
        seen = int(asked.get("seen", 0))
        self._held = [each for each in self._held if each[0] > seen]
        return self._answer({"asked": asked.get("number"), "came_ns": came_ns, "sent_ns": time.monotonic_ns()})

    def _answer(self, more: dict[str, Any]) -> bytes:
        facts = {
            "flight": self._name,
            "incarnation": self._agent.incarnation,
            "begun_ns": self.flight.begun_ns,
            "held": [{"number": number, **held} for number, held in self._held[:_TOLD_MAX]],
            "stored": self._stored,
            "refused": self.flight.refused,
        }
        return json.dumps({**facts, **more}).encode()

    async def turn(self) -> None:
        """Do what was asked, and tell at once what cannot wait."""
        asked, self._asked = self._asked, {}
        held, over = await asyncio.to_thread(self._do, asked)
        for each in held:
            self._numbers += 1
            facts = {"rule": each.rule.text, "ts_ns": each.ts_ns, "what": each.what, "pid": each.pid}
            self._held.append((self._numbers, {**facts, "comm": each.comm, "more": each.more}))
        del self._held[:-_HELD_MAX]
        self._waiting += over
        if self._waiting and not self._stored and (self._putting is None or self._putting.done()):
            self._putting = asyncio.create_task(self._put(self._waiting[0]))
        if held:
            await self._tell()

    def _do(self, asked: dict[str, Any]) -> tuple[list[Held], list[str]]:
        for number in asked.get("arrived", ()):
            if number in self.flight.windows:
                self.flight.forget(number)
            self._stored.pop(number, None)
            if number in self._waiting:
                self._waiting.remove(number)
        for number, since_ns, until_ns in asked.get("windows", ()):
            try:
                self.flight.hold(str(number), int(since_ns), int(until_ns))
            except (Unusable, Refused, OSError) as error:
                self._stored[str(number)] = {"failed": str(error)}
        return self.flight.turn()

    async def _put(self, number: str) -> None:
        """Leave a window in the object store, trying until it is there or nobody asks any more."""
        window = self.flight.windows[number]
        while number in self.flight.windows:
            await self._agent.broker.connected.wait()
            try:
                with open(window.raw.path, "rb") as file:
                    digest = await objects.put(self._agent.broker, self._agent.host, file)
                self._stored[number] = {"digest": digest, "cut": window.cut_by, "notes": window.notes}
                await self._tell()
                return
            except NoBroker as error:
                self._agent.log_once("warning", f"fleet: a window waits: {error}")
                await asyncio.sleep(_AGAIN_S)
            except (Refused, OSError) as error:
                self._stored[number] = {"failed": str(error)}
                return

    async def _tell(self) -> None:
        """Answer the last question once more."""
        if self._reply and self._agent.broker.connected.is_set():
            with contextlib.suppress(Exception):
                await self._agent.broker.client.publish(self._reply, self._answer({}))

    async def close(self) -> None:
        """End the flight."""
        if self._putting is not None:
            await end(self._putting)
        await asyncio.to_thread(self.flight.close)


class _Flights:
    """The flights of an agent, by the names that those who asked gave them."""

    def __init__(self, agent: "Agent") -> None:
        self.all: dict[str, Flying] = {}
        self.wake = asyncio.Event()
        self._agent = agent
        self._client: object = None
        self._heard: Subscription | None = None
        self._beginning = asyncio.Lock()

    async def listen(self) -> None:
        """Subscribe, once for each client. Raises `NoBroker`."""
        client = self._agent.broker.client
        if client is not self._client:
            subject = names.ask_subject(self._agent.host, ASK)
            self._heard = await self._agent.broker.reach(client.subscribe(subject, cb=self._on_question))
            self._client = client

    async def _on_question(self, question: "Msg") -> None:
        came_ns = time.monotonic_ns()
        try:
            asked = json.loads(question.data)
            name = str(asked["flight"])
            if not name.isalnum() or len(name) > 32:
                return
            async with self._beginning:
                if name not in self.all and len(self.all) < _FLIGHTS_MAX and not asked.get("over"):
                    flight = await asyncio.to_thread(HostFlight, self._agent.access(), name, asked)
                    self.all[name] = Flying(self._agent, name, flight)
            answer = self.all[name].ask(question, asked, came_ns) if name in self.all else b'{"failed": "too many"}'
        except (Unusable, Refused, OSError) as error:
            answer = json.dumps({"failed": str(error)}).encode()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return
        self.wake.set()
        with contextlib.suppress(Exception):
            await question.respond(answer)

    async def turn(self) -> None:
        """Go on with each; end those that nobody has asked for lately, though somebody could."""
        for name, flying in list(self.all.items()):
            if not self._agent.broker.connected.is_set():
                flying.expires_s = max(flying.expires_s, time.monotonic() + _EXPIRES_S)
            if time.monotonic() > flying.expires_s:
                del self.all[name]
                await flying.close()
                continue
            await flying.turn()

    async def close(self) -> None:
        """End them all, and begin none any more."""
        if self._heard is not None:
            await given_up(self._heard)
        for flying in self.all.values():
            await flying.close()
        self.all.clear()


async def flights(agent: "Agent") -> None:
    """Answer those who ask for flight rules, and keep their recordings, as long as the agent runs."""
    found = _Flights(agent)
    try:
        while not agent.ending.is_set():
            if agent.broker.connected.is_set():
                with contextlib.suppress(NoBroker):
                    await found.listen()
            found.wake.clear()
            await found.turn()
            await until(found.wake, _TURN_S if found.all else _IDLE_S)
    finally:
        await found.close()
