"""Looking at the fleet live, window by window: the common part of fleet tail and fleet query."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .console import count, leave_pipe, reader_left, say, take_any_text, warn
from .fleeting import Credentials, no_room, tell_unknown, with_broker
from .reach import shown

if TYPE_CHECKING:
    from ..fleet.broker import Broker
    from ..fleet.collect import Collector
    from ..fleet.filtering import Chosen
    from ..fleet.live import Window, Windows

Show = Callable[["Window"], bool]
"""Shows a window; False when that is enough."""


class Watch(NamedTuple):
    """What is looked at: which hosts and patterns, how long a window is, and how late its records may come."""

    hosts: str
    patterns: tuple[str, ...]
    window_s: float
    delay_s: float
    has_all_events: bool
    """Whether a window knows events of which it has no record."""
    quiet: bool
    where: str = ""
    """A filter that records have to pass."""


class Watching:
    """Shows windows until Ctrl-C, until it is enough, or until nobody reads what is written."""

    def __init__(self, watch: Watch, show: Show) -> None:
        self._watch = watch
        self._show = show
        self._over = False
        self._chosen: Chosen | None = None
        self._told: set[str] = set()

    def run(self, servers: str, credentials: Credentials) -> None:
        """Look on; what was lost is said at the end."""
        take_any_text()
        collector, windows = with_broker(servers, credentials, self._look_on)
        _tell_lost(collector, windows)
        if self._chosen and self._chosen.unreadable:
            warn(f"what hosts sent could not be read, and was left out, {count(self._chosen.unreadable, 'time')}")

    async def _look_on(self, broker: "Broker") -> "tuple[Collector, Windows]":
        from ..fleet.collect import Collector
        from ..fleet.filtering import Chosen
        from ..fleet.live import Windows
        from ..fleet.waiting import end
        from ..host.frames import recording_header

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._end)
        watch = self._watch
        header = {**recording_header(), "patterns": list(watch.patterns)}
        lengths = int(watch.window_s * 1e9), int(watch.delay_s * 1e9)
        windows = Windows(header, time.monotonic_ns(), *lengths, has_all_events=watch.has_all_events)
        sink = self._chosen = Chosen(windows, watch.patterns, watch.where) if watch.where else None
        collector = Collector(broker, sink or windows, watch.hosts, watch.patterns)
        await collector.begin()
        reading = asyncio.create_task(self._read(collector))
        try:
            if not watch.quiet:
                await tell_unknown(broker, watch.patterns, watch.hosts)
            await self._show_all(collector, windows, reading)
        finally:
            await end(reading)
            await collector.give_back()
        return collector, windows

    async def _read(self, collector: "Collector") -> None:
        async for _ in collector.lots():
            pass

    async def _show_all(self, collector: "Collector", windows: "Windows", reading: "asyncio.Task[None]") -> None:
        told, warned = self._watch.quiet, False
        started = time.monotonic()
        while not self._over:
            if reading.done():
                reading.result()
            if collector.merged.left_out and not warned:
                warned = True
                warn(no_room(collector.merged.left_out, "a look"))
            if not told and time.monotonic() - started > 3:
                told = True
                if not collector.hosts:
                    say(f"no host that matches '{self._watch.hosts}' is in the fleet; waiting for one")
            self._tell_refused()
            for window in windows.closed(time.monotonic_ns()):
                if self._over or not self._show_one(window):
                    return
            if reader_left():
                return
            await asyncio.sleep(min(self._watch.window_s / 4, 0.05))

    def _tell_refused(self) -> None:
        """Say once to which events the filter cannot be applied."""
        for event, why in self._chosen.refused().items() if self._chosen else ():
            if event not in self._told:
                self._told.add(event)
                warn(f"{shown(event)} is left out: {why}")

    def _show_one(self, window: "Window") -> bool:
        try:
            goes_on = self._show(window)
            sys.stdout.flush()
        except BrokenPipeError:
            leave_pipe()
            return False
        return goes_on

    def _end(self) -> None:
        self._over = True


def _tell_lost(collector: "Collector", windows: "Windows") -> None:
    merged = collector.merged
    if merged.missing:
        records = f", {count(merged.missing_records, 'record')}" if merged.missing_records else ""
        warn(f"{count(merged.missing, 'batch').replace('batchs', 'batches')} never came{records}")
    if windows.dropped:
        warn(f"{count(windows.dropped, 'record')} were dropped by their hosts: the broker did not take them")
    if windows.late:
        warn(f"{count(windows.late, 'record')} came late, and were shown with later ones (--delay waits longer)")
    if windows.unreadable:
        warn(f"{count(windows.unreadable, 'piece')} of pages could not be read without what was before them")
