"""A program's own counts, taken while it may be writing, so that they belong to one place in its rings."""

import time
from collections import Counter
from typing import NamedTuple

from ..buffer.page import body_start, walk
from ..session import layout
from ..session.ring_file import Part, Position
from ..session.ring_search import end_of, place_after
from .program import DeclaredEvent, TracedProgram

_TRIES = 20
_PAUSE_S = 0.0002
_READ_SIZE = 1 << 22


class Snapshot(NamedTuple):
    """A program's counts at one place in its rings."""

    counters: list[tuple[int, ...]]
    """Per event, in the order of COUNTER_NAMES, without the attempts whose records lie behind that place."""
    committed: int
    exact: bool
    """Whether the program held still for the instant that it took."""
    overwritten: int = 0
    """Of those committed, the records that were gone before they could be read."""


NOTHING = Snapshot([], 0, True)


class Ends(NamedTuple):
    """A program's counts as of now, and how far its records go that they count."""

    counts: Snapshot
    places: dict[int, tuple[Position, int]]
    """By ring generation: the place, and how many of the ring's records lie before it."""


def id_of(item: DeclaredEvent) -> int:
    """Return the id that a declaration's records carry, 0 if it was refused."""
    return item.event.id if item.event is not None else 0


def running(program: TracedProgram) -> Snapshot:
    """Return the counts as they stand, without a thought for the moment."""
    counters = program.session.counters(len(program.events))
    return Snapshot(counters, program.committed(), not program.alive, program.overwritten())


def snapshot(program: TracedProgram) -> Snapshot:
    """Take the counts that belong to the ring positions read so far, also while the program is writing.

    The counters tell how many records were committed at the instant they were read, of the program's whole life. Those
    of them that lie unread behind the positions are taken off again, by event: they belong to what is read later.
    """
    exact = False
    for _ in range(_TRIES):
        counters = program.session.counters(len(program.events))
        program.find_rings()  # what is counted lies in a ring that was made before
        unread = _unread_ids(program)
        committed = program.committed()
        if unread is not None:
            waiting = passed_by(counters) - committed
            exact = 0 <= waiting <= len(unread) or not program.alive
            if exact:
                del unread[max(waiting, 0) :]
                break
        time.sleep(_PAUSE_S)  # an attempt was counted whose commit is still to come
    backlog = Counter(unread or ())
    pairs = zip(program.events, counters, strict=True)
    adjusted = [(counts[0] - backlog[id_of(item)], *counts[1:]) for item, counts in pairs]
    return Snapshot(adjusted, committed, exact, program.overwritten())


def ends(program: TracedProgram) -> Ends:
    """Take the counts of this instant, and find where in the rings the records end that they count."""
    for _ in range(_TRIES):
        counters = program.session.counters(len(program.events))
        program.find_rings()
        found = {generation: end_of(ring) for generation, ring in sorted(program.rings.items())}
        there = program.retired_records + sum(count for _, count in found.values())
        committed = passed_by(counters)
        exact = committed <= there
        if exact or not program.alive:
            break
        time.sleep(_PAUSE_S)  # an attempt was counted whose commit is still to come
    committed = min(committed, there)
    left = committed - program.retired_records
    for generation, (_, count) in found.items():
        if left < count:
            found[generation] = (place_after(program.rings[generation], max(left, 0)), max(left, 0))
        left -= count
    return Ends(Snapshot(counters, committed, exact or not program.alive), found)


def passed_by(counters: list[tuple[int, ...]]) -> int:
    """Return how many attempts were neither dropped nor are in flight, by a program's counters."""
    return sum(map(layout.passed_of, counters))


def _unread_ids(program: TracedProgram) -> list[int] | None:
    """Return the event id of each record that lies unread in the rings, in order; None if some were taken away."""
    found: list[int] = []
    for _, ring in sorted(program.rings.items()):
        ring.catch_up()
        cursor = ring.cursor(ring.position, ring.count)
        while pieces := cursor.take(_READ_SIZE):
            for piece in pieces:
                for part in piece.parts():
                    found += _ids(part)
        if cursor.overwritten:
            return None
    return found


def _ids(part: Part) -> list[int]:
    """Return the event id of each record in a part."""
    starts = (body_start(part.data, at) for at in walk(part.data, part.ts).starts)
    return [int.from_bytes(part.data[body : body + 2], "little") for body in starts]
