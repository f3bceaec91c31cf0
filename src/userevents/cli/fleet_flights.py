"""One run of `fleet flight`: hosts are asked, and what they hold around an instant becomes one trace."""

import asyncio
import contextlib
import json
import signal
import tempfile
import time
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import click

from ..control.recorder import RawFile
from ..errors import Unusable
from ..formats.flight import MAX_INSTANTS
from ..formats.hosts import MAX_HOSTS
from .console import LiveLine, count, fail, say, warn
from .fleeting import Credentials, no_room, with_broker
from .reach import shown
from .rule_options import RuleWish
from .window import Done, finish_window, make_directory, path_at, remove_oldest, stretched, tell

if TYPE_CHECKING:
    from ..fleet.broker import Broker
    from ..fleet.flights import FleetFlight, FleetWindow, Instant

_TURN_S = 0.05
_LAST_LOOK_S = 0.5


class Wish(NamedTuple):
    """What was asked for on the command line."""

    hosts: str
    patterns: tuple[str, ...]
    directory: str
    buffer_size: int
    duration_s: float | None
    quiet: bool
    asked: RuleWish


class FleetRules:
    """Looks out once. What goes wrong before it began is said and ends the process with exit code 1."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._line = LiveLine(enabled=not wish.quiet)
        self._stopped = False
        self._failed = self._has_warned = False
        self._files = 0
        self._next_ns = 0
        self._passed_over = 0
        self._open: FleetWindow | None = None
        """The window in which the next instant may fall."""
        self._cut: set[str] = set()
        self._told: set[str] = set()
        self._flight: FleetFlight
        self._asking: set[asyncio.Task[None]] = set()

    def run(self, servers: str, credentials: Credentials) -> int:
        """Look out until the time is up or a signal comes; return the exit code."""
        try:
            make_directory(self._wish.directory)
        except Unusable as error:
            fail(str(error))
        with_broker(servers, credentials, self._look_out)
        self._line.clear()
        if not self._wish.quiet and not self._wish.asked.as_json:
            passed = f"; rules held {count(self._passed_over, 'time')} more (--every)" if self._passed_over else ""
            say(f"{count(self._files, 'file')}: {self._wish.directory}{passed}")
        return int(self._failed)

    async def _look_out(self, broker: "Broker") -> None:
        from ..fleet.flights import FleetFlight
        from ..fleet.waiting import end

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop)
        self._flight = FleetFlight(broker, self._wish.hosts, self._question(), self._take_in, _place)
        await self._flight.begin()
        asking = asyncio.create_task(self._flight.run())
        asking.add_done_callback(lambda _: self._stop())
        try:
            await self._go_on()
            if asking.done():
                asking.result()
            await self._end()
        finally:
            await end(asking)
            await self._flight.over()

    def _question(self) -> dict[str, Any]:
        """What hosts are asked, in kernel text."""
        from .reach import kernel_text

        asked = self._wish.asked
        patterns = [kernel_text(pattern) for pattern in self._wish.patterns] or ["*"]
        if patterns != ["*"]:
            patterns += [str(rule.pattern) for rule in asked.rules if rule.pattern is not None]
        return {"rules": [rule.text for rule in asked.rules], "patterns": patterns, "buffer": self._wish.buffer_size}

    async def _go_on(self) -> None:
        deadline = None if self._wish.duration_s is None else time.monotonic() + self._wish.duration_s
        is_said = self._wish.quiet
        while not self._stopped and (deadline is None or time.monotonic() < deadline):
            ready = [host for host in self._flight.hosts.values() if host.best]
            if len(ready) > MAX_HOSTS and not self._has_warned:
                self._has_warned = True
                warn(no_room([host.name for host in ready[MAX_HOSTS:]], "a trace"))
            if not is_said and ready:
                is_said = True
                rules = count(len(self._wish.asked.rules), "rule")
                say(f"flight recording; {rules} on {count(len(ready), 'host')}; Ctrl-C ends it")
            await self._turn()

    async def _turn(self) -> None:
        for text in [each for each in self._flight.refused if each not in self._told]:
            self._told.add(text)
            self._line.clear()
            warn(shown(text))
        now_ns = time.monotonic_ns()
        for window in [each for each in self._flight.windows.values() if each.is_over(now_ns)]:
            await self._finish(window)
        if self._line.is_due:
            ready = sum(host.best is not None and host.is_alive for host in self._flight.hosts.values())
            writing = ", writing one" if self._flight.windows else ""
            self._line.show(f"{count(ready, 'host')} hold the newest; {count(self._files, 'file')} written{writing}")
        await asyncio.sleep(_TURN_S)

    def _stop(self) -> None:
        self._stopped = True

    def _take_in(self, instant: "Instant") -> None:
        asked, window = self._wish.asked, self._open
        after_ns = int(asked.after_s * 1e9)
        if window is not None and window.number in self._flight.windows and instant.ts_ns < window.until_ns:
            if len(window.instants) < MAX_INSTANTS - 1:
                window.instants.append(instant)
            window.until_ns = max(window.until_ns, stretched(window.instants[0].ts_ns, instant.ts_ns, after_ns))
        elif instant.ts_ns < self._next_ns or self._stopped:
            self._passed_over += 1 + instant.more
            return
        else:
            window = self._begin(instant, after_ns)
        asking = asyncio.create_task(self._ask_now())
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)

    def _begin(self, instant: "Instant", after_ns: int) -> "FleetWindow":
        asked = self._wish.asked
        since_ns = instant.ts_ns - int(asked.before_s * 1e9)
        window = self._open = self._flight.hold(since_ns, instant.ts_ns + after_ns + 1)
        window.instants.append(instant)
        self._next_ns = instant.ts_ns + int(asked.every_s * 1e9)
        for host in window.hosts.values():
            if host.began_ns > since_ns:
                began = (instant.ts_ns - host.began_ns) / 1e9
                window.notes.append(f"host '{host.name}' holds nothing from before {began:.3f} s before the instant")
        if self._passed_over:
            window.notes.append(f"rules held {count(self._passed_over, 'time')} since the last file (--every)")
            self._passed_over = 0
        if not self._wish.quiet and not asked.as_json:
            self._line.clear()
            what = f": {instant.what}" if instant.what else ""
            say(f"'{shown(instant.rule)}' held on {instant.host}{what}")
        return window

    async def _ask_now(self) -> None:
        from ..errors import NoBroker

        with contextlib.suppress(NoBroker):
            await self._flight.ask()

    async def _end(self) -> None:
        """Take in what is on its way, and end the windows that are open."""
        ending = time.monotonic() + _LAST_LOOK_S
        while time.monotonic() < ending and self._flight.windows:
            await self._turn()
        now_ns = time.monotonic_ns()
        for window in self._flight.windows.values():
            if window.until_ns > now_ns:
                window.until_ns = now_ns
                window.notes.append("the window ended early: the recording ended")
                self._cut.add(window.number)
        await self._ask_now()
        while self._flight.windows:
            await self._turn()
        await self._ask_now()

    async def _finish(self, window: "FleetWindow") -> None:
        self._flight.done(window)
        try:
            done = await asyncio.to_thread(self._write, window)
        except (Unusable, OSError) as error:
            self._failed = True
            warn(f"the window cannot be written: {error}")
            return
        finally:
            for part in window.parts.values():
                part.close()
        if done is None:
            self._failed = True
            return
        self._files += 1
        self._line.clear()
        if self._wish.asked.as_json:
            facts = {"hosts": sorted(window.parts), "missing": window.missing()}
            click.echo(json.dumps({**done.as_json(), **facts}))
        else:
            tell(done, quiet=self._wish.quiet)
        if self._wish.asked.keep:
            remove_oldest(self._wish.directory, self._wish.asked.keep)

    def _write(self, window: "FleetWindow") -> Done | None:
        from ..fleet.flights import write_window
        from ..host.frames import recording_header

        raw = RawFile(path_at(self._wish.directory, window.instants[0].ts_ns))
        try:
            header = {**recording_header(), "command": []}
            write_window(window, header, raw.write, cut="the recording ended" if window.number in self._cut else "")
        except BaseException:
            raw.discard()
            raise
        return finish_window(raw)


def _place() -> IO[bytes]:
    """A file for what a host sends, of which nothing stays."""
    return tempfile.TemporaryFile(prefix="userevents-part-")
