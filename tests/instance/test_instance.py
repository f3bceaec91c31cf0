"""An instance enables events by hand and by pattern, now and later, and lets go of them all."""

import pytest

from tests.engine.world import World
from userevents.engine import Group, UserEvent
from userevents.errors import Refused
from userevents.instance import Instance, Pattern, Selection


@pytest.fixture
def world() -> World:
    """A group with the events http_get, http_put and tick, and a multi-format http."""
    world = World()
    for bit, text in enumerate(("http_get u32 a", "http_put", "tick")):
        world.register(text, bit=bit)
    world.register("http u8 x", bit=3, flags=2)
    return world


def names(instance: Instance) -> list[str]:
    """What is enabled."""
    return sorted(event.tracepoint_name for event in instance.enabled)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("http_*", ["http_get", "http_put"]),
        ("*", ["http.0", "http_get", "http_put", "tick"]),
        ("http", ["http.0"]),
        ("http.?", ["http.0"]),
        ("user_events:*", ["http_get", "http_put", "tick"]),
        ("user_events_multi:", ["http.0"]),
        (":tick", ["tick"]),
        ("*:http_[gx]et", ["http_get"]),
        ("HTTP_*", []),
        ("tick ", []),
    ],
)
def test_a_pattern_enables_what_it_matches(world: World, pattern: str, expected: list[str]) -> None:
    """Shell globs over the system and the name; a multi-format event also by its registered name."""
    instance = Instance("i", world.group)
    instance.set_patterns([pattern])
    assert names(instance) == expected
    assert instance.patterns == (str(Pattern.parse(pattern)),)


def test_a_pattern_holds_for_events_declared_later(world: World) -> None:
    """The word of such an event is born enabled: its first event counts."""
    instance = Instance("i", world.group)
    instance.set_patterns(["late*"])
    assert names(instance) == []
    world.register("later", bit=10)
    assert world.memory.bit(0x1000, 10) == 1
    assert names(instance) == ["later"]


def test_new_patterns_undo_what_patterns_did_and_nothing_else(world: World) -> None:
    """Enabling by hand survives a change of patterns, also for an event that a pattern enabled first."""
    instance = Instance("i", world.group)
    instance.set_patterns(["http_*"])
    instance.enable(world.event("http_put"))
    instance.enable(world.event("tick"))
    instance.set_patterns(["http"])
    assert names(instance) == ["http.0", "http_put", "tick"]
    instance.set_patterns([])
    assert names(instance) == ["http_put", "tick"]


def test_enabling_and_disabling_twice_is_as_once(world: World) -> None:
    """No extra reference is taken, none too many is dropped."""
    instance = Instance("i", world.group)
    event = world.event("tick")
    held = event.refcnt
    instance.enable(event)
    instance.enable(event)
    assert event.refcnt == held + 1
    instance.disable(event)
    instance.disable(event)
    assert event.refcnt == held


def test_an_enabled_event_outlives_its_process_until_the_instance_is_released(world: World) -> None:
    """The instance is a holder, and says so by name."""
    instance = Instance("night", world.group)
    instance.enable(world.event("tick"))
    world.leave()
    world.group.run_work()
    assert world.listed() == ["tick"]
    assert [f"{holder.kind} {holder.detail}" for holder in world.event("tick").holders()] == ["ftrace instance night"]
    instance.release()
    world.group.run_work()
    assert world.listed() == []


def test_two_instances_hold_an_event_independently(world: World) -> None:
    """The bit goes down when the last one lets go."""
    one, two = Instance("one", world.group), Instance("", world.group)
    event = world.event("tick")
    one.enable(event)
    two.enable(event)
    one.disable(event)
    assert world.memory.bit(0x1000, 2) == 1
    two.disable_all()
    assert world.memory.bit(0x1000, 2) == 0


def test_a_released_instance_hears_of_no_more_events(world: World) -> None:
    """Its patterns are gone with it; releasing again does nothing."""
    instance = Instance("i", world.group)
    instance.set_patterns(["*"])
    instance.release()
    instance.release()
    world.register("later", bit=10)
    assert names(instance) == []
    assert world.event("later").status == 0
    assert instance.stream.closed


def test_every_change_can_be_seen_by_polling(world: World) -> None:
    """`changes` grows with each of them, and not when nothing changed."""
    instance = Instance("i", world.group)
    seen = [instance.changes]

    def changed() -> bool:
        seen.append(instance.changes)
        return seen[-1] > seen[-2]

    event = world.event("tick")
    instance.enable(event)
    assert changed()
    instance.enable(event)
    assert not changed()
    instance.disable(event)
    assert changed()
    instance.disable(event)
    assert not changed()
    instance.set_selection(Selection.parse("pid 1"))
    assert changed()
    instance.set_patterns(["x"])
    assert changed()


def test_an_event_that_is_gone_cannot_be_enabled() -> None:
    """ENODEV, and nothing is remembered of it."""
    world = World()
    world.register("t")
    event = world.event("t")
    world.leave()
    world.group.run_work()
    instance = Instance("i", world.group)
    with pytest.raises(Refused, match="ENODEV"):
        instance.enable(event)
    assert not instance.enabled


def test_the_order_of_instances_does_not_matter_for_a_new_event() -> None:
    """Every instance that wants the event has it before its first bit is written."""
    group = Group()
    wanting = [Instance(name, group) for name in "ab"]
    for instance in wanting:
        instance.set_patterns(["t"])
    seen: list[set[UserEvent]] = []

    class Memory:
        def write_bit(self, addr: int, bit: int, size: int, on: bool) -> None:
            assert on
            seen.extend(set(instance.enabled) for instance in wanting)

    from tests.engine.world import ROOT

    group.register(group.open_file(), group.new_mm(Memory()), "t", addr=8, bit=0, caller=ROOT)
    assert [len(enabled) for enabled in seen] == [1, 1]
