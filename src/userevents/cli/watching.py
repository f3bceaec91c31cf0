"""What `top` knows: rates, bits and losses of live programs' events, and the records of those it switched on.

Programs of ours count their events themselves, in their session files. Of events that stand in the tree alone, of
native programs or a kernel's, nothing is counted but the records that come while one is on here.
"""

import contextlib
import glob
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ..control import Access, Tracer
from ..control.events import USER_SYSTEMS, EventControl, EventName, Pattern, all_events
from ..control.live import Live
from ..errors import Refused
from ..formats import Process, Record
from ..formats.text import text_line
from .following import Following
from .reach import kernel_text, shown
from .sessions import Declared, declared_events

LINES_MAX: Final = 500
"""Lines kept of each event that is followed."""
NOBODY: Final = 0
"""Stands for the process of an event of which nobody is known."""


class EventRow(NamedTuple):
    """One event over all programs that declare it."""

    name: str
    state: str
    """``on``, ``off``, ``refused``, or ``some`` where programs differ."""
    here: bool
    """Whether `top` itself has it on."""
    rate: float
    attempts: int
    lost: int
    programs: int
    fields: str


class ProcessRow(NamedTuple):
    """One program."""

    pid: int
    program: str
    rate: float
    attempts: int
    lost: int
    on: int
    events: int


class View(NamedTuple):
    """Everything at one moment; rates are per second since the moment before."""

    events: tuple[EventRow, ...]
    processes: tuple[ProcessRow, ...]
    rate: float
    attempts: int
    lost: int
    overwritten: int
    """Records of followed events that came faster than they were read."""
    problems: tuple[str, ...]
    lines: dict[str, tuple[str, ...]]
    """The newest lines of each event that is on here, oldest first; safe for a terminal."""


class Watch:
    """Looks at live programs through the tracer behind `access`. One thread at a time may use it.

    Without `sessions` it looks at the tree alone: that of a kernel, which knows no session files.
    """

    def __init__(self, access: Access, *, sessions: bool = True) -> None:
        self._access = access
        self._sessions = sessions
        self._live = Live(access, ())
        self._following = Following(self._live)
        self._here: frozenset[str] = frozenset()
        self._before: dict[tuple[int, str, str], int] = {}
        self._when = time.monotonic()
        self._lines: dict[str, deque[str]] = {}
        self._came: dict[tuple[int, str, str], int] = {}
        self._comms: dict[int, str] = {}
        self._fields: dict[EventName, str] = {}

    def look(self, here: Iterable[str]) -> View:
        """Have exactly the events `here` on, take what they wrote, and return how things stand."""
        self._switch(frozenset(here))
        for record in self._following.take():
            self._keep(record)
        declared, problems = declared_events(None, ()) if self._sessions else ([], [])
        declared += self._in_the_tree({item.event for item in declared})
        now = time.monotonic()
        span, self._when = max(now - self._when, 1e-6), now
        totals = {(item.pid, item.event, item.fields): item.attempts for item in declared}
        before, self._before = self._before, totals
        # What was not there a moment ago has no rate yet: its count is of all its life.
        rates = {key: max(total - before.get(key, total), 0) / span for key, total in totals.items()}
        overwritten, _ = self._live.settle() if self._here else (0, 0)
        return View(
            self._events(declared, rates),
            _processes(declared, rates),
            sum(rates.values()),
            sum(totals.values()),
            sum(item.dropped for item in declared),
            overwritten,
            tuple(problems),
            {name: tuple(lines) for name, lines in self._lines.items() if name in self._here},
        )

    def close(self) -> None:
        """Switch off what was switched on here."""
        self._live.close()

    def _switch(self, here: frozenset[str]) -> None:
        if here != self._here:
            self._here = here
            self._live.set_patterns([Pattern("", glob.escape(kernel_text(name))) for name in sorted(here)])
        if here:
            self._following.look()

    def _keep(self, record: Record) -> None:
        lines = self._lines.setdefault(record.event.name, deque(maxlen=LINES_MAX))
        lines.append(text_line(record).strip())
        pid = record.tid if record.pid is None else record.pid
        self._comms.setdefault(pid, record.comm)
        writer = pid, record.event.system, record.event.name
        self._came[writer] = self._came.get(writer, 0) + 1

    def _in_the_tree(self, declared: set[str]) -> list[Declared]:
        """Return the events that no session declares, once for each process whose records came, or once for nobody."""
        used_by = Tracer(self._access).status().used_by
        found = []
        for name in all_events(self._access):
            if name.system not in USER_SYSTEMS or not declared.isdisjoint(
                map(shown, (name.name, name.registered_name))
            ):
                continue
            writers = [(pid, count) for (pid, *event), count in self._came.items() if event == [name.system, name.name]]
            for pid, count in writers or [(NOBODY, 0)]:
                state = "on" if used_by.get(name.name) else "off"
                found.append(
                    Declared(
                        shown(name.name), state, "", pid, self._comms.get(pid, ""), self._fields_of(name), count, 0,
                        name.is_multi, {}, 0,
                    )
                )  # fmt: skip
        return found

    def _fields_of(self, name: EventName) -> str:
        if name not in self._fields:
            try:
                fields = EventControl(self._access, "", name).format.fields
            except Refused:
                return ""
            self._fields[name] = "; ".join(f"{each.ctype} {each.name}" for each in fields)
        return self._fields[name]

    def _events(self, declared: list[Declared], rates: dict[tuple[int, str, str], float]) -> tuple[EventRow, ...]:
        by_name: dict[str, list[Declared]] = {}
        for item in declared:
            by_name.setdefault(item.event, []).append(item)
        found = []
        for name, items in sorted(by_name.items()):
            states = {item.state for item in items}
            found.append(
                EventRow(
                    name,
                    states.pop() if len(states) == 1 else "some",
                    name in self._here,
                    sum(rates[item.pid, item.event, item.fields] for item in items),
                    sum(item.attempts for item in items),
                    sum(item.dropped for item in items),
                    len({item.pid for item in items} - {NOBODY}),
                    items[0].fields,
                )
            )
        return tuple(found)


def _processes(declared: list[Declared], rates: dict[tuple[int, str, str], float]) -> tuple[ProcessRow, ...]:
    by_pid: dict[int, list[Declared]] = {}
    for item in declared:
        if item.pid != NOBODY:
            by_pid.setdefault(item.pid, []).append(item)
    return tuple(
        ProcessRow(
            pid,
            Process(pid, items[0].program, items[0].program.split(" ")).title,
            sum(rates[item.pid, item.event, item.fields] for item in items),
            sum(item.attempts for item in items),
            sum(item.dropped for item in items),
            sum(item.state == "on" for item in items),
            len(items),
        )
        for pid, items in sorted(by_pid.items())
    )


@contextlib.contextmanager
def watching(access: Access, *, sessions: bool = True) -> Iterator[Watch]:
    """Watch as long as this lasts."""
    watch = Watch(access, sessions=sessions)
    try:
        yield watch
    finally:
        watch.close()
