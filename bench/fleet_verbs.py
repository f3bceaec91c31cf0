"""What `fleet flight`, `fleet tail` and `fleet record` make of 10 to 1,000 hosts on one packaged nats-server.

The hosts are those of bench/fleet_scale.py, with ten events each. Measured, at each size:

* flight: from an instant at which a rule holds on one host until the trace with all hosts' parts is written and told of
  (of which a second is the window's);
* tail: each host writes a record a second; from its time until its line is there (of which half a second is --delay);
* what tail and record take, in shares of a core, and what of the records of ten seconds they lack.

`./dev bench fleet_verbs` takes some minutes; USEREVENTS_FLEET_SIZES=10,100 takes other sizes.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))

from results import Row, keep, print_rows, wait_until_quiet
from simulated_feed import BEAT
from simulated_hosts import PATIENCE_S, Hosts, cpu_s, fresh_server, hosts, spread

from userevents.formats import open_trace

SIZES = [int(word) for word in os.environ.get("USEREVENTS_FLEET_SIZES", "10,100,300,1000").split(",")]
EVENTS = 10
FLIGHTS = 3
LIVE_S = 10.0


async def _verb(url: str, *words: str) -> asyncio.subprocess.Process:
    """Start a verb of the fleet."""
    command = [sys.executable, "-P", "-m", "userevents", "fleet", words[0], "--fleet", url, *words[1:]]
    return await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, limit=1 << 24)


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Return the next line of JSON that a verb writes."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        found: dict[str, Any] = json.loads(await process.stdout.readline())
    return found


async def _flights(made: Hosts, url: str, count: int) -> list[float]:
    """Have a rule hold on one host after the other under `fleet flight`, which makes a trace of all hosts of it."""
    with tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm") as directory:
        rule = ("--on", "alarm", "--before", "1s", "--after", "1s", "--every", "1ms")
        verb = await _verb(url, "flight", *rule, "--json", "--quiet", "-o", directory)
        await made.wait_for("flying", count)
        await asyncio.sleep(2)
        times = []
        for number in range(FLIGHTS):
            made.hold(number * 7 % count)
            (began,) = await made.wait_for("held", 1)
            done = await _line(verb)
            times.append((time.monotonic_ns() - began.at_ns) / 1e6)
            assert len(done["hosts"]) == count, done["missing"]
            assert done["balanced"], done["notes"]
            await asyncio.sleep(1)
        verb.terminate()
        await verb.wait()
    return times


class Live(NamedTuple):
    """What was measured of those who look on."""

    tail_ms: list[float]
    tail_cpu: float
    record_cpu: float
    lacking: int


async def _live(made: Hosts, url: str, count: int) -> Live:
    """Look on with `fleet tail`, and then record, while each host writes a record a second."""
    made.write(1.0)
    tail = await _verb(url, "tail", BEAT, "--json")
    seen, times, next_n, lacking = set[str](), list[float](), dict[str, int](), 0
    before = until_ns = 0.0
    while not until_ns or time.monotonic_ns() < until_ns:
        told = await _line(tail)
        came_ns = time.monotonic_ns()
        seen.add(told["host"])
        if len(seen) == count and not until_ns:
            before, until_ns = cpu_s(tail.pid), time.monotonic_ns() + LIVE_S * 1e9
        elif until_ns:
            host, number = told["host"], told["fields"]["n"]
            lacking += number - next_n.get(host, number) if number else 0
            next_n[host] = number + 1
            times.append((came_ns - told["ts_ns"]) / 1e6)
    tail_cpu = (cpu_s(tail.pid) - before) / LIVE_S
    tail.terminate()
    await asyncio.gather(tail.communicate())
    with tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm") as directory:
        path = os.path.join(directory, "t.dat")
        started, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        record = await _verb(url, "record", "--duration", f"{LIVE_S}s", "-o", path)
        await record.communicate()
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        took_s = time.monotonic() - started
        with open_trace(path) as trace:
            assert trace.ledger is not None
            records = trace.ledger.total("delivered")
            print(f"  record: {records:,} records in {took_s:.1f} s; {trace.notes[:3]}", flush=True)
            assert len(trace.hosts) == count
            lacking += trace.ledger.total("lost")
    return Live(times, tail_cpu, (spent.ru_utime + spent.ru_stime - cpu.ru_utime - cpu.ru_stime) / LIVE_S, lacking)


async def _measure(count: int, url: str) -> list[Row]:
    async with hosts(url, count, EVENTS, EVENTS) as made:
        print(f"{count:,} hosts: all told in {await made.join():.1f} s", flush=True)
        flights_ms = await _flights(made, url, count)
        print(f"  flight: {', '.join(f'{value:.0f}' for value in flights_ms)} ms", flush=True)
        live = await _live(made, url, count)
    size = f"{count:,} hosts"
    rows = [spread(f"flight, until written, {size}", flights_ms), spread(f"tail, {size}", live.tail_ms)]
    singles = {"tail": (live.tail_cpu, "cores"), "record": (live.record_cpu, "cores"), "lacking": (live.lacking, "")}
    return rows + [Row(f"{name}, {size}", "", *[value] * 4, unit=unit) for name, (value, unit) in singles.items()]


def main() -> None:
    """Measure every size, each on a fresh server."""
    note = wait_until_quiet()
    started = time.monotonic()
    rows = []
    for count in SIZES:
        with fresh_server() as (_, url):
            rows += asyncio.run(_measure(count, url))
    print_rows(rows)
    keep("fleet_verbs", rows, notes=[note], seconds=time.monotonic() - started)


if __name__ == "__main__":
    main()
