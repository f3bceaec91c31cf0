"""The feed: what programs write, put one by one into the rings of the instances that enabled it through the tree.

A recording takes pages as they are (host/view.py). ``trace``, ``trace_pipe``, triggers, histograms and filters
work on records, in order of time over all programs: so the time is taken before any ring is read, and what is
later than that waits for the next turn, when nothing earlier can turn up any more (but for a writer that was
preempted between taking the time and committing: its record is late, and counted).
"""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from itertools import repeat
from operator import itemgetter
from struct import Struct
from typing import Final

from ..abi.ring_buffer import TYPE_LEN_MASK
from ..engine import UserEvent
from ..instance import Instance, Moments
from .fed_program import FedProgram, Record
from .program import TracedProgram

_TURN_NS: Final = 10_000_000
"""How long the feed may keep the loop, a turn (of the thread's own time)."""
_PATIENCE_NS: Final = 100_000_000
"""How long somebody waits who switches something, so that it holds from then on and not before."""
_RUN: Final = 256
"""Records between two looks at the time."""
_TIME: Final = itemgetter(0)
_HEADER: Final = Struct("<HHi")
"""The common header: the event's id; flags and preempt count, which programs use for the CPU; the thread."""
_LENGTH: Final = Struct("<I")

Guard = Callable[[TracedProgram], AbstractContextManager[None]]


