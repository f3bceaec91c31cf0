"""The processes that simulated hosts are in (simulated.py), as a benchmark starts them and tells them what to do."""

import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

from results import Row

from userevents.fleet.connection import Settings
from userevents.fleet.server import Place, free_port, running
from userevents.fleet.streams import prepare

PROCESSES = 4
PATIENCE_S = 300.0
_ROOM = 512 << 20
_TICK = os.sysconf("SC_CLK_TCK")


class Told(NamedTuple):
    """Something that a simulated host did."""

    what: str
    host: str
    at_ns: int


class Hosts:
    """The processes that the hosts are in."""

    def __init__(self, processes: list[asyncio.subprocess.Process]) -> None:
        self._processes = processes
        self.told: asyncio.Queue[Told] = asyncio.Queue()
        self._reading = [asyncio.create_task(self._read(process)) for process in processes]
        self.pids = [process.pid for process in processes]

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self.told.put_nowait(Told(*json.loads(line)))
        self.told.put_nowait(Told("ended", "", 0))

    async def wait_for(self, what: str, count: int) -> list[Told]:
        """Wait until `what` happened so many times since the last call."""
        found: list[Told] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < count:
                one = await self.told.get()
                assert one.what != "ended", "a process of hosts has ended"
                found += [one] if one.what == what else []
        return found

    async def join(self) -> float:
        """Have all of them tell everything; returns how long that took, in s."""
        began = time.monotonic()
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(b"begin\n")
        await self.wait_for("began", len(self._processes))
        return time.monotonic() - began

    def write(self, every_s: float) -> None:
        """Have each host write a record once in so many seconds, from now on."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"write {every_s}\n".encode())

    def hold(self, number: int) -> None:
        """Have a flight rule hold on a host."""
        stdin = self._processes[number % len(self._processes)].stdin
        assert stdin is not None
        stdin.write(f"hold h{number}\n".encode())

    def use(self, number: int, event: str, fields: str) -> None:
        """Have a host use one more event."""
        stdin = self._processes[number % len(self._processes)].stdin
        assert stdin is not None
        stdin.write(f"use h{number} {event} {fields}\n".encode())


@contextlib.asynccontextmanager
async def hosts(url: str, count: int, events: int, shared: int, pace: int = 1) -> AsyncIterator[Hosts]:
    """So many hosts, which wait to join."""
    script = str(Path(__file__).parent / "simulated.py")
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-P", script, url, *map(str, (first, PROCESSES, count, events, shared, pace)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for first in range(PROCESSES)
    ]  # fmt: skip
    made = Hosts(processes)
    try:
        await made.wait_for("ready", PROCESSES)
        yield made
    finally:
        for process in processes:
            process.kill()
            await process.wait()


@contextlib.contextmanager
def fresh_server() -> Iterator[tuple[int, str]]:
    """A broker that is ready for a fleet: its pid, and its address."""
    directory = tempfile.mkdtemp(prefix="userevents-bench-", dir="/dev/shm")
    try:
        place = Place(free_port(), directory, _ROOM)
        with running(place) as server:
            asyncio.run(prepare(Settings((place.url,)), _ROOM, 1))
            yield server.pid, place.url
    finally:
        shutil.rmtree(directory)


def spread(case: str, found: list[float]) -> Row:
    """Least, p50, and the range from p50 to p99."""
    ordered = sorted(found)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    median = statistics.median(ordered)
    return Row(case, "", ordered[0], median, median, p99, unit="ms")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK
