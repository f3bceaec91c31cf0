"""A fleet of 10 to 1,000 hosts with 100 events each on one packaged nats-server: how its cost grows with the hosts.

The hosts are real agents in a few processes (bench/shared/simulated.py), on the same cores as the server. Of their
events half have the same names on every host and half are the host's own. Measured, at each size, while all hosts
renew their leases, compare their keys and look for hosts that are gone:

* list: all events, one event, and all hosts, as `fleet list` reads them on a connection that stands;
* enable: from the wish (`fleet enable`) until a host does it, over all hosts;
* watch: from a host's use of a new event until somebody who watches the keys is told;
* flight: from an instant at which a rule holds on one host until another host takes its window, and until all do
  (up to 300 hosts);
* a fleet at rest: the CPU time of the server and of one agent, in shares of a core;
* memory: of the server, of one agent, and of a whole fleet's view.

`./dev bench fleet_scale` takes some minutes; USEREVENTS_FLEET_SIZES=10,100 takes other sizes.
USEREVENTS_FLEET_PACE=5 has the agents do what they do regularly five times less often, with leases five times as long,
where a machine has no two cores to spare for a thousand of them; what a fleet at rest takes is then five times less.
"""

import asyncio
import io
import os
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))

from results import Row, keep, print_rows, wait_until_quiet
from simulated_hosts import Hosts, cpu_s, fresh_server, hosts, spread

from userevents.fleet.broker import Broker, connected
from userevents.fleet.connection import Settings
from userevents.fleet.flight_hosts import every_s
from userevents.fleet.flights import FleetFlight, Instant
from userevents.fleet.names import BUCKET, encode
from userevents.fleet.reading import read_events, read_hosts
from userevents.fleet.view import View
from userevents.fleet.wishes import Wish
from userevents.fleet.wishing import add_wishes

SIZES = [int(word) for word in os.environ.get("USEREVENTS_FLEET_SIZES", "10,100,300,1000").split(",")]
EVENTS = 100
SHARED = 50
PROCESSES = 4
PACE = int(os.environ.get("USEREVENTS_FLEET_PACE", "1"))
LISTS = 10
ENABLES = 10
WATCHES = 60
FREEZES = 8
FREEZE_MAX = 300
"""Of more hosts, flights are measured with the real verb (fleet_verbs.py): a thousand had not begun in two minutes."""
REST_S = 6.0
PATIENCE_S = 300.0
_TICK = os.sysconf("SC_CLK_TCK")


class Found(NamedTuple):
    """What was measured with so many hosts: times in ms, shares of a core, MiB."""

    hosts: int
    join_s: float
    list_ms: list[float]
    one_ms: list[float]
    """Of one event that all hosts have."""
    hosts_ms: list[float]
    enable_ms: list[float]
    """Of each host."""
    last_ms: list[float]
    """Until the last host did it."""
    watch_ms: list[float]
    freeze_ms: list[float]
    """Of each other host."""
    frozen_ms: list[float]
    """Until the last host."""
    server_cpu: float
    agent_cpu: float
    server_mib: float
    agent_mib: float
    view_mib: float


async def measure(count: int, server: int, url: str) -> Found:
    """Measure a fleet of `count` hosts on a server that is fresh."""
    async with hosts(url, count, EVENTS, SHARED, PACE) as made, connected(Settings((url,)), "bench") as broker:
        join_s = await made.join()
        print(f"{count:,} hosts with {EVENTS} events each: all told in {join_s:.1f} s", flush=True)
        await asyncio.sleep(2)
        before = [cpu_s(pid) for pid in (server, *made.pids)]
        await asyncio.sleep(REST_S)
        spent = [cpu_s(pid) - then for pid, then in zip((server, *made.pids), before, strict=True)]
        _tell("at rest", [spent[0] / REST_S, sum(spent[1:]) / REST_S / count])
        list_ms = _tell("list", await _times(LISTS, lambda: read_events(broker, "*")))
        one_ms = _tell("list one", await _times(LISTS, lambda: read_events(broker, "event_7")))
        hosts_ms = _tell("list hosts", await _times(LISTS, lambda: read_hosts(broker)))
        every, last = await _enable(made, broker, count)
        _tell("enable, last host", last)
        watch_ms = _tell("watch", await _watch(made, broker, count))
        freeze_ms, frozen_ms = await _freeze(made, broker, count) if count <= FREEZE_MAX else ([], [])
        return Found(
            count, join_s, list_ms, one_ms, hosts_ms, every, last, watch_ms, freeze_ms, frozen_ms,
            spent[0] / REST_S, sum(spent[1:]) / REST_S / count,
            _resident(server), sum(map(_resident, made.pids)) / count, await _view_mib(broker),
        )  # fmt: skip


