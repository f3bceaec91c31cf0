"""How fast an agent sends what its tracer gives it, beside a bare nats-py publisher that has the same batches at hand.

The agent reads recorded frames as it reads a tracer's stream (in a thread), makes batches, counts their records, keeps
them until they are confirmed, and numbers them. The peer calls `publish_async` with the very same payloads, 256 on
their way at most, and waits until all are confirmed. Both send to one server's file stream, in turn, from this process,
whose allocator keeps memory as that of a tracer does. The agent's time holds its beginning and its end: a question
to the broker and four subscriptions, and some milliseconds of waiting for the last confirmation.
"""

import asyncio
import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))
from results import Row, keep, print_rows, wait_until_quiet

from userevents.abi.ring_buffer import PAGE_SIZE
from userevents.buffer import PageBuilder
from userevents.buffer import stream as wire
from userevents.fleet import names, publish
from userevents.fleet.batches import Batcher
from userevents.fleet.broker import Broker, connected
from userevents.fleet.connection import Settings
from userevents.fleet.filtering import Filtering
from userevents.fleet.server import binary
from userevents.fleet.stream import see_stream
from userevents.host.memory import keep_heap

ROUNDS = 12
MIB = 96
GOAL = 0.8
PAGES_A_FRAME = 64
"""Pages that a tracer hands out at once when a program writes flat out."""


class Tape:
    """A tracer's stream that was recorded: gives its frames as fast as they are read, and then ends."""

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = frames
        self._at = 0

    def read(self, size: int, timeout: float | None = None) -> bytes:
        """As a handle of the tree gives them: whole frames, as many as fit, at least one."""
        taken = [self._frames[self._at]] if self._at < len(self._frames) else []
        self._at += 1
        while self._at < len(self._frames) and sum(map(len, taken)) + len(self._frames[self._at]) <= size:
            taken.append(self._frames[self._at])
            self._at += 1
        return b"".join(taken)

    def close(self) -> None:
        """Nothing to close."""


class Host:
    """What a publisher sees of its agent, with a tape in place of a tracer."""

    def __init__(self, broker: Broker, frames: list[bytes]) -> None:
        self.broker = broker
        self.host = "bench"
        self.ending = asyncio.Event()
        self.facts: dict[str, object] = {}
        self.switched = 0
        self.filtering = Filtering()
        self._frames = frames

    def access(self) -> "Host":
        """The tree."""
        return self

    def mkdir(self, path: str, keep: bool = False) -> None:
        """The instance."""

    def open(self, path: str, flags: int = 0) -> Tape:
        """Its stream."""
        return Tape(self._frames)

    def close(self) -> None:
        """Nothing to close."""

    def log_once(self, level: str, text: str) -> None:
        """Say what goes wrong."""
        print(level, text)

    def log(self, level: str, text: str) -> None:
        """Say what goes wrong."""
        print(level, text)


def recorded() -> tuple[list[bytes], int]:
    """Return MIB of frames of one program's pages with 64-byte events, and how many these are."""
    builder, count = PageBuilder(), 0
    while builder.append(10**9 + count, (20).to_bytes(2, "little") + bytes(2) + (77).to_bytes(4, "little") + bytes(56)):
        count += 1
    page = builder.take()
    frames = [wire.pack_start() + wire.pack_header({"cpus": 1})]
    pages = MIB * (1 << 20) // PAGE_SIZE
    for first in range(0, pages, PAGES_A_FRAME):
        table = b"".join((n * count).to_bytes(8, "little") + bytes(8) for n in range(first, first + PAGES_A_FRAME))
        frames.append(wire.pack_run(1, 1, first, table, page * PAGES_A_FRAME))
    return frames, pages * count


async def bare(broker: Broker, payloads: list[bytes]) -> float:
    """Return the seconds that a bare publisher takes."""
    stream = broker.client.jetstream(publish_async_max_pending=publish.WINDOW)
    subject = names.data_subject("bench", "pages")
    began = time.perf_counter()
    for payload in payloads:
        await stream.publish_async(subject, payload)
    await stream.publish_async_completed()
    return time.perf_counter() - began


async def agent(broker: Broker, frames: list[bytes], messages: int) -> float:
    """Return the seconds that an agent takes."""
    host: Any = Host(broker, frames)
    publisher = publish.Publisher(host, backlog_size=2 * MIB << 20)
    began = time.perf_counter()
    await publisher.run()
    seconds = time.perf_counter() - began
    assert 0 <= publisher.sent - messages <= 4, (publisher.sent, messages)  # the first may go before they are full
    assert not publisher.backlog.dropped, publisher.backlog.dropped
    return seconds


async def measure(settings: Settings, rounds: int) -> tuple[list[float], list[float], int]:
    """Run both in turn, and return their seconds, and the number of events."""
    frames, events = recorded()
    batcher = Batcher()
    payloads = [batch.payload() for frame in frames for batch in batcher.add(frame)]
    payloads += [batch.payload() for batch in batcher.flush()]
    ours, theirs = [], []
    async with connected(settings, "bench") as broker:
        await see_stream(broker)
        for number in range(rounds + 1):
            stream = broker.client.jetstream()
            await stream.purge_stream(names.DATA_STREAM)
            bare_s = await bare(broker, payloads)
            await stream.purge_stream(names.DATA_STREAM)
            agent_s = await agent(broker, frames, len(payloads))
            if number:  # the first round warms up
                theirs.append(bare_s)
                ours.append(agent_s)
    return ours, theirs, events


@contextlib.contextmanager
def server(directory: str) -> Iterator[Settings]:
    """The packaged server on loopback."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    config = Path(directory) / "nats.conf"
    store = f'jetstream {{ store_dir: "{directory}/js", max_mem: 256MB, max_file: 2GB }}'
    config.write_text(f"listen: 127.0.0.1:{port}\n{store}\n")
    with subprocess.Popen([binary(), "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield Settings((f"nats://127.0.0.1:{port}",))
        finally:
            process.kill()


def main() -> None:
    """Measure, and print the ratio."""
    began = time.monotonic()
    keep_heap()
    notes = [wait_until_quiet()]
    with tempfile.TemporaryDirectory(prefix="userevents-bench-") as directory, server(directory) as settings:
        time.sleep(0.5)
        ours, theirs, events = asyncio.run(measure(settings, int(sys.argv[1]) if sys.argv[1:] else ROUNDS))
    rate = [events / min(seconds) / 1e6 for seconds in (ours, theirs)]
    notes.append(f"{events:,} events of 64 bytes a round; at best {rate[0]:.2f} M events/s, the peer {rate[1]:.2f}")
    ratios = [peer / own for own, peer in zip(ours, theirs, strict=True)]
    case, best = "throughput of the agent", min(theirs) / min(ours)
    rows = [Row(case, "bare nats-py", best, statistics.median(ratios), min(ratios), max(ratios), GOAL, True)]
    print_rows(rows)
    print(*notes, sep="\n")
    keep("fleet", rows, notes=notes, seconds=time.monotonic() - began)


main()
