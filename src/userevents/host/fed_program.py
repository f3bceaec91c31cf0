"""One program as the feed reads it: a place of its own in the rings, the names of threads, what was dropped.

The feed gives nothing back and holds nobody up while a recording reads the same rings; what the program has
overwritten by then is counted as missed. Where it alone reads, the rings' room is given back as records are fed.
"""

import os
from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from ..buffer.run import Run
from ..engine import UserEvent, Writer
from ..instance import Instance, Intake, Moments
from ..session.layout import COUNTER_NAMES, DROP_REASONS, PAGE_CPUS_IN_RECORDS
from ..session.ring_file import Part, Position, RingFile
from ..session.ring_search import end_of, seek_time
from . import process
from .program import TracedProgram

_READ_SIZE: Final = 1 << 18
"""Bytes read of a ring at a time."""
_HELD_SIZE: Final = 1 << 19
"""Bytes read and not yet fed, from which on a program has to wait."""
_NAMES_MAX: Final = 4096
_DROPS: Final = tuple(COUNTER_NAMES.index(reason) for reason in DROP_REASONS)


class Page:
    """Records on their way: the data of (part of) a page, and whose it is."""

    __slots__ = ("cpu", "data", "source")

    def __init__(self, source: "FedProgram", cpu: int, data: bytes) -> None:
        self.source = source
        self.cpu = cpu
        """The CPU of all its records; -1 if each says its own."""
        self.data = data


Record = tuple[int, Page, int]
"""A record on its way: its time, its page, where it starts in the page's data."""


class _Place:
    """How far one ring has been read."""

    __slots__ = ("cursor", "last_ns", "time_before")

    def __init__(self, ring: RingFile, position: Position, passed: int) -> None:
        self.cursor = ring.cursor(position, passed)
        self.cursor.fd = os.dup(ring.fd)  # whoever else reads the ring closes it when it is done
        self.last_ns = 0
        """When the last record read was written."""
        self.time_before = 0
        """When the record before the position was written, where that is in the middle of a page."""

    def settle(self) -> None:
        """Find out what times count from, having been moved."""
        position = self.cursor.position
        self.time_before = self.cursor.time_before(position) if position.offset else 0


class _Taken(NamedTuple):
    """What one read took: when its last record was written, how far it went, and how much it was."""

    last_ns: int
    generation: int
    position: Position
    passed: int
    size: int


class _Asked(NamedTuple):
    """A thread's name when its first record came, and the one in the list of threads then, which may be newer later."""

    name: str
    listed: str


