"""The group as a whole: observers, order, dynamic_events lines, profiles, and growth."""

import gc
import time

import pytest

from tests.engine.world import ROOT, WORD, World
from userevents.engine import V6_4, UserEvent, Writer
from userevents.errors import Refused

PERSIST, MULTI = 1, 2


class Witness:
    """An observer that writes down what it is told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen: list[str] = []

    def event_added(self, event: UserEvent) -> None:
        """Is it in the table already?"""
        self.seen.append(f"+{event.name} {event in self.world.group.events} {self.world.memory.tries}")

    def event_removed(self, event: UserEvent) -> None:
        """Is it out of the table?"""
        self.seen.append(f"-{event.name} {event in self.world.group.events}")

    def event_refused(self, text: str, who: str, refused: Refused) -> None:
        """Who was refused what?"""
        self.seen.append(f"!{text} {refused.name}")


def test_observers_hear_of_an_event_before_its_first_bit_is_written() -> None:
    """So that a tracer that wants it can have it enabled from the first event on."""
    world = World()
    witness = Witness(world)
    world.group.observers.append(witness)
    world.register("t")
    world.register("t", bit=1)
    world.leave()
    world.group.run_work()
    assert witness.seen == ["+t True 0", "-t False"]


def test_observers_hear_of_a_declaration_that_was_refused() -> None:
    """Other fields than the event has, and no fields at all that there are: the text, and why."""
    world = World()
    witness = Witness(world)
    world.register("t u32 a")
    world.group.observers.append(witness)
    for text in ("t u64 a", "x nothing a"):
        with pytest.raises(Refused):
            world.register(text, bit=1)
    assert witness.seen == ["!t u64 a EADDRINUSE", "!x nothing a EINVAL"]


def test_observers_hear_of_a_registration_that_was_refused_before_its_declaration_mattered() -> None:
    """A word of two bytes, a bit that is taken, a word that is not there: with the text all the same."""
    world = World()
    witness = Witness(world)
    world.register("t")
    world.group.observers.append(witness)
    world.memory.unmapped.add(WORD + 8)
    for bit, size, addr in ((1, 2, WORD), (0, 4, WORD), (1, 4, WORD + 8)):
        with pytest.raises(Refused):
            world.register("t", bit, size=size, addr=addr)
    assert witness.seen == ["!t EINVAL", "!t EADDRINUSE", "!t ENOMEM"]


def test_a_tracer_that_attaches_when_told_has_the_first_bit_set() -> None:
    """The word is born enabled: the program's very first event counts."""

    class Tracer(Witness):
        status_bit = 1
        holder_name = "eager"

        def record(self, event: UserEvent, payload: bytes, writer: Writer) -> bool:
            return True

        def event_added(self, event: UserEvent) -> None:
            event.attach(self)

    world = World()
    world.group.observers.append(Tracer(world))
    world.register("t")
    assert world.memory.words == {0x1000: 1}


def test_events_are_found_by_id_name_and_place() -> None:
    """And not any more once they are gone."""
    world = World()
    world.register("t u8 a", flags=MULTI)
    world.register("t u8 a", bit=1)
    multi, single = world.group.events
    assert world.group.events.by_tracepoint("user_events_multi", "t.0") is multi
    assert world.group.events.named("t") == (multi, single)
    assert world.group.events.by_id(single.id) is single
    assert world.group.events.systems() == ("user_events_multi", "user_events")
    world.leave()
    world.group.run_work()
    assert world.group.events.by_tracepoint("user_events_multi", "t.0") is None
    assert (world.group.events.systems(), world.group.events.named("t"), len(world.group.events)) == ((), (), 0)


def test_the_id_of_a_deleted_event_is_given_to_the_next() -> None:
    """The lowest free id: what the kernel does, and why recordings reserve theirs."""
    world = World()
    world.register("a")
    world.register("b", bit=1)
    ids = world.event("a").id, world.event("b").id
    file = world.group.open_file()
    world.leave()
    world.group.run_work()
    world.group.ids.reserve(ids[0])
    world.register("c", file=file, mm=world.group.new_mm(world.memory))
    assert world.event("c").id == ids[1]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("u:t u32 a", ""),
        ("u:t u64 a", "EADDRINUSE"),
        ("u:  t u32 a", ""),
        ("u:new:x u32 a", "EINVAL"),
        (" u:new", "EINVAL"),
        ("p:new", "EINVAL"),
        ("-:t u32 a", ""),
        ("-:t u32 a;", ""),
        ("-:t", "ENOENT"),
        ("-:user_events/t u32 a", ""),
        ("-:user_events_multi/t u32 a", ""),
        ("-:kprobes/t u32 a", "ENOENT"),
        ("!u:t u32 a", ""),
        ("!t u32 a", "EINVAL"),
        ("-t", "EINVAL"),
        ("-u:t u32 a", "EINVAL"),
        ("-:", "EINVAL"),
        ("-:nope", "ENOENT"),
        ("-:two u32 a;u32 b", "ENOENT"),
        ("-:two u32 a; u32 b", ""),
    ],
)
def test_a_dynamic_events_line_does_what_the_kernel_does(line: str, expected: str) -> None:
    """Persistent 't u32 a' and 'two u32 a; u32 b' exist, and nobody uses them."""
    world = World()
    world.group.dynamic_create("u:t u32 a", ROOT)
    world.group.dynamic_create("u:two u32 a; u32 b", ROOT)
    run = world.group.dynamic_delete if line[0] in "-!" else world.group.dynamic_create
    if not expected:
        run(line, ROOT)
        return
    with pytest.raises(Refused) as refused:
        run(line, ROOT)
    assert refused.value.name == expected
    assert world.listed() == ["t", "two"]


def test_v6_4_cannot_register_a_struct_event_twice_and_minds_spaces() -> None:
    """The auto-cleanup patch as it first shipped: its matching had two faults, and they are kept."""
    world = World(V6_4)
    world.register("s struct x a 20")
    world.register("t u32 a; u32 b", bit=1)
    for text in ("s struct x a 20", "t u32 a;u32 b"):
        with pytest.raises(Refused, match="EADDRINUSE"):
            world.register(text, bit=2)
    assert world.register("t u32 a; u32 b;", bit=2) == 1
    modern = World()
    modern.register("s struct x a 20")
    assert modern.register("s struct x a 20;", bit=1) == 0


def cost_per_event(count: int) -> float:
    """Seconds of CPU per event to register, find and destroy `count` events; the collector is not what is measured."""
    world = World()
    world.group.user_events_max = count
    collects = gc.isenabled()
    gc.disable()
    try:
        began = time.process_time()
        for number in range(count):
            world.register(f"event_{number} u32 a", addr=0x1000 + 8 * number)
        for event in world.group.events:
            assert world.group.events.named(event.name) == (event,)
        world.leave()
        world.group.run_work()
        cost = (time.process_time() - began) / count
    finally:
        if collects:
            gc.enable()
    assert not world.group.events
    return cost


def test_the_cost_of_an_event_does_not_grow_with_their_number() -> None:
    """32 times as many events cost each at most thrice as much (a wide margin for a shared machine)."""
    small = min(cost_per_event(256) for _ in range(5))
    large = min(cost_per_event(8192) for _ in range(2))
    assert large < 3 * small, f"{small * 1e6:.1f} us with 256 events, {large * 1e6:.1f} us with 8192"
