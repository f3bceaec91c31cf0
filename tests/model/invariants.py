"""The contract's invariants, by their numbers: each a function that looks at a `World` after a step.

Invariants 10 and 12 are about one step and stand where it is taken (`World.unregister`, `World.delete`); 15 is about
two ways to one end and has a test of its own (`test_search.py`).

Source: user_events contract, lifecycle.md section 10.
"""

from collections.abc import Callable
from typing import Final

from tests.engine.world import WORD
from tests.model.plain import STUCK, WORK, Holder, PlainEvent
from tests.model.world import Process, World
from userevents.abi.user_events import EVENT_STATUS_FTRACE, EVENT_STATUS_PERF
from userevents.engine import UserEvent

TRACERS: Final = {EVENT_STATUS_FTRACE: "ftrace", EVENT_STATUS_PERF: "perf"}
"""What the engine calls tracers."""


def check(world: World) -> None:
    """Every invariant, in order; AssertionError begins with the number of the one that is broken."""
    for number, invariant in INVARIANTS.items():
        try:
            invariant(world)
        except AssertionError as broken:
            raise AssertionError(f"invariant {number}: {broken}") from None


def _counts_are_holders(world: World) -> None:
    """1 and 2: the engine's count, the engine's list of holders and the model's set agree, and none is empty."""
    for event, real in _pairs(world):
        wanted = sorted(_kind(world, holder) for holder in event.holders)
        assert real.refcnt == len(event.holders), f"{real}, held by {_words(wanted)}"
        assert real.refcnt >= 1, f"{real} is listed"
        found = sorted(holder.kind for holder in real.holders())
        assert found == wanted, f"{real} says it is held by {_words(found)}, not {_words(wanted)}"


def _no_alert(world: World) -> None:
    """3: nothing that the kernel would call a bug is ever logged."""
    assert not world.alerts, world.alerts[-1]


def _one_destroy_at_most(world: World) -> None:
    """4: what waits is what the model says; one destroy an event, of listed auto-delete events only."""
    waiting = world.group.pending
    found = [world.waiting(work) for work in waiting]
    assert len(found) == len(set(found)), "one thing waits twice"
    assert set(found) == world.plain.queue, f"{len(waiting)} items wait, not {len(world.plain.queue)}, or others"
    for event, real in _pairs(world):
        queued = [work for work in waiting if work is real.work]
        assert len(queued) == (WORK in event.holders), f"{real} has {len(queued)} destroys queued"
        assert not queued or (real.listed and not real.persist), f"{real} has a destroy queued"
        assert real.stuck == (STUCK in event.holders), f"{real} is {'not ' * (not real.stuck)}stuck"


def _exactly_the_held_are_listed(world: World) -> None:
    """2, 5, 6 and 7: the events listed are the model's; those are held, since the model drops what is not."""
    listed = list(world.group.events)
    assert listed == [world.real[event] for event in world.plain.events], f"listed: {listed}"
    assert len(world.group.events) == len(listed)
    assert all(real.listed for real in listed)
    gone = [real for event, real in world.real.items() if event not in world.plain.events]
    assert not any(real.listed or real.refcnt for real in gone), f"{gone} should be gone"


def _indices_never_change(world: World) -> None:
    """8: a file's events stand where they were first registered."""
    for file in world.files:
        found, wanted = list(file.real.events), [world.real[event] for event in file.plain.events]
        assert found == wanted, f"a file has {found}, not {wanted}"


def _bits_follow_events(world: World) -> None:
    """9: memory is what the model says, and a bit is its event's state unless a retry is due or was given up."""
    for process in world.processes:
        _check_enablers(world, process)
        word = process.memory.words.get(WORD, 0)
        assert word == process.plain.word, f"a word is {word:#x}, not {process.plain.word:#x}"
        for bit in range(world.limits.bits):
            enabler = process.plain.enablers.get(bit)
            if bit in process.plain.lost or (enabler is not None and enabler.faulting):
                continue
            listened = enabler is not None and not enabler.freeing and bool(enabler.event.tracers)
            assert word >> bit & 1 == listened, f"bit {bit} is {word >> bit & 1}"
    for orphan in world.orphans:
        _check_enablers(world, orphan)


def _check_enablers(world: World, process: Process) -> None:
    found = {bit: (e.event, e.faulting, e.freeing) for (_, bit), e in process.mm.enablers.items()}
    wanted = {bit: (world.real[e.event], e.faulting, e.freeing) for bit, e in process.plain.enablers.items()}
    assert found == wanted, f"a process has enablers {found}, not {wanted}"
    mm, plain = process.mm, process.plain
    assert (mm.tasks, mm.refcnt) == (plain.tasks, bool(plain.tasks) + plain.retries), f"tasks {mm.tasks}"


def _status_is_who_listens(world: World) -> None:
    """11: a status bit is set exactly while somebody of its kind listens."""
    for event, real in _pairs(world):
        wanted = 0
        for tracer in event.tracers:
            wanted |= world.tracers[tracer].status_bit
        assert real.status == wanted, f"{real} has status {real.status}"


def _names_are_unique(world: World) -> None:
    """13: one single-format event a name, one multi-format event a name and layout."""
    single = [event.name for event in world.plain.events if not event.multi]
    multi = [(event.name, event.args) for event in world.plain.events if event.multi]
    assert len(single) == len(set(single)), single
    assert len(multi) == len(set(multi)), multi
    places = [(real.system, real.tracepoint_name) for real in world.group.events]
    assert len(places) == len(set(places)), places


def _births_are_for_life(world: World) -> None:
    """14: id, persist and multi never change, and no two events have one id."""
    for event, real in _pairs(world):
        assert world.births[event] == (real.id, real.persist, real.multi), f"{real} was {world.births[event]}"
        assert world.group.ids.in_use(real.id)
    ids = [real.id for real in world.group.events]
    assert len(ids) == len(set(ids)), ids


def _pairs(world: World) -> list[tuple[PlainEvent, UserEvent]]:
    return [(event, world.real[event]) for event in world.plain.events]


def _kind(world: World, holder: Holder) -> str:
    kind, *whose = holder
    if kind != "tracer":
        return str(kind)
    assert isinstance(whose[0], int)
    return TRACERS[world.tracers[whose[0]].status_bit]


def _words(kinds: list[str]) -> str:
    return ", ".join(kinds) or "nobody"


INVARIANTS: Final[dict[str, Callable[[World], None]]] = {
    "1 and 2": _counts_are_holders,
    "3": _no_alert,
    "4": _one_destroy_at_most,
    "2, 5, 6 and 7": _exactly_the_held_are_listed,
    "8": _indices_never_change,
    "9": _bits_follow_events,
    "11": _status_is_who_listens,
    "13": _names_are_unique,
    "14": _births_are_for_life,
}