class FedProgram:
    """A program whose records go into instances' rings; it is held (`outstanding`) until all are fed."""

    def __init__(self, program: TracedProgram, *, since_ns: int | None) -> None:
        """`since_ns`: feed also what lies in the rings already, from that time on; None: only what comes."""
        self.program = program
        self.instances: tuple[Instance, ...] = ()
        self.intakes: dict[int, Intake | None] = {}
        """By event id, as long as the instances stay as they are; None where nobody takes the event."""
        self.known_ns = 0
        """All that the program committed before this time has been read."""
        self.missed = 0
        """Records that were gone before the feed could read them."""
        self.damaged = 0
        """Pages in which something was not to be read, what follows it there included."""
        self.at_end = True
        """Whether the last read came to the end of what there was."""
        self.cpu = 0
        """Where it wrote last."""
        self._untaken = b""
        """The ids of events that nobody takes, packed."""
        self._looked_at: tuple[int, ...] = ()
        self._held = 0
        self._newest = max(program.rings, default=0)
        self._taken: deque[_Taken] = deque()
        self._done: dict[int, tuple[Position, int]] = {}
        self._places: dict[int, _Place] = {}
        self._names: dict[int, _Asked] = {}
        self._dropped = [_dropped(counts) for counts in program.session.counters(len(program.events))]
        program.outstanding += 1
        for generation, ring in program.rings.items():
            self._begin(generation, ring, since_ns)

    def _begin(self, generation: int, ring: RingFile, since_ns: int | None) -> None:
        position, passed = end_of(ring) if since_ns is None else (ring.position, ring.count)
        place = self._places[generation] = _Place(ring, position, passed)
        if since_ns is not None:
            seek_time(place.cursor, since_ns)
        place.settle()

    @property
    def has_room(self) -> bool:
        """Whether more may be read before what was read is fed."""
        return self._held < _HELD_SIZE

    @property
    def read_to(self) -> dict[int, int]:
        """Up to which page each ring has been read, by generation."""
        return {generation: place.cursor.position.seq for generation, place in self._places.items()}

    @property
    def is_idle(self) -> bool:
        """Whether all that was read is fed."""
        return not self._taken

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self.program.problem is not None or (self.at_end and not self.program.alive)

    def read(self, turn_ns: int) -> list[tuple[list[int], Page, list[int]]]:
        """Take what was committed since the last call: of each page the records' times, the page, their starts.

        `turn_ns` is the time before any program was read in this turn. Raises Malformed, OSError.
        """
        for generation in sorted(self.program.rings):
            if generation > self._newest:
                self._newest = generation
                self._places[generation] = _Place(self.program.rings[generation], Position(0, 0), 0)
        self._leave_out()
        in_use = self.program.session.generation_in_use()
        found: list[tuple[list[int], Page, list[int]]] = []
        self.known_ns, self.at_end = turn_ns, True
        for generation in sorted(self._places):
            place = self._places[generation]
            self._read_ring(generation, place, found)
            if not self.at_end:
                self.known_ns = place.last_ns
                break
            if generation < in_use:
                os.close(self._places.pop(generation).cursor.fd)
        return found

    def _read_ring(self, generation: int, place: _Place, found: list[tuple[list[int], Page, list[int]]]) -> None:
        cursor = place.cursor
        gone, size = cursor.overwritten, 0
        while size < _READ_SIZE and (pieces := cursor.take(_READ_SIZE - size)):
            parts = [part for piece in pieces for part in piece.parts()]
            for number, part in enumerate(parts, 1):
                opened = self._open(part, place, is_last=number == len(parts))
                if opened is not None:
                    found.append(opened)
                size += len(part.data)
        self.missed += cursor.overwritten - gone
        self.at_end = size < _READ_SIZE and cursor.position.seq == cursor.head()
        if size:
            self._held += size
            self._taken.append(_Taken(place.last_ns, generation, cursor.position, cursor.passed, size))

    def _open(self, part: Part, place: _Place, *, is_last: bool) -> tuple[list[int], Page, list[int]] | None:
        """Find the records of a part; None where nobody takes any. Only of the last one the last time matters."""
        found = Run(part.data, place.time_before if part.offset else part.ts)
        self.damaged += bool(found.problem)
        self.cpu = part.cpu
        if (is_last or not self._untaken) and len(found):
            place.time_before = place.last_ns = found.times[-1]
        if self._untaken:
            found = found.select(dropped=self._untaken)
        if not len(found):
            return None
        return found.times, Page(self, -1 if part.flags & PAGE_CPUS_IN_RECORDS else part.cpu, part.data), found.starts

    def _leave_out(self) -> None:
        """Find out which of the program's events nobody takes: their records are passed over page by page."""
        now = (len(self.program.events), *(instance.changes for instance in self.instances))
        if now != self._looked_at:
            self._looked_at = now
            events = [item.event for item in self.program.events if item.event is not None]
            taken = {event.id for event in events if self.takers(event)}
            untaken = {event.id for event in events} - taken
            self._untaken = b"".join(number.to_bytes(2, "little") for number in sorted(untaken))

    def fed(self, before_ns: int | None) -> None:
        """All records of before that time (None: all there were) have been fed."""
        while self._taken and (before_ns is None or self._taken[0].last_ns < before_ns):
            taken = self._taken.popleft()
            self._held -= taken.size
            self._done[taken.generation] = taken.position, taken.passed

    def give_back(self) -> bool:
        """Let the program use the room of what has been fed; True if that was any."""
        moved = False
        while self._done:
            generation, (position, passed) = self._done.popitem()
            ring = self.program.rings.get(generation)
            if ring is not None and position > ring.position:
                ring.move_to(position, passed)
                ring.acknowledge(position, passed)
                moved = True
        if moved:
            self.program.retire_rings()
        return moved

    def find_intake(self, event_id: int, moments: Moments) -> Intake | None:
        """Find the way of an event's records as things stand, and keep it in `intakes`.

        A program writes only events that it has declared: what claims to be another one goes nowhere.
        """
        found = None
        for item in self.program.events:
            if item.event is not None and item.event.id == event_id:
                takers = self.takers(item.event)
                found = Intake(item.event, takers, moments) if takers else None
                break
        self.intakes[event_id] = found
        return found

    def takers(self, event: UserEvent) -> list[Instance]:
        """Return the instances whose rings an event of the program goes into."""
        return [instance for instance in self.instances if instance.feeds(event)]

    def writer(self, tid: int, cpu: int) -> Writer:
        """One of the program's threads, on a CPU.

        Threads are listed once in a while, and one may have got its name since: it is asked for with its first record.
        """
        program = self.program
        listed = program.threads.get(tid, "")
        asked = self._names.get(tid)
        if asked is None:
            if len(self._names) >= _NAMES_MAX:
                self._names.clear()
            name = process.thread_name(program.pid, tid) if program.alive and program.same_namespace else ""
            asked = self._names[tid] = _Asked(name or listed, listed)
        name = asked.name if asked.listed == listed else listed
        return Writer(tid, program.pid, name or program.comm, cpu)

    def count_dropped(self) -> int:
        """Count what the program dropped since the last call in the stats of the instances that missed it."""
        program = self.program
        totals = [_dropped(counts) for counts in program.session.counters(len(program.events))]
        before = self._dropped + [0] * (len(totals) - len(self._dropped))
        self._dropped = totals
        counted = 0
        for item, total, known in zip(program.events, totals, before, strict=True):
            if item.event is not None and total > known:
                counted += self.drop(self.takers(item.event), total - known)
        return counted

    def drop(self, instances: Iterable[Instance], count: int) -> int:
        """Count records that these instances do not get; returns `count` if that is anybody."""
        counted = 0
        for instance in instances:
            rings = instance.rings
            if rings is not None:
                rings[min(self.cpu, len(rings) - 1)].dropped += count
                counted = count
        return counted

    def release(self) -> None:
        """Let go of the program."""
        self.program.outstanding -= 1
        self.instances = ()
        self.intakes.clear()
        for place in self._places.values():
            os.close(place.cursor.fd)
        self._places.clear()


def _dropped(counts: tuple[int, ...]) -> int:
    return sum(counts[place] for place in _DROPS)
