"""Looks out for flight rules: each has an instance of its own, in which the tracer puts what passes the rule's filter.

So nothing is done here, and nothing per record in the tracer, for events that no rule names.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from struct import Struct
from typing import Any, Final, NamedTuple

from ..abi.ring_buffer import RECORD_HEADER, RECORD_HEADER_SIZE
from ..buffer import page_data
from ..buffer.page import body_start, record_end
from ..buffer.run import Run
from ..errors import Malformed, NoTracer, Refused
from ..fields import Field, decode
from ..fields.escape import escape
from .access import Access
from .deaths import Death, Deaths, StatusOf, matches
from .events import EventName
from .live import Live, thread_owner
from .rules import CRASH, DEATH, GAP, RATE, RECORD, Rule
from .tracer import Tracer

_HEAD: Final = Struct(RECORD_HEADER)
_TOLD_MAX: Final = 10
"""Records of one rule in one look that are told each by itself."""
_READ_S: Final = 0.1
_LOOK_S: Final = 1.0
_PROGRAMS_S: Final = 0.25
_SLACK_NS: Final = 300_000_000
"""So long a record may be on its way: only after that it is missing."""
_TEXT_MAX: Final = 200
_ENDS: Final = (DEATH, CRASH)


class Held(NamedTuple):
    """A rule held, at that time; `more` times besides until the next one that is told."""

    rule: Rule
    ts_ns: int
    what: str = ""
    pid: int = 0
    comm: str = ""
    more: int = 0


class _Seen(NamedTuple):
    """One record, with where its body is."""

    ts_ns: int
    body: bytes


class RuleWatch:
    """Looks out for `rules` among the programs that `selection` selects (rules of `InstanceControl.set_selection`).

    `refused` is told of an event that a rule's filter does not suit: the rule, the event, and why. `status_of` may know
    how a process ended; `name` begins those of the instances.
    """

    def __init__(
        self,
        access: Access,
        rules: Sequence[Rule],
        selection: Sequence[str],
        refused: Callable[[Rule, EventName, Refused], None],
        status_of: StatusOf = lambda pid: None,
        name: str = "live",
    ) -> None:
        self._tracer = Tracer(access)
        self._next_look = self._next_programs = self._next_read = 0.0
        self._watched: list[_Watched] = []
        self._ends = [rule for rule in rules if rule.kind in _ENDS]
        self._deaths = Deaths((rule.who for rule in self._ends), status_of)
        self._programs: dict[int, Any] = {}
        try:
            for rule in rules:
                if rule.kind not in _ENDS:
                    self._watched.append(_KINDS[rule.kind](rule, access, selection, refused, name))
        except BaseException:
            self.close()
            raise
        self.look()

    def look(self) -> list[Held]:
        """Return what held since the last time, in order of time; what is called often looks ten times a second."""
        now = time.monotonic()
        if now < self._next_read:
            return []
        self._next_read = now + _READ_S
        found: list[Held] = []
        if self._ends:
            found += self._ended(self._deaths.ended())
            if now >= self._next_programs:
                self._next_programs = now + _PROGRAMS_S
                found += self._look_at_programs()
        is_due = now >= self._next_look
        if is_due:
            self._next_look = now + _LOOK_S
        for watched in self._watched:
            if is_due:
                watched.take_up()
            found += watched.look()
        return sorted(found, key=lambda held: held.ts_ns)

    def _look_at_programs(self) -> list[Held]:
        programs = self._tracer.info().get("programs")
        listed = programs if isinstance(programs, list) else []
        self._programs |= {program["pid"]: program for program in listed}
        found = self._ended(self._deaths.look(listed))
        living = {program["pid"] for program in listed}
        self._programs = {pid: program for pid, program in self._programs.items() if pid in living}
        return found

    def _ended(self, deaths: Iterable[Death]) -> list[Held]:
        return [
            Held(rule, death.ts_ns, f"{death.how}", death.pid, death.comm)
            for death in deaths
            for rule in self._ends
            if death.pid in self._programs
            and matches(rule.who, self._programs[death.pid])
            and (rule.kind == DEATH or death.status != 0)
        ]

    def lost(self) -> int:
        """Return how many records the rules could not look at, so far."""
        return sum(sum(watched.live.settle()) for watched in self._watched)

    def close(self) -> None:
        """Look out no more."""
        self._deaths.close()
        for watched in self._watched:
            try:
                watched.live.close()
            except NoTracer:
                pass  # it went with its tracer


class _Watched:
    """One rule and its instance."""

    def __init__(
        self,
        rule: Rule,
        access: Access,
        selection: Sequence[str],
        refused: Callable[[Rule, EventName, Refused], None],
        name: str,
    ) -> None:
        assert rule.pattern is not None
        self.rule = rule
        self._events: dict[int, tuple[str, tuple[Field, ...]]] = {}
        told = partial(self._tell_refused, refused)
        self.live = Live(access, [rule.pattern], rule.where, told, selection=selection, name=name)

    def _tell_refused(
        self, refused: Callable[[Rule, EventName, Refused], None], event: EventName, why: Refused, _log: str
    ) -> None:
        refused(self.rule, event, why)

    def take_up(self) -> None:
        """Learn of events that are new."""
        for name, layout in self.live.look():
            self._events[layout.id] = name.name, layout.fields

    def look(self) -> list[Held]:
        """Return when the rule held since the last time."""
        raise NotImplementedError

    def _read(self) -> list[Run]:
        found = []
        for cpu, page in self.live.read():
            try:
                since, view = page_data(page)
            except Malformed:
                continue
            found.append(Run(bytes(view), since, cpu))
        return found

    def _times(self) -> list[int]:
        return sorted(ts_ns for run in self._read() for ts_ns in run.times)


class _Record(_Watched):
    """Holds at each record."""

    def look(self) -> list[Held]:
        """Return the first records since the last time, and how many more there were."""
        seen: list[_Seen] = []
        total = 0
        for run in self._read():
            times, starts, data = run.times, run.starts, run.data
            total += len(times)
            for ts_ns, start in zip(times[:_TOLD_MAX], starts, strict=False):
                seen.append(_Seen(ts_ns, data[body_start(data, start) : record_end(data, start)]))
        seen = sorted(seen)[:_TOLD_MAX]
        found = [self._told(each) for each in seen]
        if total > len(found):
            found[-1] = found[-1]._replace(more=total - len(found))
        return found

    def _told(self, seen: _Seen) -> Held:
        if len(seen.body) < RECORD_HEADER_SIZE:
            return Held(self.rule, seen.ts_ns)
        event_id, _, _, tid = _HEAD.unpack_from(seen.body)
        if event_id not in self._events:
            self.take_up()
        name, fields = self._events.get(event_id, (f"event {event_id}", ()))
        values = " ".join(map(_shown, fields, decode(fields, seen.body)))
        pid, comm = thread_owner(tid) or (tid, self.live.names().get(tid, "?"))
        return Held(self.rule, seen.ts_ns, escape(f"{name} {values}".strip())[:_TEXT_MAX], pid, comm)


class _Rate(_Watched):
    """Holds when more than `limit` records come within the span, and again once it was less."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._last: list[int] = []
        self._is_high = False

    def look(self) -> list[Held]:
        """Return when the rate rose above the limit."""
        times = self._times()
        if not times:
            return []
        rule, found = self.rule, []
        times = sorted(self._last + times)  # a page may have been read before another CPU's with an earlier record
        for first, last in zip(times, times[rule.limit :], strict=False):
            is_high = last - first < rule.span_ns
            if is_high and not self._is_high:
                found.append(Held(rule, last, f"{rule.limit + 1:,} in {(last - first) / 1e9:.3f} s"))
            self._is_high = is_high
        self._last = times[-rule.limit :] if rule.limit else []
        return found


