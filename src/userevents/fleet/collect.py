"""Taking in what hosts send, live or as far as the broker has kept it: the part of recording that waits and asks.

A recording of the fleet begins on each host with a recording of its own: its agent is asked to begin a new one, so
that its sessions and events are told anew and its counts start here. It is asked again at the end, which gives the
last counts. Hosts that come later are asked then; clocks are compared all the while.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from ..errors import NoBroker
from . import names
from .clock import compare
from .merged import AgentRun, Merged, Sink
from .stream import Reader, see_stream
from .view import View
from .waiting import end

if TYPE_CHECKING:
    from .broker import Broker

COMPARE_S: Final = 2.0
"""How often clocks are compared, and who is there; with many hosts less often, so that asking stays a small part."""
_A_HOST_S: Final = 0.02
_COMPARE_MAX_S: Final = 10.0
_AT_ONCE: Final = 32
"""Hosts that are asked at once: with a thousand, answers would wait for each other, and say little of clocks."""
END_S: Final = 5.0
"""How long hosts may take to end."""
_ANSWER_S: Final = 2.0
_AGAIN_S: Final = 0.2
_BEGIN_S: Final = 10.0
"""A host that was asked to begin a recording, of which nothing came for so long, is asked again."""


class Collector:
    """Collects what the hosts that match `hosts` (a glob) send into a sink.

    `patterns` are had recorded there for as long as this goes on. `is_live`: from now on, each host from a recording of
    its own on; else what the broker has kept, up to now: the hosts that are there end their recordings for that, since
    only the counts at a recording's end were taken at one moment with its last page.
    """

    def __init__(
        self, broker: "Broker", sink: Sink, hosts: str = "*", patterns: Sequence[str] = (), *, is_live: bool = True
    ) -> None:
        self.merged = Merged(sink, lambda host: fnmatchcase(host, hosts))
        self.stored = 0
        """The last message that was read."""
        self.hosts: set[str] = set()
        """Hosts that are there."""
        self._broker = broker
        self._pattern = hosts
        self._wanted = json.dumps({"who": os.urandom(8).hex(), "patterns": list(patterns)}).encode()
        self._no_more = json.dumps({"who": json.loads(self._wanted)["who"], "patterns": []}).encode()
        self._has_patterns = bool(patterns) and is_live
        self._is_live = is_live
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._last = 0
        self._late_s = 0.0
        """When what is kept and has not ended by then is left as it is."""
        self._closing: list[AgentRun] = []
        self._asked: dict[str, tuple[str, float]] = {}
        """The run of each host's agent that was asked to begin a recording, and when."""

    async def begin(self, stored: int | None = None) -> None:
        """See that there is a stream, and decide where to read on: behind `stored`, or where it is due."""
        if not self._is_live:
            await self._close_recordings()
        kept = await see_stream(self._broker)
        if stored is not None:
            self.stored = stored
        else:
            self.stored = kept.last if self._is_live else kept.first - 1
        self._last = kept.last

    async def _close_recordings(self) -> None:
        """Have the hosts that are there end their recordings, so that what is kept ends with their counts."""
        await self._look()
        await asyncio.gather(*map(self._close, sorted(self.hosts)))

    async def _close(self, host: str) -> None:
        """Have a host end its recording, however busy it is; what it sends up to that end is then waited for."""
        deadline = time.monotonic() + END_S
        while (answer := await self._have_ended(host)) is None:
            if time.monotonic() >= deadline:
                return
            await asyncio.sleep(_AGAIN_S)
        run = self.merged.run_of(host, answer[0])
        run.is_ending, run.awaited = True, answer[1]
        self._closing.append(run)
        async with self._slots:
            await self._compare(host)

    async def lots(self) -> AsyncIterator[int]:
        """Read, and yield how many messages came each time; for what the broker has kept, until it was all read."""
        exact = "" if set(self._pattern) & set("*?[") else self._pattern
        reader = Reader(self._broker, self.stored + 1, exact)
        asking = asyncio.create_task(self._keep_asking())
        try:
            async for messages in reader.lots():
                for message in messages:
                    self.merged.take(message)
                    self.stored = message.stored
                yield len(messages)
                if asking.done():
                    asking.result()
                if not self._is_live and await self._has_all(reader, is_idle=not messages):
                    return
        finally:
            await end(asking)
            await reader.close()

    async def _has_all(self, reader: Reader, *, is_idle: bool) -> bool:
        """Whether all came that the broker has kept, and the ends of the recordings that were ended for this."""
        if not self._late_s:
            if self.stored < self._last and not (is_idle and await reader.is_at_end()):
                return False
            self._late_s = time.monotonic() + END_S
        return all(run.is_done for run in self._closing) or time.monotonic() >= self._late_s

    async def ask_to_end(self) -> None:
        """Ask each host whose recording runs to end it: its last batches are then on their way."""
        async with asyncio.TaskGroup() as group:
            for run in self._running():
                group.create_task(self._ask_to_end(run))
            group.create_task(self.give_back())

    async def give_back(self) -> None:
        """Tell the hosts that the patterns are not wanted any more; those that do not hear it forget them soon."""
        if self._has_patterns:
            await asyncio.gather(*(self._request(host, "patterns", self._no_more) for host in self.hosts))

    @property
    def is_done(self) -> bool:
        """Whether each host that was asked to end has."""
        return all(run.is_done or run.turns.has_ended or not run.awaited for run in self._running())

    def begun(self) -> set[str]:
        """Hosts of which a recording has begun."""
        return {run.host for run in self._running()}

    def unended(self) -> list[str]:
        """Hosts whose recordings did not end; of what was kept, those that are there."""
        open_ends = {run.host for run in self._running() if not run.is_done and not run.turns.has_ended}
        return sorted(open_ends if self._is_live else open_ends & self.hosts)

    def absent(self) -> list[str]:
        """Hosts that are there, and of which no recording has begun."""
        begun = {run.host for run in self.merged.runs.values() if run.scope}
        return sorted(self.hosts - begun - self.merged.left_out) if self._is_live else []

    def _running(self) -> list[AgentRun]:
        latest = {run.host: self.merged.latest(run.host) for run in self.merged.runs.values()}
        return [run for run in latest.values() if run is not None and run.scope]

    async def _ask_to_end(self, run: AgentRun) -> None:
        run.is_ending = True
        answer = await self._have_ended(run.host)
        if answer is not None and answer[0] == run.run:
            self.merged.end_with(run, answer[1])

    async def _have_ended(self, host: str) -> tuple[str, int] | None:
        """Have a host end its recording when it is its turn to be asked."""
        async with self._slots:
            return await self._ask_for_recording(host)

    async def _ask_for_recording(self, host: str) -> tuple[str, int] | None:
        """Ask an agent to begin a recording; return its run and the number of the recording that ends with that."""
        answer = await self._request(host, "recording", b"")
        run, _, number = (answer or b"").decode("ascii", "replace").partition(" ")
        return (run, int(number)) if run.isalnum() and number.isdecimal() and len(number) < 19 else None

    async def _request(self, host: str, what: str, data: bytes) -> bytes | None:
        from nats import errors

        try:
            answer = await self._broker.client.request(names.ask_subject(host, what), data, timeout=_ANSWER_S)
        except (errors.Error, NoBroker, TimeoutError, OSError):
            return None
        return bytes(answer.data)

    async def _keep_asking(self) -> None:
        while True:
            began = time.monotonic()
            await self._look()
            await asyncio.gather(*(self._ask_in_turn(host) for host in sorted(self.hosts)))
            every_s = min(max(COMPARE_S, len(self.hosts) * _A_HOST_S), _COMPARE_MAX_S)
            await asyncio.sleep(max(every_s - (time.monotonic() - began), 0.1))

    async def _look(self) -> None:
        """See which hosts are there."""
        with contextlib.suppress(NoBroker):
            alive = View(await self._broker.keys("lease.*")).alive
            self.hosts = {host for host in alive if fnmatchcase(host, self._pattern)}

    async def _ask_in_turn(self, host: str) -> None:
        async with self._slots:
            await self._ask(host)

    async def _ask(self, host: str) -> None:
        """Compare a host's clock, and have it begin a recording: when it is new, and where facts may be missing.

        One that is too busy to answer in time for a comparison begins all the same.
        """
        if self._has_patterns:
            await self._request(host, "patterns", self._wanted)
        run = await self._compare(host) or self.merged.latest(host)
        if not self._is_live or (run and run.is_ending):
            return
        asked, when = self._asked.get(host, ("", 0.0))
        is_late = time.monotonic() - when > _BEGIN_S
        is_new = not run.turns.recording and (asked != run.run or is_late) if run else is_late
        if is_new or (run and run.has_gap):
            if run:
                run.has_gap = False
            if answer := await self._ask_for_recording(host):
                self._asked[host] = answer[0], time.monotonic()

    async def _compare(self, host: str) -> AgentRun | None:
        """Compare a host's clock with ours; returns the run of its agent that answered."""
        found = await compare(self._broker, host)
        if found is None:
            return None
        self.merged.add_sample(host, found.run, found.sample)
        return self.merged.run_of(host, found.run)


async def collect_until(collector: Collector, is_over: Callable[[], bool], told: Callable[[], None]) -> None:
    """Read until `is_over`, then have the hosts end and read on until they have, or are too late.

    `told` is called each time something came, or nothing for a moment.
    """
    deadline = 0.0
    async for _ in collector.lots():
        told()
        if not deadline and is_over():
            await collector.ask_to_end()
            deadline = time.monotonic() + END_S
        if deadline and (collector.is_done or time.monotonic() >= deadline):
            break
    collector.merged.give_up(collector.stored)
