"""Searching the small fleet: every step from prepared states, breadth first, and long random walks."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from tests.model.fleet import Broken, Limits, Step, World, settle, steps
from tests.model.fleet_canonical import canonical

JOINED = (*(Step("ask", "a", "now", "answered"),) * 5, *(Step("ask", "b", "now", "answered"),) * 5)


class Found(NamedTuple):
    """What a search came to."""

    states: int
    steps: int
    path: tuple[Step, ...]
    """A shortest path to what is broken; empty if nothing is."""
    what: str

    def __str__(self) -> str:
        told = [f"{number}. {step}" for number, step in enumerate(self.path, 1)]
        return "\n".join([f"{self.states} states, {self.steps} steps", *told, f"=> {self.what}" if self.what else ""])


def prepared(kind: type[World], limits: Limits, begun: Sequence[Step]) -> World:
    """A world after these steps, those that cannot be taken left out."""
    world = kind(limits)
    for step in begun:
        is_possible = step.what != "ask" or world.hosts[step.host].due() is not None
        if is_possible and (step.what != "clean" or step.host in world.sweeps):
            world.take(step)
    return world


def search(kind: type[World], limits: Limits, begun: Sequence[Step], states: int) -> Found:
    """Visit so many states, the nearest first; stop at the first that is broken, at once or once it calms down."""
    first = prepared(kind, limits, begun)
    seen = {canonical(first)}
    frontier: list[tuple[World, tuple[Step, ...]]] = [(first, ())]
    taken = 0
    while frontier and len(seen) < states:
        following = []
        for world, path in frontier:
            for step in steps(world):
                taken += 1
                after = world.copy()
                try:
                    after.take(step)
                    key = canonical(after)
                    if key in seen:
                        continue
                    settle(after.copy())
                except Broken as broken:
                    return Found(len(seen), taken, (*path, step), str(broken))
                seen.add(key)
                following.append((after, (*path, step)))
                if len(seen) >= states:
                    return Found(len(seen), taken, (), "")
        frontier = following
    return Found(len(seen), taken, (), "")


def walk(kind: type[World], limits: Limits, seed: int, length: int) -> Found:
    """Take random steps, and see now and then whether it calms down to what ought to be."""
    chance = random.Random(seed)
    world = prepared(kind, limits, ())
    path: list[Step] = []
    try:
        for number in range(length):
            if not any(True for _ in steps(world)):
                break
            path.append(_drawn(chance, world))
            world.take(path[-1])
            if number % 10 == 9:
                settle(world.copy())
        settle(world)
    except Broken as broken:
        return Found(1, len(path), tuple(path), f"seed {seed}: {broken}")
    return Found(1, len(path), (), "")


def _drawn(chance: random.Random, world: World) -> Step:
    """One of the steps; asking is likelier than what makes it begin again."""
    found = list(steps(world))
    return chance.choices(found, [_weight(step) for step in found])[0]


def _weight(step: Step) -> float:
    if step.what in ("kill", "leave"):
        return 0.3
    return 6 if step.outcome == "answered" or step.what in ("arrive", "start") else 1
