"""Registering, unregistering and deleting: the checks, their order, and what each refusal says.

Source: user_events contract, abi.md section 5.
"""

import pytest

from tests.engine.world import ROOT, USER, WORD, FakeMemory, World, refused
from userevents.engine import V6_4, V6_12, Profile
from userevents.errors import Refused

PERSIST, MULTI = 1, 2
KERNEL = 0xFFFF888000000000


def refusal(world: World, text: str = "t u32 a", **how: object) -> str:
    """The errno's name that registering gives, ``""`` for success."""
    return refused(lambda: world.register(text, **how))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"flags": 4}, "EINVAL"),
        ({"size": 1}, "EINVAL"),
        ({"size": 16}, "EINVAL"),
        ({"addr": WORD + 2}, "EINVAL"),
        ({"addr": WORD + 4, "size": 8}, "EINVAL"),
        ({"bit": 32}, "EINVAL"),
        ({"bit": 63, "size": 8}, ""),
        ({"bit": 64, "size": 8}, "EINVAL"),
        ({"addr": KERNEL}, "EFAULT"),
        ({"addr": WORD + 8}, "ENOMEM"),
        ({"text": "x" * 511}, ""),
        ({"text": "x" * 512}, "EINVAL"),
        ({"text": "t: u32 a"}, "EINVAL"),
        ({"text": "t long a"}, "EINVAL"),
        ({"flags": PERSIST, "caller": USER}, "EPERM"),
        ({"flags": PERSIST | MULTI}, ""),
    ],
)
def test_a_registration_is_refused_with_the_kernels_errno(how: dict[str, object], expected: str) -> None:
    """Every semantic check of the register call, one at a time."""
    world = World()
    world.memory.unmapped.add(WORD + 8)
    assert refusal(world, **how) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("profile", "how", "expected"),
    [
        (V6_12, {"bit": 99, "addr": KERNEL}, "EINVAL"),
        (V6_12, {"addr": KERNEL, "text": "bad: text"}, "EFAULT"),
        (V6_12, {"bit": 0, "text": "x" * 600}, "EADDRINUSE"),
        (V6_12, {"bit": 0, "flags": 4}, "EINVAL"),
        (V6_12, {"bit": 1, "text": "u:x u32 a", "flags": PERSIST, "caller": USER}, "EINVAL"),
        (V6_12, {"bit": 1, "text": "used u64 a", "flags": PERSIST, "caller": USER}, "EPERM"),
        (V6_12, {"bit": 1, "text": "used long a"}, "EADDRINUSE"),
        (V6_12, {"bit": 1, "text": "new long a"}, "EINVAL"),
        (V6_4, {"bit": 0, "flags": PERSIST}, "EADDRINUSE"),
        (V6_4, {"bit": 1, "flags": PERSIST, "text": "x" * 600}, "EINVAL"),
        (V6_4, {"bit": 1, "flags": PERSIST, "caller": USER}, "EINVAL"),
        (V6_4, {"bit": 0, "flags": MULTI}, "EINVAL"),
    ],
)
def test_of_two_mistakes_the_one_the_kernel_sees_first_is_reported(
    profile: Profile, how: dict[str, object], expected: str
) -> None:
    """Bit 0 is taken by event 'used', and the events are at their limit minus one."""
    world = World(profile)
    world.register("used u32 a")
    assert refusal(world, **how) == expected  # type: ignore[arg-type]


def test_address_in_use_says_which_event_follows_the_bit() -> None:
    """The first of EADDRINUSE's two meanings: the (address, bit) is taken."""
    world = World()
    world.register("tick u32 count", bit=3)
    with pytest.raises(Refused, match="bit 3 of address 0x1000 already follows event 'tick'"):
        world.register("tock", bit=3)


def test_address_in_use_says_where_two_declarations_differ() -> None:
    """The second of EADDRINUSE's two meanings: the name is taken by other fields."""
    world = World()
    world.register("tick u32 count")
    with pytest.raises(Refused, match="registered 'u32 count', declared 'u64 count'") as refusal:
        world.register("tick u64 count", bit=1)
    assert refusal.value.name == "EADDRINUSE"


def test_a_failed_write_of_the_word_leaves_the_event_with_the_file() -> None:
    """The kernel's ENOMEM comes after the event was made: it stays until the file is closed."""
    world = World()
    world.memory.unmapped.add(WORD)
    assert refusal(world) == "ENOMEM"
    event = world.event("t")
    assert [holder.kind for holder in event.holders()] == ["file"]
    assert list(world.file.events) == [event]
    world.file.close()
    world.group.run_work()
    assert world.listed() == []