class Feed:
    """Every program that some instance's rings are fed from. `guard` ends the tracing of a program that breaks rules.

    `follow` it through every program, each time an instance has changed; `turn` it as often as anything may have come.
    """

    def __init__(self, instances: Mapping[str, Instance], moments: Moments, guard: Guard) -> None:
        self.is_behind = False
        """Whether the last turn had to leave something undone that could be done."""
        self._instances = instances
        self._moments = moments
        self._guard = guard
        self._since_ns = time.monotonic_ns()
        self._cpus = min(instance.cpus for instance in instances.values())
        self._sources: dict[TracedProgram, FedProgram | None] = {}
        self._waiting: list[Record] = []
        self._in_order = True
        self._fed_ns = 0
        self._counts = dict.fromkeys(("records", "late", "invalid", "damaged", "missed", "dropped"), 0)

    def follow(self, program: TracedProgram) -> None:
        """Find out which instances want records of a program."""
        takers = tuple(
            instance
            for instance in self._instances.values()
            if instance.is_fed and instance.selection.selects(program.facts)
        )
        is_new = program not in self._sources
        source = self._sources.setdefault(program, None)
        if not takers:
            self._let_go(program)
        elif source is not None:
            self._count_dropped(source)
            source.instances = takers
        elif program.problem is None:
            with self._guard(program):
                source = self._sources[program] = FedProgram(program, since_ns=self._since_ns if is_new else None)
                source.instances = takers
                program.had_view = True

    def wanted(self, program: TracedProgram) -> set[UserEvent]:
        """Return the events of a program that go into anybody's rings."""
        source = self._sources.get(program)
        if source is None:
            return set()
        events = {item.event for item in program.events if item.event is not None}
        return {event for event in events if source.takers(event)}

    def takes(self, program: TracedProgram) -> bool:
        """Whether anybody's rings are fed from a program."""
        return self._sources.get(program) is not None

    def read_to(self, program: TracedProgram) -> dict[int, int]:
        """Return up to which page each ring of a program has been read, by generation; nothing if it is not fed."""
        source = self._sources.get(program)
        return {} if source is None else source.read_to

    def give_back(self, program: TracedProgram) -> bool:
        """Let a program that nobody else reads have the room of what was fed; True if there was any."""
        source = self._sources.get(program)
        moved = False
        if source is not None:
            with self._guard(program):
                moved = source.give_back()
        return moved

    def catch_up(self) -> None:
        """Feed what has been written by now, turn after turn; where that is too much, only part of it."""
        deadline_ns = time.thread_time_ns() + _PATIENCE_NS
        self.turn()
        while self.is_behind and time.thread_time_ns() < deadline_ns:
            self.turn()

    def turn(self) -> bool:
        """Read what the programs have committed and put what is due into the rings; True unless all is quiet."""
        sources = [source for source in self._sources.values() if source is not None]
        if not sources and not self._waiting:
            self.is_behind = False
            return False
        turn_ns = time.monotonic_ns()
        for source in sources:
            if source.has_room and source.program.problem is None:
                with self._guard(source.program):
                    self._read(source, turn_ns)
        readable = [source for source in sources if source.program.problem is None]
        horizon = min((source.known_ns for source in readable), default=turn_ns)
        if not self._in_order:
            self._waiting.sort(key=_TIME)
            self._in_order = True
        due = bisect_right(self._waiting, horizon, key=_TIME)
        left = due - self._feed(due) if due else 0
        next_ns = self._waiting[0][0] if self._waiting else None
        for source in sources:
            source.fed(next_ns)
            if source.is_idle and source.has_ended:
                self._let_go(source.program)
        self.is_behind = left > 0 or any(not source.at_end for source in readable)
        return bool(due or self._waiting) or self.is_behind

    def _read(self, source: FedProgram, turn_ns: int) -> None:
        missed, damaged = source.missed, source.damaged
        pages = source.read(turn_ns)
        now_ns = time.monotonic_ns()
        for times, page, starts in pages:
            if times and times[-1] > now_ns:  # a program may write what it likes, but it will not keep others waiting
                times = [min(time_ns, now_ns) for time_ns in times]
            if times and self._waiting and times[0] < self._waiting[-1][0]:
                self._in_order = False
            self._counts["late"] += bisect_left(times, self._fed_ns)
            self._waiting.extend(zip(times, repeat(page), starts, strict=False))
        self._counts["damaged"] += source.damaged - damaged
        self._counts["missed"] += source.drop(source.instances, source.missed - missed)

    def _feed(self, due: int) -> int:
        """Feed the first `due` records that wait, as far as there is time; return how many that were."""
        for source in self._sources.values():
            if source is not None:
                source.intakes.clear()
        deadline_ns = time.thread_time_ns() + _TURN_NS
        done = 0
        try:
            while done < due and (not done or time.thread_time_ns() < deadline_ns):
                run = self._waiting[done : min(done + _RUN, due)]
                self._counts["invalid"] += self._feed_run(run)
                done += len(run)
        finally:
            self._moments.hold(None)
        self._counts["records"] += done
        self._fed_ns = max(self._waiting[done - 1][0], self._fed_ns)
        del self._waiting[:done]
        return done

    def _feed_run(self, run: list[Record]) -> int:
        """Feed some records; return how many were not valid."""
        last_cpu, invalid = self._cpus - 1, 0
        for time_ns, page, start in run:
            data = page.data
            kind = data[start] & TYPE_LEN_MASK
            at = start + 4 if kind else start + 8
            event_id, cpu, tid = _HEADER.unpack_from(data, at)
            source = page.source
            try:
                intake = source.intakes[event_id]
            except KeyError:
                intake = source.find_intake(event_id, self._moments)
            if intake is None:
                continue
            body = data[at : at + (kind << 2) if kind else start + 4 + _LENGTH.unpack_from(data, start + 4)[0]]
            if page.cpu >= 0:
                cpu = page.cpu
            elif cpu:
                body = body[:2] + b"\0\0" + body[4:]
            if not intake.take(time_ns, min(cpu, last_cpu), tid, body, source):
                invalid += 1
        return invalid

    def tick(self) -> None:
        """Count what programs have dropped in the meantime."""
        for source in tuple(self._sources.values()):
            if source is not None:
                self._count_dropped(source)

    def _count_dropped(self, source: FedProgram) -> None:
        if source.program.problem is None:
            with self._guard(source.program):
                self._counts["dropped"] += source.count_dropped()

    def _let_go(self, program: TracedProgram) -> None:
        source = self._sources[program]
        if source is not None:
            self._count_dropped(source)
            source.release()
            self._sources[program] = None

    def forget(self, program: TracedProgram) -> None:
        """A program is being let go of."""
        self._let_go(program)
        del self._sources[program]

    def facts(self) -> dict[str, int]:
        """Return what was fed and what was not, for JSON."""
        fed = sum(source is not None for source in self._sources.values())
        return {"programs": fed, "waiting": len(self._waiting), **self._counts}