class _Gap(_Watched):
    """Holds when a record came, and then none for so long."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._last_ns = 0
        self._is_told = False

    def look(self) -> list[Held]:
        """Return when it was too long since the last record."""
        found = self._gaps(self._times())
        if self._is_missing():
            self.live.settle()  # has the tracer take in all that was written by now
            found += self._gaps(self._times())
            if self._is_missing():
                self._is_told = True
                found.append(self._held(self._last_ns))
        return found

    def _is_missing(self) -> bool:
        due_ns = self._last_ns + self.rule.span_ns + _SLACK_NS
        return bool(self._last_ns) and not self._is_told and time.monotonic_ns() > due_ns

    def _gaps(self, times: list[int]) -> list[Held]:
        found = []
        for ts_ns in times:
            if self._last_ns and ts_ns - self._last_ns > self.rule.span_ns and not self._is_told:
                found.append(self._held(self._last_ns))
            if ts_ns > self._last_ns:
                self._last_ns, self._is_told = ts_ns, False
        return found

    def _held(self, last_ns: int) -> Held:
        return Held(self.rule, last_ns + self.rule.span_ns, f"the last one came {self.rule.span_ns / 1e9:g} s before")


_KINDS: Final = {RECORD: _Record, RATE: _Rate, GAP: _Gap}


def _shown(field: Field, value: object) -> str:
    return f"{field.name}={value.hex() if isinstance(value, bytes) else value}"
