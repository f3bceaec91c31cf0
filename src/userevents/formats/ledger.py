"""The loss ledger: what was attempted, and where each record that is not in the file went.

For each process: attempts = committed + dropped (by reason) + at most one in flight at the last count, and
committed = delivered + other + overwritten + missed + fleet. Whatever does not add up is shown, never hidden.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from . import facts

REASONS = ("ring_full", "too_large", "reentry", "invalid", "tracer_gone")
"""Why a record was dropped before it reached a ring."""
REASON_WORDS = {
    "ring_full": "ring full",
    "too_large": "too large",
    "reentry": "re-entry",
    "invalid": "invalid argument",
    "tracer_gone": "tracer gone",
}

AFTER_WORDS = {"overwritten": "overwritten", "missed": "missed", "fleet": "on the way from their hosts (fleet)"}
"""What became of records that were in a ring and are not in the trace."""


@dataclass(frozen=True, slots=True)
class EventLedger:
    """What became of one event's records in one process. `cut` strings were shortened, their records kept.

    `fleet` is what its host dropped on the way, as far as that is known by event.
    """

    name: str
    attempts: int
    delivered: int
    dropped: dict[str, int]
    cut: int = 0
    fleet: int = 0

    def caught_up(self) -> "EventLedger":
        """Return it with as many attempts as its records prove, which may have come after the last count."""
        return replace(self, attempts=max(self.attempts, self.delivered + self.fleet + sum(self.dropped.values())))


@dataclass(frozen=True, slots=True)
class ProcessLedger:
    """What became of one process's records.

    `delivered` are in the trace; `other` were recorded for somebody else's events and left out;
    `overwritten` gave way in the ring; `missed` were not read in time; `fleet` were lost between their host and the
    trace, because the broker was away or full. `cut_off`: its host was lost or its recorder killed, so the counts are
    older than the last of its records. `counted` is False when the program's
    own counts never arrived, `exact` when they were taken at one moment with the records.
    """

    pid: int
    comm: str
    events: tuple[EventLedger, ...]
    committed: int = 0
    delivered: int = 0
    other: int = 0
    overwritten: int = 0
    missed: int = 0
    alive: bool = False
    exact: bool = True
    counted: bool = True
    fleet: int = 0
    cut_off: bool = False

    def caught_up(self) -> "ProcessLedger":
        """Return what it is after a recorder that was killed: records that came after the last count count, too."""
        known = self.delivered + self.other + self.overwritten + self.missed + self.fleet
        events = tuple(event.caught_up() for event in self.events)
        return replace(self, events=events, committed=max(self.committed, known), cut_off=True)

    @property
    def attempts(self) -> int:
        """Records that the program set out to write."""
        return sum(event.attempts for event in self.events)

    @property
    def dropped(self) -> dict[str, int]:
        """Records dropped before they reached a ring, by reason."""
        return {reason: sum(event.dropped.get(reason, 0) for event in self.events) for reason in REASONS}

    @property
    def lost(self) -> int:
        """Records that happened and are not in the trace."""
        return sum(self.dropped.values()) + self.overwritten + self.missed + self.fleet

    @property
    def in_flight(self) -> int:
        """1 if the program died inside a write, or stood still in one as long as it was counted, else 0."""
        return int(not (self.alive and self.exact) and self._not_committed == 1)

    @property
    def _not_committed(self) -> int:
        return self.attempts - self.committed - sum(self.dropped.values())

    @property
    def unexplained(self) -> tuple[int, int]:
        """How far the two sums are off: attempts nobody accounts for, and committed records nobody does."""
        if not self.counted:
            return 0, 0
        gone = self.committed - self.delivered - self.other - self.overwritten - self.missed - self.fleet
        if self.cut_off:
            return 0, max(gone, 0)
        return self._not_committed - self.in_flight, gone

    @property
    def is_balanced(self) -> bool:
        """Whether both sums add up."""
        return self.counted and self.unexplained == (0, 0)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger of a whole trace. `complete` is False when the recorder was killed before its last count."""

    processes: tuple[ProcessLedger, ...]
    complete: bool = True

    def total(self, name: str) -> int:
        """Return the sum of one figure (attempts, committed, delivered, lost, in_flight, ...) over all processes."""
        return sum(int(getattr(process, name)) for process in self.processes)

    @property
    def dropped(self) -> dict[str, int]:
        """Records dropped before they reached a ring, by reason."""
        return {reason: sum(process.dropped[reason] for process in self.processes) for reason in REASONS}

    @property
    def unexplained(self) -> tuple[int, int]:
        """How far the two sums are off, over all processes, whatever the direction of each."""
        gaps = [process.unexplained for process in self.processes]
        return sum(abs(gap) for gap, _ in gaps), sum(abs(gap) for _, gap in gaps)

    @property
    def is_balanced(self) -> bool:
        """Whether every process's sums add up."""
        return all(process.is_balanced for process in self.processes)

    def losses(self) -> list[str]:
        """Say what was lost, and what does not add up; empty when nothing was lost and everything does."""
        found = []
        dropped = self.dropped
        parts = [f"{number:,} {REASON_WORDS[reason]}" for reason, number in dropped.items() if number]
        parts += [f"{self.total(name):,} {words}" for name, words in AFTER_WORDS.items() if self.total(name)]
        if parts:
            found.append(f"{self.total('lost'):,} records were lost: {', '.join(parts)}")
        uncounted = [f"{process.comm} ({process.pid})" for process in self.processes if not process.counted]
        if uncounted:
            found.append(f"no counts arrived from {', '.join(uncounted[:5])}: what they lost is not known")
        attempts, committed = self.unexplained
        if self.complete and attempts + committed:
            found.append(f"the ledger is off by {attempts:,} attempts and {committed:,} committed records")
        if not self.complete:
            unknown = "what was dropped after the one before is not known"
            found.append(f"the recorder was killed before its last count: {unknown}")
        return found


