"""The window around an instant at which flight rules held, and the trace that comes of it."""

import os
import re
import time
from typing import Final, NamedTuple

from ..buffer import stream
from ..control import Tracer
from ..control.recorder import RawFile
from ..control.rule_watch import Held
from ..control.window import Window
from ..errors import Unusable
from ..formats import open_trace
from ..formats.finish import Finished
from ..formats.flight import MAX_INSTANTS, Flight
from .console import count, say, warn
from .finish import finish
from .reach import shown

_STRETCH: Final = 10
_OURS: Final = re.compile(r"flight-\d{8}-\d{6}-\d{3}(-\d+)?\.dat")


class Done(NamedTuple):
    """A finished window."""

    finished: Finished
    flight: Flight

    @property
    def lost(self) -> int:
        """Records of the window that are not in it, as far as that is known."""
        ledger = self.finished.ledger
        return sum(ledger.dropped.values()) + ledger.total("missed")

    def as_json(self) -> dict[str, object]:
        """What there is to tell of it, for machines."""
        ledger = self.finished.ledger
        facts = self.flight.as_json()
        return {
            "file": self.finished.path,
            **facts,
            "complete": bool(facts["complete"]) and not self.lost and not ledger.total("overwritten"),
            "programs": len(ledger.processes),
            "records": self.finished.records,
            "lost": self.lost,
            "overwritten": ledger.total("overwritten"),
            "balanced": ledger.is_balanced,
            "notes": self.finished.notes,
        }


class HeldWindow(Window):
    """A window and the rules that held in it, on its way into the trace `path`.

    Raises `Unusable` where the file cannot be written, `NoTracer`, `Refused`.
    """

    def __init__(self, tracer: Tracer, name: str, path: str, since_ns: int, until_ns: int) -> None:
        super().__init__(tracer, name, RawFile(path), since_ns, until_ns)
        self.first_ns = 0
        """When the first rule held."""
        self._held: list[Held] = []
        self._more = 0

    def add(self, held: Held) -> None:
        """A rule held within the window."""
        self.first_ns = self.first_ns or held.ts_ns
        self._more += held.more
        if len(self._held) < MAX_INSTANTS - 1:
            self._held.append(held)
        else:
            self._more += 1

    def finish(self) -> Done | None:
        """Write down which rules held, and make a trace of it; None if that failed, which is said."""
        try:
            for held in self._held:
                self.raw.write(stream.pack_rule(_facts(held)))
            if self._more or self.cut_by:
                self.raw.write(stream.pack_rule({"more": self._more, "cut": self.cut_by}))
            for note in self.notes:
                self.raw.write(stream.pack_note(note))
        except OSError as error:
            warn(f"'{self.raw.path}' is incomplete: {error.strerror}")
        return finish_window(self.raw)


def finish_window(raw: RawFile) -> Done | None:
    """Make a trace of the recording of a window; None if that failed, which is said."""
    done = finish(raw, quiet=True)
    if done is None:
        return None
    with open_trace(done.path) as trace:
        return Done(done, trace.flight)


def _facts(held: Held) -> dict[str, object]:
    return {
        "rule": shown(held.rule.text),
        "mono_ns": held.ts_ns,
        "what": held.what,
        "pid": held.pid,
        "comm": held.comm,
    }


def tell(done: Done, *, quiet: bool) -> None:
    """Say what became of a window."""
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


def stretched(first_ns: int, ts_ns: int, after_ns: int) -> int:
    """Before which time a window ends in which a rule holds again: at most so many times --after behind its first."""
    return min(ts_ns, first_ns + (_STRETCH - 1) * after_ns) + after_ns + 1


def path_at(directory: str, ts_ns: int) -> str:
    """A file named after an instant, which is not there yet."""
    at_ns = time.time_ns() - (time.monotonic_ns() - ts_ns)
    day = time.strftime("%Y%m%d-%H%M%S", time.localtime(at_ns // 10**9))
    stem = f"{directory}/flight-{day}-{at_ns // 10**6 % 1000:03d}"
    path, number = f"{stem}.dat", 1
    while os.path.lexists(path) or os.path.lexists(f"{path}.part"):
        path, number = f"{stem}-{number}.dat", number + 1
    return path


def make_directory(path: str) -> None:
    """Make the directory for the files of rules; raises `Unusable`."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise Unusable(
            f"'{path}' is no directory for the files of rules: {error.strerror} (-o names another)"
        ) from None


def remove_oldest(directory: str, keep: int) -> None:
    """Keep the newest files that have a name of ours."""
    names = sorted(name for name in os.listdir(directory) if _OURS.fullmatch(name))
    for name in names[:-keep]:
        try:
            os.unlink(f"{directory}/{name}")
        except OSError as error:
            warn(f"'{directory}/{name}' is one too many and stays: {error.strerror}")
