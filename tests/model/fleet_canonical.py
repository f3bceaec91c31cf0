"""What two worlds of the small fleet that go on in the same way have in common."""

import json
from collections.abc import Iterator
from typing import Any

from tests.model.fleet import World
from userevents.fleet.table import CONFLICT, Entry, Presence, Put, Question, Read, Remove, Sweep


def canonical(world: World) -> Any:
    """What two worlds that go on in the same way have in common: sequences by their order, leases by their age."""
    numbers = sorted({entry.sequence for entry in world.broker.keys.values()} | set(_sequences(world)))
    rank = {number: place for place, number in enumerate(numbers, 1)} | {0: 0, CONFLICT: -1}
    sets = (world.used, world.local)
    return (
        tuple(sorted((key, _value(world, entry), rank[entry.sequence]) for key, entry in world.broker.keys.items())),
        tuple(sorted((host, rank.get(began, 0)) for host, began in world.broker.lease_began.items())),
        tuple((host, _presence(world, mine, rank)) for host, mine in sorted(world.hosts.items())),
        tuple((host, sweep.host, *_sweep(world, sweep, rank)) for host, sweep in sorted(world.sweeps.items())),
        tuple((asker, _question(world, question, rank)) for asker, question in world.late),
        (tuple(world.runs.values()), world.faults, world.must_look, frozenset(world.broker.once)),
        *(tuple(sorted((host, tuple(sorted(events))) for host, events in each.items())) for each in sets),
        frozenset(world.stored.items()),
        frozenset(world.deleted),
    )


def _sweep(world: World, sweep: Sweep, rank: dict[int, int]) -> Iterator[Any]:
    yield from (_question(world, each, rank) for each in sweep._steps)
    yield from (rank.get(entry.sequence, 0) for entry in sweep._read)


def _presence(world: World, mine: Presence, rank: dict[int, int]) -> Any:
    known = mine._known
    return (
        mine.is_leaving, rank[mine.joined], rank[mine._lease], mine._is_sure, mine.rival, mine._beat < 0,
        rank.get(mine._facts[0], 0), mine._facts[1], frozenset(mine._announced), frozenset(mine.deleted),
        None if known is None else tuple(sorted((key, rank[entry.sequence]) for key, entry in known.items())),
        tuple(sorted(mine._numbers.items())),
    )  # fmt: skip


def _question(world: World, question: Question, rank: dict[int, int]) -> Any:
    match question:
        case Put(key, value, expected, _, once):
            return key, _value(world, Entry(key, value, 0)), None if expected is None else rank[expected], once
        case Remove(key, sequence):
            return key, rank.get(sequence, 0)
        case Read(pattern):
            return pattern


def _value(world: World, entry: Entry) -> Any:
    """A lease by whose it is, and how many were sent after it."""
    kind, _, host = entry.key.partition(".")
    if kind != "lease":
        return entry.value
    incarnation, beat = json.loads(entry.value)
    mine = world.hosts.get(host)
    return (True, beat - mine._beat) if mine is not None and mine.incarnation == incarnation else (False, incarnation)


def _sequences(world: World) -> Iterator[int]:
    for mine in world.hosts.values():
        yield from (mine.joined, mine._lease, mine._facts[0])
        yield from (entry.sequence for entry in (mine._known or {}).values())
    for _, question in world.late:
        yield from [question.sequence] if isinstance(question, Remove) else []
        yield from [question.expected] if isinstance(question, Put) and question.expected else []
    for sweep in world.sweeps.values():
        yield from (entry.sequence for entry in sweep._read)
        yield from (each.sequence for each in sweep._steps if isinstance(each, Remove))
    yield from world.broker.lease_began.values()
