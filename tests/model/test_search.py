"""Every interleaving of a small world, searched: worker, faults, processes, files, tracers, and failures injected.

`USEREVENTS_MODEL=long` searches larger worlds, too (tests/README.md).
"""

import faulthandler
import os
from typing import Final, NamedTuple

import pytest

from tests.model import canonical
from tests.model.canonical import canonical as key_of
from tests.model.plain import MULTI, PERSIST
from tests.model.search import replay, search, steps
from tests.model.snapshot import Snapshot
from tests.model.world import Limits, Step, World
from userevents.engine import Enabler, OpenFile, UserEvent, UserEventMm

EVERYTHING: Final = 1000
"""More steps than any complete search needs."""
LONG: Final = os.environ.get("USEREVENTS_MODEL") == "long"


class Size(NamedTuple):
    """How large a world to search, how far, and how many states there are at least: it must not shrink unseen."""

    limits: Limits
    depth: int
    states: int


ONE, TWO = ("a u32 x",), ("a u32 x", "b")
SIZES: Final = {
    "one name, with faults": Size(Limits(ONE), EVERYTHING, 8424),
    "two names": Size(Limits(TWO, faults=False), 10, 4584),
    "one name, with threads": Size(Limits(ONE, faults=False, threads=True), EVERYTHING, 240),
    "one name, stuck events recover": Size(Limits(ONE, faults=False, recover=True), EVERYTHING, 72),
    "one name, one process, an instance and perf": Size(Limits(ONE, tracers=2, processes=1), EVERYTHING, 2016),
    "one name, single and multi-format": Size(Limits(ONE, (0, MULTI), processes=1, faults=False), EVERYTHING, 316),
}
LONG_SIZES: Final = {
    "one name, two layouts, single and multi-format": Size(
        Limits(("a u32 x", "a u8 x"), (0, MULTI), processes=1, files=1, faults=False), EVERYTHING, 3068
    ),
    "two names, complete": Size(Limits(TWO, faults=False), EVERYTHING, 5760),
    "one name, with faults, stuck events recover": Size(Limits(ONE, recover=True), EVERYTHING, 8424),
    "one name, with faults and threads": Size(Limits(ONE, threads=True), 14, 7062),
    "two names, with faults": Size(Limits(TWO), 9, 6821),
    "two names, two bits": Size(Limits(TWO, bits=2, faults=False), 7, 6181),
    "one name, three processes": Size(Limits(ONE, processes=3), 12, 3470),
}


def explore(size: Size) -> None:
    """Search, and say how much there was."""
    found = search(size.limits, size.depth)
    print(found)
    assert found.violation is None, f"\n{found.violation}"
    assert found.states >= size.states, f"only {found}"
    assert found.complete or found.depth == size.depth


@pytest.mark.time_limit(300)
@pytest.mark.parametrize("world", SIZES)
def test_nothing_breaks_in_any_state_of_a_small_world(world: str) -> None:
    """Every step from every state, with every failure it can meet; all invariants after each."""
    explore(SIZES[world])


@pytest.mark.skipif(not LONG, reason="minutes to hours: USEREVENTS_MODEL=long")
@pytest.mark.time_limit(6 * 3600)
@pytest.mark.parametrize("world", LONG_SIZES)
def test_nothing_breaks_in_any_state_of_a_larger_world(world: str) -> None:
    """The same with more names, bits, threads or processes."""
    faulthandler.cancel_dump_traceback_later()  # what ends a test that takes longer than faulthandler_timeout
    explore(LONG_SIZES[world])


def test_leaving_in_any_order_leads_to_the_same_end() -> None:
    """Invariant 15: from every state, first files then processes or the other way round; what persists is all."""
    limits = Limits(ONE)
    found = search(limits, 6)
    for path in found.paths:
        ends = []
        for order in ("files first", "processes first"):
            world = replay(limits, path)
            leave(world, files_first=order == "files first")
            ends.append(key_of(world))
            for event in world.group.events:
                assert [holder.kind for holder in event.holders()] in (["self"], ["stuck"]), event
            assert not world.group.pending
        assert ends[0] == ends[1], path
    print(f"{found.states} states left in both orders")
    assert found.states > 500


def leave(world: World, *, files_first: bool) -> None:
    """Everybody lets go, and the worker runs."""

    def close() -> None:
        for which in range(len(world.files)):
            world.take(Step("close", (which,)))

    def end() -> None:
        for who in range(len(world.processes)):
            world.take(Step("exit", (who,)))

    for leaves in (close, end) if files_first else (end, close):
        leaves()
    for which, event in enumerate(world.plain.events):
        for tracer in event.tracers:
            world.take(Step("disable", (which, tracer)))
    while world.group.pending:
        world.take(Step("work", (0,)))


def test_undoing_a_step_leads_back_to_the_very_state() -> None:
    """What the search relies on: near the start, each step taken after another was undone is as after a replay."""
    limits = Limits(ONE)
    for path in search(limits, 4).paths:
        world = replay(limits, path)
        before = Snapshot(world)
        for step in steps(replay(limits, path)):
            world.take(step)
            fresh = replay(limits, path)
            fresh.take(step)
            assert key_of(world) == key_of(fresh), (path, step)
            before.restore()


def test_every_attribute_of_the_engine_is_part_of_a_state_or_known_not_to_matter() -> None:
    """A new attribute must be entered in `canonical.py`, or states that differ in it would be taken for one."""
    world = World(Limits())
    objects: dict[str, object] = {"UserEventMm": world.processes[0].mm, "OpenFile": world.files[0].real}
    names = {kind: set(vars(thing)) for kind, thing in objects.items()}
    names |= {kind.__name__: set(kind.__slots__) for kind in (UserEvent, Enabler)}
    assert {type(thing) for thing in objects.values()} == {UserEventMm, OpenFile}
    for kind, found in names.items():
        known = canonical.LOOKED_AT[kind] | set(canonical.LEFT_OUT[kind])
        assert found == known, f"{kind}: {found ^ known}"


def test_worlds_that_differ_only_in_who_does_what_are_one() -> None:
    """Processes and files are interchangeable; events, bits and tracers are not."""

    def after(*taken: Step) -> object:
        return key_of(replay(Limits(TWO), taken))

    assert after(Step("register", (0, 0, "b"))) == after(Step("register", (1, 1, "b")))
    assert after(Step("register", (0, 0, "b"))) != after(Step("register", (0, 0, "a u32 x")))
    assert after(Step("register", (0, 0, "b"))) != after(Step("register", (0, 0, "b", PERSIST)))