def event_ledger(name: str, counted: Mapping[str, object], delivered: int, fleet: int = 0) -> EventLedger:
    """Return one event's line from the program's counters and the number of its records in the trace."""
    dropped = {reason: facts.count(counted, reason) for reason in REASONS}
    return EventLedger(name, facts.count(counted, "attempts"), delivered, dropped, facts.count(counted, "cut"), fleet)


def to_json(ledger: Ledger) -> dict[str, object]:
    """Return the ledger as it is stored in a trace file."""
    return {"complete": ledger.complete, "processes": [_process_to_json(process) for process in ledger.processes]}


_COUNTS = ("committed", "delivered", "other", "overwritten", "missed", "fleet")
_PLAIN = (
    "pid",
    "comm",
    "committed",
    "delivered",
    "other",
    "overwritten",
    "missed",
    "fleet",
    "alive",
    "exact",
    "counted",
    "cut_off",
)


def _process_to_json(process: ProcessLedger) -> dict[str, object]:
    stored: dict[str, object] = {name: getattr(process, name) for name in _PLAIN}
    stored["events"] = [
        {
            "name": event.name,
            "attempts": event.attempts,
            "delivered": event.delivered,
            "cut": event.cut,
            "fleet": event.fleet,
            **event.dropped,
        }
        for event in process.events
    ]
    return stored


def from_json(stored: Mapping[str, object]) -> Ledger:
    """Read a stored ledger; what is nonsense in it counts as nothing."""
    processes = tuple(_process_from_json(each) for each in facts.mappings(stored, "processes"))
    return Ledger(processes, stored.get("complete") is True)


def _process_from_json(stored: Mapping[str, object]) -> ProcessLedger:
    counts = {name: facts.count(stored, name) for name in _COUNTS}
    return ProcessLedger(
        pid=facts.whole(stored, "pid"),
        comm=facts.text(stored, "comm", "?"),
        events=tuple(_event_from_json(each) for each in facts.mappings(stored, "events")),
        alive=stored.get("alive") is True,
        exact=stored.get("exact") is True,
        counted=stored.get("counted") is True,
        cut_off=stored.get("cut_off") is True,
        **counts,
    )


def _event_from_json(stored: Mapping[str, object]) -> EventLedger:
    delivered, fleet = facts.count(stored, "delivered"), facts.count(stored, "fleet")
    return event_ledger(facts.text(stored, "name", "?"), stored, delivered, fleet)
