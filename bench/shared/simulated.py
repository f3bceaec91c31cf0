"""A process full of hosts for bench/fleet_scale.py: real agents, in one loop, each beside a tracing tree of its own.

What an agent runs is what it runs anywhere, with three differences. It has no thread of its own, so that a process
holds hundreds. What its tracer does (who uses which event, whether a rule holds) it is told, instead of asking four and
twenty times a second: that cost is each host's own, and a thousand hosts have more than the cores of one machine. And
what its programs write is made up (simulated_feed.py), in flights, too.

    simulated.py URL FIRST STEP STOP EVENTS SHARED PACE

hosts `hN` for N from FIRST to STOP by STEP, each with EVENTS events, of which SHARED are the same everywhere. They join
after a line ``begin`` on stdin; then ``use HOST EVENT FIELDS`` makes a host use one more, ``hold HOST`` has a flight
rule hold there, ``write SECONDS`` has each host write a record once in so many.

On stdout a line of JSON for each thing that happened, with the time (CLOCK_MONOTONIC, ns): ``ready`` to begin,
``began`` (all hosts did), ``used``, ``recorded`` (the host does what was wished), ``flying`` (it looks out for rules),
``held`` (a flight rule), ``frozen`` (the host takes a window).
"""

import asyncio
import contextlib
import json
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parent))

from simulated_feed import Feed

from userevents.abi.tracefs import O_RDONLY, OWN_PATTERNS
from userevents.control.rule_watch import Held
from userevents.control.rules import Rule
from userevents.engine import Caller, Group
from userevents.fleet import flying, member, names, pace, publish
from userevents.fleet.agent import Agent
from userevents.fleet.connection import Settings
from userevents.tracefs import OpenNode, PlainSystem, Tree

_ROOT = Caller(0, 0, perfmon=True)
_AT_ONCE = 25
_LOOKS_S = 0.05
"""How often a host looks whether a rule holds."""
_TURN_S = 0.5
"""And how often a simulated one goes on with its windows."""
FIELDS = "u32 status; u64 latency_{number}_ns; char[16] method"
"""Of the event with that number: a hundred layouts, the same on every host, as programs alike have them."""


def tell(what: str, host: str) -> None:
    """Say that something happened now."""
    sys.stdout.write(json.dumps([what, host, time.monotonic_ns()]) + "\n")
    sys.stdout.flush()


class Handle:
    """An open file; says when patterns were written."""

    def __init__(self, node: OpenNode, host: str) -> None:
        self._node, self._host = node, host

    def read(self, size: int = 1 << 20, timeout: float | None = None) -> bytes | None:
        return self._node.read(size)

    def write(self, data: bytes) -> int:
        taken = self._node.write(data)
        if self._node.path.endswith(OWN_PATTERNS):
            tell("recorded", self._host)
        return taken

    def close(self) -> None:
        self._node.close()


@dataclass
class Host:
    """A host's tree, and the keys of the events that it uses; serves as the agent's way to its tracer."""

    name: str
    feed: Feed
    used: dict[str, bytes] = field(default_factory=dict)
    tree: Tree = field(default_factory=lambda: Tree(PlainSystem(Group())))

    def open(self, path: str, flags: int = O_RDONLY) -> Handle:
        return Handle(self.tree.open(path, flags, _ROOT), self.name)

    def listdir(self, path: str) -> list[str]:
        return self.tree.listdir(path)

    def mkdir(self, path: str, keep: bool = False) -> None:
        self.tree.mkdir(path, _ROOT)

    def rmdir(self, path: str) -> None:
        self.tree.rmdir(path, _ROOT)

    def close(self) -> None:
        pass

    def use(self, event: str, fields: str) -> None:
        """Use an event, as an agent would tell of it."""
        key = names.user_key(f"user_events:{event}", names.layout_of(fields), self.name)
        self.used[key] = json.dumps({"declaration": f"{event} {fields}"}).encode()

    async def holdings(self, agent: Agent) -> None:
        """The part that tells which events are used: once, and again when told."""
        agent.facts["events"] = len(self.used)
        agent.presence.hold(self.used, {})
        agent.changed.set()
        await agent.ending.wait()


