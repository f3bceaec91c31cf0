"""From `fleet enable` to the first event seen from another host, beside a bare watch of a key and a publish.

The fleet: a wish is stored; a host's agent (`userevents serve --fleet`) is told of it, its tracer enables the event, a
program that writes once a millisecond sees its bit, and its record comes to a consumer of the stream. The bare way, in
turn with it: nats-py puts a key, another process watches the key and publishes to the same stream, and the message
comes to the same consumer. One packaged server, everything on one machine.
"""

import asyncio
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))
from results import Row, keep, print_rows, wait_until_quiet

from userevents.fleet import names
from userevents.fleet.broker import Broker, connected
from userevents.fleet.connection import Settings
from userevents.fleet.sequence import parse_head
from userevents.fleet.server import Place, free_port, running
from userevents.fleet.stream import Reader, see_stream
from userevents.fleet.streams import prepare
from userevents.fleet.wishes import Wish
from userevents.fleet.wishing import add_wishes

ROUNDS = int(os.environ.get("USEREVENTS_BENCH_ROUNDS", "150"))
GOAL = 3.0
ROOM = 512 << 20
PATIENCE_S = 20.0
PEER = "bare"
"""The host's name under which the bare way publishes."""
BUCKET = "bench"
PROGRAM = """
import time
from userevents import register
event = register("tick u32 n")
print("ready", flush=True)
n = 0
while True:
    if event:
        event.write(n)
        n += 1
    time.sleep(0.001)
"""


@contextlib.contextmanager
def host(url: str, directory: str) -> Iterator[None]:
    """A host in the fleet, and its program."""
    place = os.path.join(directory, "host")
    os.mkdir(place, mode=0o700)
    env = {**os.environ, "USEREVENTS_DIR": place}
    serve = [sys.executable, "-P", "-m", "userevents", "serve", "--fleet", url, "--fleet-host", "here"]
    processes = [subprocess.Popen(serve, env=env, stderr=subprocess.DEVNULL)]
    try:
        processes.append(subprocess.Popen([sys.executable, "-c", PROGRAM], env=env, stdout=subprocess.PIPE))
        processes.append(subprocess.Popen([sys.executable, "-P", __file__, url], stdout=subprocess.PIPE))
        for process in processes[1:]:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def watch(url: str) -> None:
    """The bare way's other host: publish whenever the key changes."""
    async with connected(Settings((url,)), "bench peer") as broker:
        stream = broker.client.jetstream()
        watcher = await (await stream.key_value(BUCKET)).watch("wish", include_history=False)
        print("ready", flush=True)
        while True:
            with contextlib.suppress(Exception):
                if (entry := await watcher.updates(timeout=60)) is not None:
                    await stream.publish(names.data_subject(PEER, "pages"), entry.value or b"")


async def bare(broker: Broker, reading: "AsyncIterator[tuple[str, int]]") -> float:
    """One round of the bare way; returns ms."""
    keys = await broker.client.jetstream().key_value(BUCKET)
    start = time.perf_counter()
    await keys.put("wish", b"x")
    async for name, _ in reading:
        if name == PEER:
            break
    return (time.perf_counter() - start) * 1e3


async def fleet(broker: Broker, reading: "AsyncIterator[tuple[str, int]]") -> float:
    """One round of the fleet; returns ms. Afterwards the event is off again, and its last record was read."""
    start = time.perf_counter()
    await add_wishes(broker, [Wish("enable", "tick", by="bench")])
    async for name, records in reading:
        if name == "here" and records:
            break
    took = (time.perf_counter() - start) * 1e3
    await add_wishes(broker, [Wish("disable", "tick", by="bench")])
    return took


async def read(reader: Reader) -> AsyncIterator[tuple[str, int]]:
    """Whose each message of the stream is, and how many records it has."""
    async for messages in reader.lots():
        for message in messages:
            head = parse_head(message.head) if message.head else None
            yield message.host, head.records if head else 0


async def quiet(reader: Reader) -> None:
    """Read until nothing came for a moment."""
    async for messages in reader.lots():
        if not messages:
            return


async def measure(url: str) -> tuple[list[float], list[float]]:
    """Return the times of both, in ms."""
    async with connected(Settings((url,)), "bench") as broker:
        reader = Reader(broker, (await see_stream(broker)).last + 1)
        times: tuple[list[float], list[float]] = [], []
        for number in range(ROUNDS + 3):
            await quiet(reader)
            async with asyncio.timeout(PATIENCE_S):
                found = await bare(broker, read(reader)), await fleet(broker, read(reader))
            if number >= 3:
                for kept, took in zip(times, found, strict=True):
                    kept.append(took)
        await reader.close()
        return times


async def make_bucket(url: str) -> None:
    """The bare way's keys."""
    async with connected(Settings((url,)), "bench") as broker:
        await broker.client.jetstream().create_key_value(bucket=BUCKET)


def main() -> None:
    """Measure, and print both ways and the ratios of their p50 and p99."""
    note = wait_until_quiet()
    started = time.monotonic()
    directory = tempfile.mkdtemp(prefix="userevents-bench-", dir="/dev/shm")
    try:
        place = Place(free_port(), directory, 2 * ROOM)
        with running(place):
            asyncio.run(prepare(Settings((place.url,)), ROOM, 1))
            asyncio.run(make_bucket(place.url))
            with host(place.url, directory):
                peer, ours = asyncio.run(measure(place.url))
    finally:
        shutil.rmtree(directory)
    rows = [_row("watch of a key and publish", peer), _row("fleet enable to first event", ours)]
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        ratio = _at(ours, share) / _at(peer, share)
        halves = [_at(ours[half::2], share) / _at(peer[half::2], share) for half in (0, 1)]
        rows.append(Row(f"{name} of the fleet", "the bare way", min(halves), ratio, min(halves), max(halves), GOAL))
    print_rows(rows)
    keep("fleet_enable", rows, notes=[note], seconds=time.monotonic() - started)


def _at(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _row(case: str, times: list[float]) -> Row:
    """Least, p50, and the range from p50 to p99."""
    median = statistics.median(times)
    return Row(case, "", min(times), median, median, _at(times, 0.99), unit="ms")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(watch(sys.argv[1]))
    else:
        main()
