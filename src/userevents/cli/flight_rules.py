"""One run of `record --flight --on`: rules are looked out for, and where one holds its window becomes a trace."""

import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import click

from ..control import InstanceControl
from ..control import Tracer as TracerControl
from ..control.events import EventName
from ..control.history import read_history
from ..control.rule_watch import Held, RuleWatch
from ..control.rules import Rule
from ..engine.history import GONE_MAX
from ..errors import Malformed, NoTracer, Refused, UserEventsError
from ..fields.near import instead
from .console import count, human_size, say, warn
from .flight import FlightRecording
from .reach import shown
from .recording import Wish
from .rule_options import RuleWish
from .tracing import Tracing
from .window import HeldWindow, make_directory, path_at, remove_oldest, stretched, tell

_LAST_LOOK_S: Final = 0.3
"""So long after the end of the recording a record may still be on its way to its rule."""
_END_S: Final = 30.0
_LOST_S: Final = 1.0


class RuleRecording(FlightRecording):
    """Records into memory alone, and writes a window into the directory `wish.output` each time a rule holds.

    Raises as `Recording` does.
    """

    def __init__(self, wish: Wish, path: str | None, asked: RuleWish) -> None:
        self._directory = wish.output
        make_directory(wish.output)
        named = [str(rule.pattern) for rule in asked.rules if rule.pattern is not None]
        patterns = wish.patterns if wish.patterns == ("*",) else (*wish.patterns, *named)
        super().__init__(wish._replace(output=f"{wish.output}/flight.dat", patterns=patterns), path)
        self._asked = asked
        self._rules: RuleWatch | None = None
        self._windows: list[HeldWindow] = []
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
            window.extend(stretched(window.first_ns, held.ts_ns, after_ns))
        elif held.ts_ns < self._next_ns:
            self._passed_over += 1 + held.more
        else:
            self._begin(held, held.ts_ns + after_ns)

    def _begin(self, held: Held, until_ns: int) -> None:
        since_ns = max(held.ts_ns - int(self._asked.before_s * 1e9), self._begun_ns)
        self._line.clear()
        try:
            window = HeldWindow(self._tracer, self._name, path_at(self._directory, held.ts_ns), since_ns, until_ns + 1)
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

    def _close(self, window: HeldWindow) -> None:
        self._windows.remove(window)
        self._finishing.append(self._finisher.submit(self._finish_window, window))

    def _finish_window(self, window: HeldWindow) -> None:
        done = window.finish()
        if done is None:
            self._failed = True
            return
        self._files += 1
        self._line.clear()
        if self._asked.as_json:
            click.echo(json.dumps(done.as_json()))
        else:
            tell(done, quiet=self._wish.quiet)
        if self._asked.keep:
            remove_oldest(self._directory, self._asked.keep)

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
        self._tell_unknown()
        if self._rules is not None:
            self._rules.close()
        if not self._wish.quiet and not self._asked.as_json:
            passed = f"; rules held {count(self._passed_over, 'time')} more (--every)" if self._passed_over else ""
            say(f"{count(self._files, 'file')} in {seconds:.1f} s: {self._directory}{passed}")

    def _tell_unknown(self) -> None:
        """Say which rules name no event that there was: a misspelt one never holds."""
        try:
            past = read_history(self._tracer.access)
        except (NoTracer, Refused, Malformed):
            return
        if past is None or len(past.gone) >= GONE_MAX:  # there may have been others
            return
        names = [*past.events, *(gone.event for gone in past.gone)]
        for rule in self._asked.rules:
            if rule.pattern is not None and not any(
                rule.pattern.matches(EventName(*each.split(":", 1))) for each in names
            ):
                plain = (shown(each).removeprefix("user_events:") for each in names)
                what = instead(shown(str(rule.pattern)), plain, "declared were:")
                warn(f"no event that was declared matches rule '{shown(rule.text)}'; {what}")

    def _wait(self, is_done: Callable[[], bool], seconds: float) -> None:
        """Go on until it is done, at most so long."""
        deadline = time.monotonic() + seconds
        while not is_done() and time.monotonic() < deadline:
            self._turn(0.02)
