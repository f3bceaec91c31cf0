"""The search: every step from every state of a small world, breadth first, so that the first violation is a shortest.

A state is reached by replaying a path to it, and left and reached again by undoing a step (`snapshot.py`). States
that `canonical` calls the same are followed once.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

from tests.model.canonical import canonical, file_key, process_key
from tests.model.invariants import check
from tests.model.plain import PERSIST
from tests.model.snapshot import Snapshot
from tests.model.world import Limits, Step, World

Path = tuple[Step, ...]
Steps = Callable[[World], Iterator[Step]]


class Violation(NamedTuple):
    """A path at whose end something does not hold, and what."""

    path: Path
    what: str

    def __str__(self) -> str:
        return "\n".join([*(f"{number}. {step}" for number, step in enumerate(self.path, 1)), f"=> {self.what}"])


class Found(NamedTuple):
    """What a search came to."""

    states: int
    steps: int
    """Steps taken from them, the ones that changed nothing included."""
    depth: int
    """Steps to the farthest state."""
    complete: bool
    """Whether there are no others, at whatever depth."""
    paths: tuple[Path, ...]
    """A shortest path to each state."""
    violation: Violation | None

    def __str__(self) -> str:
        reach = "every state there is" if self.complete else f"every state within {self.depth} steps"
        return f"{self.states} states, {self.steps} steps, {reach} (farthest: {self.depth})"


def search(limits: Limits, depth: int) -> Found:
    """Visit every state within `depth` steps of the empty world; stop at the first violation."""
    seen = {canonical(World(limits))}
    paths: list[Path] = [()]
    taken = 0
    frontier: list[Path] = [()]
    for reached in range(depth):
        following: list[Path] = []
        for path in frontier:
            for step, world, broken in _edges(limits, path):
                taken += 1
                if broken:
                    return Found(len(seen), taken, reached, False, tuple(paths), Violation((*path, step), broken))
                key = canonical(world)
                if key not in seen:
                    seen.add(key)
                    following.append((*path, step))
        if not following:
            return Found(len(seen), taken, reached, True, tuple(paths), None)
        paths += following
        frontier = following
    return Found(len(seen), taken, depth, False, tuple(paths), None)


def replay(limits: Limits, path: Path) -> World:
    """The world at the end of a path; its steps are known to hold."""
    world = World(limits)
    for step in path:
        world.take(step)
        world.drop_the_gone()
    return world


def steps(world: World) -> Iterator[Step]:
    """Every step that can be taken, once for processes (and files) that are alike."""
    processes = list(_unlike([process_key(process) for process in world.processes]))
    files = list(_unlike([file_key(world, which) for which in range(len(world.files))]))
    yield from _registrations(world, processes, files)
    for which in files:
        if world.files[which].plain.events:
            yield Step("close", (which,))
    for who in processes:
        yield from _process_steps(world, who)
    for which, event in enumerate(world.plain.events):
        for tracer in range(world.limits.tracers):
            yield Step("disable" if tracer in event.tracers else "enable", (which, tracer))
    for name in sorted({event.name for event in world.plain.events}):
        yield Step("delete", (name,))
    for index in range(len(world.plain.queue)):
        yield Step("work", (index,))


def _registrations(world: World, processes: list[int], files: list[int]) -> Iterator[Step]:
    listed = {(event.name, event.args) for event in world.plain.events}
    for text in world.limits.texts:
        name, _, args = text.partition(" ")
        new = (name, args) not in listed
        if PERSIST in world.limits.flags:
            yield Step("create", (text,))
        for who, bit in product(processes, range(world.limits.bits)):
            if bit in world.processes[who].plain.enablers:
                yield Step("register", (who, files[0], text, 0, bit))  # refused before it looks at anything else
                continue
            for flags, which in product(world.limits.flags if new else (0,), files):
                yield Step("register", (who, which, text, flags, bit))


def _process_steps(world: World, who: int) -> Iterator[Step]:
    process, limits = world.processes[who].plain, world.limits
    for bit in process.enablers:
        yield Step("unregister", (who, bit))
    is_orphan = process.tasks == 1 and process.retries
    if process.enablers and not (is_orphan and len(world.orphans) >= limits.orphans):
        yield Step("exit", (who,))
    if not process.enablers:
        return
    if limits.threads and process.tasks == 1:
        yield Step("thread", (who,))
    if limits.faults and not process.absent:
        yield Step("steal", (who,))
    for place, other in enumerate(world.processes):
        if place != who and not other.plain.enablers and not other.plain.word and other.plain.tasks == 1:
            yield Step("fork", (who, place))
            return


def _edges(limits: Limits, path: Path) -> Iterator[tuple[Step, World, str]]:
    """Every step from the end of a path, with each failure that it can meet: the world after it, and what broke."""
    world = replay(limits, path)
    before = Snapshot(world)
    waiting = list(steps(world))
    waiting.reverse()
    tried = set(waiting)
    while waiting:
        step = waiting.pop()
        yield step, world, _take(world, step)
        for failure in sorted(world.asked - set(step.failing)):
            other = step._replace(failing=tuple(sorted((*step.failing, failure))))
            if other not in tried:
                tried.add(other)
                waiting.append(other)
        before.restore()


def _take(world: World, step: Step) -> str:
    """Take a step and look at the world; what is broken, in words."""
    try:
        world.take(step)
        check(world)
        world.drop_the_gone()
    except Exception as broken:  # the engine may raise nothing but what the model expects
        return f"{type(broken).__name__}: {broken}" if not isinstance(broken, AssertionError) else str(broken)
    return ""


def _unlike(keys: list[tuple[object, ...]]) -> Iterator[int]:
    """The places of the first of each kind."""
    seen = set()
    for place, key in enumerate(keys):
        if key not in seen:
            seen.add(key)
            yield place
