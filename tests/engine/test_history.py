"""What the engine remembers of an event: who did what, in bounded records, while it lives and after."""

import pytest

from tests.engine.world import ROOT, USER, WORD, Probe, World
from userevents.engine import Group
from userevents.engine.history import ENTRIES_MAX, GONE_MAX
from userevents.errors import Refused

PERSIST = 1


def told(world: World, name: str = "tick") -> list[str]:
    """The history of a listed event, ``WHAT: WHO`` each."""
    return [f"{entry.what}: {entry.who}".rstrip(": ") for entry in world.group.history.of(world.event(name))]


def told_of_gone(world: World) -> list[str]:
    """The history of the event destroyed last."""
    return [f"{entry.what}: {entry.who}".rstrip(": ") for entry in world.group.history.gone[-1].entries]


def test_a_life_is_told_from_registration_to_destruction() -> None:
    """Each step with who took it, in order; afterwards it can still be read."""
    world = World()
    world.register("tick u32 count")
    world.register(
        "tick u32 count", 1, file=world.group.open_file("pid 2"), mm=world.group.new_mm(world.memory, "pid 2")
    )
    probe = Probe("top instance")
    event = world.event("tick")
    event.attach(probe)
    event.detach(probe)
    assert told(world) == [
        "registered: pid 1",
        "registered again: pid 2",
        "enabled: top instance",
        "disabled: top instance",
    ]


def test_an_event_that_is_gone_is_remembered_with_its_fields_and_id() -> None:
    """The last put, the queued destroy and the destruction are the end of its record."""
    world = World()
    world.register("tick u32 count")
    world.leave()
    world.group.run_work()
    assert world.listed() == []
    (gone,) = world.group.history.gone
    assert (gone.system, gone.tracepoint_name, gone.id, gone.fields_text) == ("user_events", "tick", 20, "u32 count")
    assert told_of_gone(world) == [
        "registered: pid 1",
        "unregistered: pid 1",
        "file closed: pid 1",
        "last put: its destroy is queued",
        "destroyed",
    ]


def test_coming_back_before_the_destroy_is_told() -> None:
    """The event is kept, and its record goes on."""
    world = World()
    world.register("tick")
    world.leave()
    world.file, world.mm = world.group.open_file("pid 2"), world.group.new_mm(world.memory, "pid 2")
    world.register("tick")
    world.group.run_work()
    assert told(world)[-3:] == [
        "last put: its destroy is queued",
        "registered again: pid 2",
        "kept: somebody came before the destroy ran",
    ]


def test_a_destroy_that_fails_says_why() -> None:
    """So does one that cannot be queued at all."""
    world = World()
    world.register("tick")

    def fail(_event: object) -> None:
        raise Refused(12, "no memory for credentials")

    world.group.lifecycle.before_destroy = fail
    world.leave()
    world.group.run_work()
    assert told(world)[-1] == "destroy failed: no memory for credentials"
    world.queue.refuses = lambda _work: True
    world.file, world.mm = world.group.open_file("pid 2"), world.group.new_mm(world.memory, "pid 2")
    world.register("tock")
    world.leave()
    assert told(world, "tock")[-1] == "last put: its destroy could not be queued"


def test_both_meanings_of_eaddrinuse_are_told_of_the_event_concerned() -> None:
    """Who asked, and whether the name or the bit was taken."""
    world = World()
    world.register("tick u32 count", 3)
    for text, bit in (("tick u64 count", 1), ("tock", 3)):
        with pytest.raises(Refused):
            world.register(text, bit)
    assert told(world)[1:] == [
        "refused: pid 1: event 'tick' is already registered with other fields: registered 'u32 count', declared "
        "'u64 count' (use multi_format to keep both)",
        f"refused: pid 1: bit 3 of 0x{WORD:x} follows it already",
    ]


def test_what_was_done_by_hand_says_so() -> None:
    """dynamic_events and the deleting user are named."""
    world = World()
    world.group.dynamic_create("u:tick u32 a", ROOT)
    with pytest.raises(Refused):
        world.group.dynamic_delete("-:tick u32 a", USER)
    assert told(world) == ["registered: user 0 (dynamic_events)"]
    world.group.dynamic_delete("-:tick u32 a", ROOT)
    assert told_of_gone(world)[1:] == ["deleted by hand: user 0", "destroyed"]


def test_a_put_too_many_is_told() -> None:
    """The event stays, since it is persistent."""
    world = World()
    world.group.dynamic_create("u:tick", ROOT)
    world.event("tick").put()
    assert told(world)[-1] == "put too often"


def test_a_record_is_bounded_and_keeps_how_it_began() -> None:
    """A busy event has its creation and the last few entries, a long reason is cut, the gone are few."""
    world = World()
    world.register("tick")
    event, probe = world.event("tick"), Probe()
    for _ in range(100):
        event.attach(probe)
        event.detach(probe)
    assert len(told(world)) == ENTRIES_MAX
    assert told(world)[0] == "registered: pid 1"
    assert told(world)[-1] == "disabled: tracer"
    event.note("filter refused", "x" * 5000)
    assert len(told(world)[-1]) < 300
    for number in range(GONE_MAX + 10):
        world.group.dynamic_create(f"u:t{number}", ROOT)
        world.group.dynamic_delete(f"-:t{number}", ROOT)
    assert next(gone.tracepoint_name for gone in world.group.history.gone) == "t10"
    assert len(world.group.history.gone) == GONE_MAX


def test_times_are_those_of_the_clock_that_was_handed_in() -> None:
    """Without one, entries are numbered."""
    times = iter((7_000, 9_000))
    group = Group(clock=lambda: next(times))
    group.dynamic_create("u:tick", ROOT)
    (event,) = group.events
    event.note("seen")
    assert [entry.at for entry in group.history.of(event)] == [7_000, 9_000]
    world = World()
    world.register("tick")
    world.register("tock", 1)
    assert [world.group.history.of(event)[0].at for event in world.group.events] == [1, 2]


def test_nothing_is_noted_of_an_event_that_is_gone() -> None:
    """A file of the tree that was open may still try."""
    world = World()
    world.group.dynamic_create("u:tick", ROOT)
    event = world.event("tick")
    world.group.dynamic_delete("-:tick", ROOT)
    event.note("filter set", "a == 1")
    assert world.group.history.of(event) == ()
    assert told_of_gone(world)[-1] == "destroyed"
