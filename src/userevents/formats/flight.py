"""What a trace says of the flight rules it was written for: which held, when, and how its window was held."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from . import facts
from .text import escape, show_time

MAX_INSTANTS = 1000
_SHOWN = 5


class Instant(NamedTuple):
    """A rule held. `what` says by what, in words; `pid` is 0 where it was no one process."""

    rule: str
    ts_ns: int
    what: str
    pid: int
    comm: str
    host: str = ""


class Short(NamedTuple):
    """A program whose ring held less than was asked for: nothing from before `held_ns`."""

    pid: int
    comm: str
    held_ns: int
    host: str = ""


class Flight(NamedTuple):
    """The rules that held, in order of time, and the window. `until_ns` is 0 for a trace that is no window.

    `more` counts instants that are told of by their number only. `cut` says why the window ended early, if it did.
    """

    instants: tuple[Instant, ...] = ()
    since_ns: int = 0
    until_ns: int = 0
    short: tuple[Short, ...] = ()
    more: int = 0
    cut: str = ""

    def lines(self) -> list[str]:
        """Say which rules held when, and how the window was held; nothing for a trace without rules."""
        found = []
        for instant in self.instants[:_SHOWN]:
            who = f" of {escape(instant.comm)} ({instant.pid})" if instant.pid else ""
            host = f" on {escape(instant.host)}" if instant.host else ""
            what = f": {escape(instant.what)}" if instant.what else ""
            found.append(f"RULE: '{escape(instant.rule)}' held at {show_time(instant.ts_ns)}{what}{who}{host}")
        more = max(len(self.instants) - _SHOWN, 0) + self.more
        if more:
            found.append(f"RULE: and {more:,} more time{'' if more == 1 else 's'}")
        return [*found, *self._window()]

    def _window(self) -> list[str]:
        if not self.until_ns or not self.instants:
            return []
        first, last = self.instants[0].ts_ns, max(instant.ts_ns for instant in self.instants)
        found = [f"WINDOW: {_seconds(first - self.since_ns)} before to {_seconds(self.until_ns - last)} after"]
        if self.cut:
            found.append(f"WINDOW: ended early: {escape(self.cut)}")
        for short in self.short[:_SHOWN]:
            began = _seconds(max(first - short.held_ns, 0))
            host = f" on {escape(short.host)}" if short.host else ""
            found.append(
                f"WINDOW: {escape(short.comm)} ({short.pid}){host} is there from {began} before only: its ring was full"
            )
        if len(self.short) > _SHOWN:
            more = len(self.short) - _SHOWN
            found.append(f"WINDOW: and so {'is 1 more program' if more == 1 else f'are {more:,} more programs'}")
        return found

    @property
    def is_complete(self) -> bool:
        """Whether the whole window was held of every program."""
        return not self.short and not self.cut

    def as_json(self) -> dict[str, object]:
        """The same for machines."""
        return {
            "rules": [instant._asdict() for instant in self.instants],
            "more": self.more,
            "since_ns": self.since_ns,
            "until_ns": self.until_ns,
            "short": [short._asdict() for short in self.short],
            "cut": self.cut,
            "complete": self.is_complete,
        }


NO_FLIGHT = Flight()


def read_flight(rules: Sequence[Mapping[str, object]], end: Mapping[str, object] | None) -> Flight:
    """Read the facts of RULE frames and of the END frame; what is none of a window is left out."""
    found = [_instant(each) for each in rules[:MAX_INSTANTS] if facts.text(each, "rule")]
    end = end or {}
    short = [
        Short(*_who(each), facts.count(each, "held_ns"), facts.text(each, "host"))
        for each in facts.mappings(end, "short")[:MAX_INSTANTS]
    ]
    return Flight(
        tuple(sorted(found, key=lambda instant: instant.ts_ns)),
        facts.count(end, "since_ns"),
        facts.count(end, "until_ns"),
        tuple(short),
        sum(facts.count(each, "more") for each in rules),
        "; ".join(text for each in rules if (text := facts.text(each, "cut"))),
    )


def _instant(found: Mapping[str, object]) -> Instant:
    pid, comm = _who(found)
    rule, what, host = (facts.text(found, name) for name in ("rule", "what", "host"))
    return Instant(rule, facts.count(found, "mono_ns"), what, pid, comm, host)


def _who(found: Mapping[str, object]) -> tuple[int, str]:
    return facts.count(found, "pid"), facts.text(found, "comm")


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.3f} s"