class Flight:
    """A flight without rings (`HostFlight`)."""

    due: ClassVar[set[str]] = set()
    """Hosts on which a rule is to hold."""

    def __init__(self, access: Host, name: str, spec: dict[str, object]) -> None:
        self.begun_ns = time.monotonic_ns()
        self.refused: list[str] = []
        self.windows: dict[str, SimpleNamespace] = {}
        self._host = access
        tell("flying", access.name)

    def hold(self, number: str, since_ns: int, until_ns: int) -> None:
        """Take a window."""
        if number not in self.windows:
            tell("frozen", self._host.name)
            self.windows[number] = self._host.feed.window(until_ns)
        self.windows[number].until_ns = until_ns

    def turn(self) -> tuple[list[Held], list[str]]:
        """Look whether the rule held, and which windows are over."""
        over = [number for number, each in self.windows.items() if not each.is_over]
        over = [number for number in over if self.windows[number].until_ns <= time.monotonic_ns()]
        for number in over:
            self.windows[number].is_over = True
        if self._host.name not in self.due:
            return [], over
        self.due.discard(self._host.name)
        return [Held(Rule.parse("alarm"), time.monotonic_ns())], over

    def forget(self, number: str) -> None:
        """A window has arrived."""
        self.windows.pop(number).raw.discard()

    def close(self) -> None:
        """End it."""
        for number in list(self.windows):
            self.forget(number)


class Flights(flying._Flights):
    """All flights of a host; it is told when to look."""

    by_host: ClassVar[dict[str, "Flights"]] = {}

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent)
        self.by_host[agent.host] = self


def hold(host: str) -> None:
    """Have a rule hold on a host, which sees it when it looks next."""
    tell("held", host)
    Flight.due.add(host)
    asyncio.get_running_loop().call_later(random.uniform(0, _LOOKS_S), Flights.by_host[host].wake.set)


async def write(feed: Feed, every_s: float) -> None:
    """Have a host's program write a record once in a while, for ever."""
    while True:
        await asyncio.sleep(every_s * random.uniform(0.5, 1.5))
        feed.write()


def slow_down(slower: int) -> None:
    """Do what agents do regularly so many times less often, with leases as much longer."""
    pace.LEASE_S *= slower  # type: ignore[misc]
    member.AUDIT_S *= slower  # type: ignore[misc]
    member.WISHES_S *= slower  # type: ignore[misc]
    member.SWEEPS_A_SECOND /= slower  # type: ignore[misc]


async def main(url: str, first: int, step: int, stop: int, events: int, shared: int) -> None:
    """Run the hosts until stdin ends."""
    agents: dict[str, tuple[Agent, Host]] = {}
    slots = asyncio.Semaphore(_AT_ONCE)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    for number in range(first, stop, step):
        host = Host(f"h{number}", Feed(f"h{number}", 1000 + number))
        for each in range(events):
            name = f"event_{each}" if each < shared else f"event_{each}_of_{number}"
            host.use(name, FIELDS.format(number=each))
        parts = (
            member.presence,
            host.holdings,
            member.facts,
            member.wishes,
            publish.publish,
            member.sweeps,
            flying.flights,
        )
        agent = Agent(Settings((url,)), host.name, lambda host=host: host, parts)  # type: ignore[misc]
        agents[host.name] = agent, host
    tell("ready", "")
    await reader.readline()
    await asyncio.gather(*(_begin(agent, slots) for agent, _ in agents.values()))
    tell("began", "")
    while line := await reader.readline():
        what, name, *words = line.decode().split(maxsplit=3)
        if what == "hold":
            hold(name)
            continue
        if what == "write":
            _running.update(asyncio.create_task(write(host.feed, float(name))) for _, host in agents.values())
            continue
        agent, host = agents[name]
        event, fields = words
        host.use(event, fields.strip())
        agent.presence.hold(host.used, {})
        agent.changed.set()
        tell("used", name)


async def _begin(agent: Agent, slots: asyncio.Semaphore) -> None:
    """Start an agent, and wait until all it has to tell is stored."""
    async with slots:
        _running.add(asyncio.create_task(agent._main()))
        while not agent.presence.is_in or agent.presence.due() is not None:
            await asyncio.sleep(0.05)


_running: set["asyncio.Task[None]"] = set()

if __name__ == "__main__":
    flying.HostFlight, flying._Flights, flying._TURN_S = Flight, Flights, _TURN_S  # type: ignore[assignment,misc]
    publish.InstanceControl, publish.make_instance = Feed, lambda host: host.feed  # type: ignore[assignment,misc]
    publish._read = Feed.read  # type: ignore[assignment]
    slow_down(int(sys.argv[7]))
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:7])))
