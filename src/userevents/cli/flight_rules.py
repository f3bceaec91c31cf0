"""One run of `record --flight --on`: rules are looked out for, and where one holds its window becomes a trace."""

import json
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import click

from ..control import InstanceControl
from ..control import Tracer as TracerControl
from ..control.events import EventName
from ..control.rule_watch import Held, RuleWatch
from ..control.rules import Rule
from ..errors import NoTracer, Refused, UserEventsError
from .console import count, human_size, say, warn
from .flight import FlightRecording
from .reach import shown
from .recording import Wish
from .rule_options import RuleWish
from .tracing import Tracing
from .window import Done, Window

_LAST_LOOK_S: Final = 0.3
"""So long after the end of the recording a record may still be on its way to its rule."""
_END_S: Final = 30.0
_STRETCH: Final = 10
"""A window ends at most so many times --after behind its first instant, however often a rule holds meanwhile."""
_LOST_S: Final = 1.0
_OURS: Final = re.compile(r"flight-\d{8}-\d{6}-\d{3}(-\d+)?\.dat")


class RuleRecording(FlightRecording):
    """Records into memory alone, and writes a window into the directory `wish.output` each time a rule holds.

    Raises as `Recording` does.
    """

    def __init__(self, wish: Wish, path: str | None, asked: RuleWish) -> None:
        self._directory = wish.output
        _make_directory(wish.output)
        named = [str(rule.pattern) for rule in asked.rules if rule.pattern is not None]
        patterns = wish.patterns if wish.patterns == ("*",) else (*wish.patterns, *named)
        super().__init__(wish._replace(output=f"{wish.output}/flight.dat", patterns=patterns), path)
        self._asked = asked
        self._rules: RuleWatch | None = None
        self._windows: list[Window] = []
        self._finishing: list[Future[None]] = []
        self._finisher = ThreadPoolExecutor(1, "userevents-finish")
        self._begun_ns = 0
        self._next_ns = 0
        self._passed_over = 0
        """Instants since the last file that --every left out."""
        self._lost = 0
        self._next_lost = 0.0
        self._files = 0
        self._reasons: set[tuple[str, str]] = set()

    def _set_up(self, instance: InstanceControl, tracer: TracerControl, run: str) -> None:
        super()._set_up(instance, tracer, run)
        self._tracer = tracer
        self._begun_ns = time.monotonic_ns()
        self._rules = RuleWatch(tracer.access, self._asked.rules, self._selection(run), self._refused, self._status_of)

    def _hello(self) -> str:
        rules = count(len(self._asked.rules), "rule")
        return f"flight recording; {rules}: where one holds, what happens around goes to '{self._directory}'"

    def _status_of(self, pid: int) -> int | None:
        return self._program.status if self._program is not None and self._program.pid == pid else None

    def _refused(self, rule: Rule, event: EventName, why: Refused) -> None:
        if (rule.text, str(event)) not in self._reasons:
            self._reasons.add((rule.text, str(event)))
            self._line.clear()
            warn(f"rule '{shown(rule.text)}' does not look at {shown(str(event))}: {shown(why.reason)}")

    def _held_text(self, held: dict[str, int]) -> str:
        written = f"{count(self._files, 'file')} written" + (", writing one" if self._windows else "")
        return (
            f"{human_size(held['held'])} held of {count(held['programs'], 'program')}, "
            f"{count(held['committed'], 'event')} so far; {count(len(self._asked.rules), 'rule')}, {written}"
        )

    # While it goes on.

    def _turn(self, seconds: float) -> None:
        self._look()
        for window in list(self._windows):
            window.take()
            if window.is_over:
                self._close(window)
        for finished in [each for each in self._finishing if each.done()]:
            self._finishing.remove(finished)
            finished.result()
        time.sleep(seconds)

    def _look(self) -> int:
        """Take in which rules held; returns how often."""
        assert self._rules is not None
        found = self._rules.look()
        for held in found:
            self._take_in(held)
        now = time.monotonic()
        if now >= self._next_lost:
            self._next_lost = now + _LOST_S
            self._count_lost()
        return len(found)

    def _take_in(self, held: Held) -> None:
        window = self._windows[-1] if self._windows else None
        after_ns = int(self._asked.after_s * 1e9)
        if window is not None and held.ts_ns < window.until_ns:
            window.add(held)
            window.extend(min(held.ts_ns + after_ns, window.first_ns + _STRETCH * after_ns))
        elif held.ts_ns < self._next_ns:
            self._passed_over += 1 + held.more
        else:
            self._begin(held, held.ts_ns + after_ns)

    def _begin(self, held: Held, until_ns: int) -> None:
        since_ns = max(held.ts_ns - int(self._asked.before_s * 1e9), self._begun_ns)
        self._line.clear()
        try:
            window = Window(self._tracer, self._name, self._path_at(held.ts_ns), since_ns, until_ns + 1)
        except (UserEventsError, OSError) as error:
            self._failed = True
            warn(f"rule '{shown(held.rule.text)}' held, and its window cannot be written: {error}")
            return
        self._next_ns = held.ts_ns + int(self._asked.every_s * 1e9)
        window.notes += self._notes
        if since_ns == self._begun_ns:
            window.notes.append("the flight recording began within the window: nothing is held from before")
        if self._passed_over:
            window.notes.append(f"rules held {count(self._passed_over, 'time')} since the last file (--every)")
            self._passed_over = 0
        window.add(held)
        self._windows.append(window)
        if not self._wish.quiet and not self._asked.as_json:
            what = f": {held.what}" if held.what else ""
            say(f"'{shown(held.rule.text)}' held{what}")

    def _path_at(self, ts_ns: int) -> str:
        """A file named after an instant, which is not there yet."""
        at_ns = time.time_ns() - (time.monotonic_ns() - ts_ns)
        day = time.strftime("%Y%m%d-%H%M%S", time.localtime(at_ns // 10**9))
        stem = f"{self._directory}/flight-{day}-{at_ns // 10**6 % 1000:03d}"
        path, number = f"{stem}.dat", 1
        while os.path.lexists(path) or os.path.lexists(f"{path}.part"):
            path, number = f"{stem}-{number}.dat", number + 1
        return path

    def _count_lost(self) -> None:
        """Say what the rules could not look at: it may have been what they are for."""
        assert self._rules is not None
        lost = self._rules.lost()
        if lost <= self._lost:
            return
        text = (
            f"{count(lost - self._lost, 'record')} came too fast for the rules to look at, or never left their programs"
        )
        self._lost = lost
        self._line.clear()
        warn(text)
        for window in self._windows[-1:]:
            window.notes.append(text)

    # Windows that are over.

    def _close(self, window: Window) -> None:
        self._windows.remove(window)
        self._finishing.append(self._finisher.submit(self._finish_window, window))

    def _finish_window(self, window: Window) -> None:
        done = window.finish()
        if done is None:
            self._failed = True
            return
        self._files += 1
        self._line.clear()
        if self._asked.as_json:
            click.echo(json.dumps(done.as_json()))
        else:
            _tell(done, quiet=self._wish.quiet)
        if self._asked.keep:
            _remove_oldest(self._directory, self._asked.keep)

    def _end(self, tracing: Tracing, seconds: float) -> None:
        """Take in what is on its way, end the windows that are open, and wait for their files."""
        reason = "the program ended" if self._program is not None and self._has_ended() else "the recording ended"
        try:
            self._wait(lambda: False, _LAST_LOOK_S)
            now_ns = time.monotonic_ns()
            for window in self._windows:
                if window.until_ns > now_ns:
                    window.cut(now_ns, reason)
            self._wait(lambda: not self._windows, _END_S)
        except NoTracer as error:
            warn(f"the tracer went away ({error}); what it had handed on is kept")
        for window in list(self._windows):
            self._close(window)
        for finished in self._finishing:
            finished.result()
        self._finisher.shutdown()
        self._line.clear()
        if self._rules is not None:
            self._rules.close()
        if not self._wish.quiet and not self._asked.as_json:
            passed = f"; rules held {count(self._passed_over, 'time')} more (--every)" if self._passed_over else ""
            say(f"{count(self._files, 'file')} in {seconds:.1f} s: {self._directory}{passed}")

    def _wait(self, is_done: Callable[[], bool], seconds: float) -> None:
        """Go on until it is done, at most so long."""
        deadline = time.monotonic() + seconds
        while not is_done() and time.monotonic() < deadline:
            self._turn(0.02)


def _tell(done: Done, *, quiet: bool) -> None:
    flight, ledger = done.flight, done.finished.ledger
    rules = ", ".join(f"'{shown(rule)}'" for rule in dict.fromkeys(instant.rule for instant in flight.instants))
    programs = count(len(ledger.processes), "program")
    what = f"{rules}: {count(done.finished.records, 'event')} of {programs}: {done.finished.path}"
    if done.lost:
        warn(f"{what}; {count(done.lost, 'event')} LOST (userevents report --summary says why)")
    elif not quiet:
        say(what)
    for line in flight.lines():
        if line.startswith("WINDOW:") and not flight.is_complete and not quiet:
            warn(line.removeprefix("WINDOW: "))


def _make_directory(path: str) -> None:
    from ..errors import Unusable

    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise Unusable(
            f"'{path}' is no directory for the files of rules: {error.strerror} (-o names another)"
        ) from None


def _remove_oldest(directory: str, keep: int) -> None:
    """Keep the newest files that have a name of ours."""
    names = sorted(name for name in os.listdir(directory) if _OURS.fullmatch(name))
    for name in names[:-keep]:
        try:
            os.unlink(f"{directory}/{name}")
        except OSError as error:
            warn(f"'{directory}/{name}' is one too many and stays: {error.strerror}")
