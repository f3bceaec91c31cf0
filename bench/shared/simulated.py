"""A process full of hosts for bench/fleet_scale.py: real agents, in one loop, each beside a tracing tree of its own.

What an agent runs is what it runs anywhere, with two differences. It has no thread of its own, so that a process holds
hundreds. And which events the host uses it is told, instead of asking a tracer four times a second: that cost is each
host's own, and a thousand hosts have more than the cores of one machine.

    simulated.py URL FIRST STEP STOP EVENTS SHARED PACE

hosts `hN` for N from FIRST to STOP by STEP, each with EVENTS events, of which SHARED are the same everywhere. On stdin
``use HOST EVENT FIELDS`` makes a host use one more. On stdout a line of JSON for each thing that happened, with the
time (CLOCK_MONOTONIC, ns): ``used``, ``recorded`` (the host does what was wished), ``began`` (all hosts did).
"""

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import dataclass, field

from userevents.abi.tracefs import O_RDONLY, OWN_PATTERNS
from userevents.engine import Caller, Group
from userevents.fleet import member, names, pace
from userevents.fleet.agent import Agent
from userevents.fleet.connection import Settings
from userevents.tracefs import OpenNode, PlainSystem, Tree

_ROOT = Caller(0, 0, perfmon=True)
_AT_ONCE = 25
FIELDS = "u32 status; u64 latency_ns; char[16] method"


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

    def use(self, event: str, fields: str = FIELDS) -> None:
        """Use an event, as an agent would tell of it."""
        key = names.user_key(f"user_events:{event}", names.layout_of(fields), self.name)
        self.used[key] = json.dumps({"declaration": f"{event} {fields}"}).encode()

    async def holdings(self, agent: Agent) -> None:
        """The part that tells which events are used: once, and again when told."""
        agent.facts["events"] = len(self.used)
        agent.presence.hold(self.used, {})
        agent.changed.set()
        await agent.ending.wait()


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
    tasks = []
    for number in range(first, stop, step):
        host = Host(f"h{number}")
        for each in range(events):
            host.use(f"event_{each}" if each < shared else f"event_{each}_of_{number}")
        parts = (member.presence, host.holdings, member.facts, member.wishes, member.sweeps)
        agent = Agent(Settings((url,)), host.name, lambda host=host: host, parts)  # type: ignore[misc]
        agents[host.name] = agent, host
        tasks.append(asyncio.create_task(_begin(agent, slots)))
    await asyncio.gather(*tasks)
    tell("began", "")
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        _, name, event, fields = line.decode().split(maxsplit=3)
        agent, host = agents[name]
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
    slow_down(int(sys.argv[7]))
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:7])))