def test_a_word_that_has_to_be_brought_in_is_brought_in() -> None:
    """Registering faults the page in, and writes the state of that moment."""
    world = World()
    world.memory.absent.add(WORD)
    assert world.register("t u32 a") == 0
    assert world.memory.words[WORD] == 0


class ThievingMemory(FakeMemory):
    """Memory whose pages are stolen again as soon as they came in."""

    def fault_in(self, addr: int) -> None:
        """It claims to have come in."""
        self.absent.add(addr)


def test_a_word_that_never_stays_is_given_up_after_ten_fault_ins() -> None:
    """A page that is stolen after every fault-in does not hang the caller."""
    world = World()
    memory = ThievingMemory()
    memory.absent.add(WORD)
    assert refusal(world, mm=world.group.new_mm(memory)) == "ENOMEM"
    assert memory.tries == 11


def test_the_same_event_twice_in_a_file_has_one_index_and_one_reference() -> None:
    """Two bits, two enablers, one table entry."""
    world = World()
    assert [world.register("t u32 a", bit=31), world.register("t u32 a;", bit=30)] == [0, 0]
    assert [holder.kind for holder in world.event("t").holders()] == ["file", "enabler", "enabler"]


def test_write_indices_count_up_in_order_of_first_registration() -> None:
    """They stay, whatever is unregistered later."""
    world = World()
    assert [world.register(f"e{number}", bit=number) for number in range(3)] == [0, 1, 2]
    world.group.unregister(world.mm, WORD, 1)
    assert world.register("e1", bit=1) == 1
    assert world.register("e3", bit=3) == 3


def test_multi_format_keeps_layouts_side_by_side_and_counts_for_the_whole_group() -> None:
    """The number of a layout counts up over all names, also where its creation fails later."""
    world = World()
    world.register("a u32 x", bit=0, flags=MULTI)
    world.register("b u32 x", bit=1, flags=MULTI)
    assert refusal(world, "a long x", bit=2, flags=MULTI) == "EINVAL"
    world.register("a u64 x", bit=2, flags=MULTI)
    world.register("a u32 x", bit=3, flags=MULTI)
    world.register("a u8 x", bit=4)
    assert world.listed() == ["a.0", "b.1", "a.3", "a"]
    assert [event.system for event in world.group.events] == ["user_events_multi"] * 3 + ["user_events"]


def test_the_number_of_a_layout_is_written_in_hexadecimal() -> None:
    """The eleventh layout is NAME.a, as the kernel prints it."""
    world = World()
    for number in range(11):
        world.register(f"e u32 f{number}", bit=number, flags=MULTI)
    assert world.listed()[-1] == "e.a"


def test_an_id_wanted_by_an_adopted_session_is_given_to_the_event_it_creates() -> None:
    """A later registration does not change it, and an id that is taken falls back to the pool's."""
    world = World()
    world.register("a", bit=0, want_id=77)
    world.register("a", bit=1, want_id=99)
    world.register("b", bit=2, want_id=77)
    assert (world.event("a").id, world.event("b").id) == (77, 20)
    assert world.group.events.by_id(77) is world.event("a")


def test_unregistering_what_is_not_registered_is_enoent() -> None:
    """By address, by bit, and by another process."""
    world = World()
    world.register("t")
    other = world.group.new_mm(world.memory)
    for mm, addr, bit in ((world.mm, WORD, 1), (world.mm, WORD + 8, 0), (other, WORD, 0)):
        with pytest.raises(Refused, match="ENOENT"):
            world.group.unregister(mm, addr, bit)


def test_unregistering_from_memory_that_is_gone_is_efault_once() -> None:
    """The enabler is gone all the same: the second time it is ENOENT."""
    world = World()
    world.register("t")
    world.memory.unmapped.add(WORD)
    with pytest.raises(Refused, match="EFAULT"):
        world.group.unregister(world.mm, WORD, 0)
    with pytest.raises(Refused, match="ENOENT"):
        world.group.unregister(world.mm, WORD, 0)


def test_deleting_says_who_holds_the_event() -> None:
    """EBUSY names the holders, a few of them if there are many, and not the persistent event itself."""
    world = World()
    world.register("t", flags=PERSIST)
    with pytest.raises(Refused, match="held by: file pid 1, enabler pid 1 bit 0 of 0x1000; let its") as refusal:
        world.group.delete("t", ROOT)
    assert refusal.value.name == "EBUSY"
    for bit in range(1, 12):
        world.register("t", bit)
    with pytest.raises(Refused, match="bit 6 of 0x1000 and 5 more; let its holders go first"):
        world.group.delete("t", ROOT)


def test_a_file_that_was_closed_registers_nothing() -> None:
    """EBADF, before anything is created."""
    world = World()
    world.file.close()
    assert refusal(world) == "EBADF"
    assert world.listed() == []