def _tell(what: str, found: list[float]) -> list[float]:
    """Say at once what was measured: a run with many hosts may be cut short."""
    print(f"  {what}: {', '.join(f'{value:.4g}' for value in sorted(found)[:12])}", flush=True)
    return found


async def _times(count: int, do: Callable[[], Coroutine[Any, Any, object]]) -> list[float]:
    times = []
    for _ in range(count):
        start = time.perf_counter()
        await do()
        times.append((time.perf_counter() - start) * 1e3)
        await asyncio.sleep(0.02)
    return times


async def _enable(made: Hosts, broker: Broker, count: int) -> tuple[list[float], list[float]]:
    every, last = [], []
    for number in range(ENABLES):
        start = time.monotonic_ns()
        await add_wishes(broker, [Wish("disable" if number % 2 else "enable", "event_7", by="bench")])
        done = [(told.at_ns - start) / 1e6 for told in await made.wait_for("recorded", count)]
        every += done
        last.append(max(done))
        await asyncio.sleep(0.3)
    return every, last


async def _watch(made: Hosts, broker: Broker, count: int) -> list[float]:
    keys = await broker.client.jetstream().key_value(BUCKET)
    watcher = await keys.watch(f"user.*.{encode('user_events:watched')}.*")
    assert await watcher.updates(timeout=10) is None  # nobody uses them yet
    times = []
    for number in range(WATCHES):
        made.use(number * 7 % count, "watched", f"u32 a{number}")
        assert await watcher.updates(timeout=10) is not None
        came = time.monotonic_ns()
        times.append((came - (await made.wait_for("used", 1))[0].at_ns) / 1e6)
        await asyncio.sleep(0.02)
    await watcher.stop()
    return times


async def _freeze(made: Hosts, broker: Broker, count: int) -> tuple[list[float], list[float]]:
    """Have a rule hold on one host after the other, with what `fleet flight` does then."""
    asked = {"rules": ["alarm"], "patterns": ["*"], "buffer": 0}
    asking: list[asyncio.Task[None]] = []

    def held(instant: Instant) -> None:
        flight.hold(instant.ts_ns - 10**9, instant.ts_ns + 10**9)
        asking.append(asyncio.create_task(flight.ask()))

    flight = FleetFlight(broker, "*", asked, held, io.BytesIO)
    await flight.begin()
    running = asyncio.create_task(flight.run())
    async with asyncio.timeout(PATIENCE_S):
        while sum(host.best is not None for host in flight.hosts.values()) < count:
            await asyncio.sleep(0.1)
    every, last = [], []
    for number in range(FREEZES):
        made.hold(number * 7 % count)
        (began,) = await made.wait_for("held", 1)
        done = [
            (told.at_ns - began.at_ns) / 1e6 for told in await made.wait_for("frozen", count) if told.host != began.host
        ]
        every += done
        last.append(max(done))
        for window in list(flight.windows.values()):
            flight.done(window)
        await asyncio.sleep(max(1.2, every_s(count) * 1.2))
    running.cancel()
    await asyncio.gather(running, *asking, return_exceptions=True)
    await flight.over()
    return every, _tell("flight, last host", last)


async def _view_mib(broker: Broker) -> float:
    tracemalloc.start()
    view = View(await broker.keys(">"))
    events = view.events()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del view, events
    return size / 2**20


def _resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    """Measure every size, each on a fresh server, and print the curve."""
    note = wait_until_quiet()
    started = time.monotonic()
    found = []
    for count in SIZES:
        with fresh_server() as (server, url):
            found.append(asyncio.run(measure(count, server, url)))
    rows = [row for one in found for row in _rows(one)]
    print_rows(rows)
    keep("fleet_scale", rows, notes=[note], seconds=time.monotonic() - started)


def _rows(one: Found) -> list[Row]:
    size = f"{one.hosts:,} hosts"
    times = {
        "list events": one.list_ms,
        "list one event": one.one_ms,
        "list hosts": one.hosts_ms,
        "enable, each host": one.enable_ms,
        "enable, last host": one.last_ms,
        "watch": one.watch_ms,
        "flight, each other host": one.freeze_ms,
        "flight, last host": one.frozen_ms,
    }
    pace = f", pace 1/{PACE}" if PACE > 1 else ""
    rows = [spread(f"{name}, {size}", found) for name, found in times.items() if found]
    singles = {
        f"server at rest{pace}": (one.server_cpu, "cores"),
        f"one agent at rest{pace}": (one.agent_cpu, "cores"),
        "server": (one.server_mib, "MiB"),
        "one agent": (one.agent_mib, "MiB"),
        "a view of all": (one.view_mib, "MiB"),
    }
    return rows + [
        Row(f"{name}, {size}", "", value, value, value, value, unit=unit) for name, (value, unit) in singles.items()
    ]


if __name__ == "__main__":
    main()
