"""The tree in process: a producer's unit test, with no file and no privilege."""

import pytest

from userevents.abi import user_events as uapi
from userevents.errors import Refused
from userevents.testing import FakeClock, FakeMemory, Tree


def test_a_producer_is_tested_against_the_tree_alone() -> None:
    """Register, be enabled, write, be seen; the bit is in the process's memory."""
    clock = FakeClock(1_500_000_000)
    tree = Tree(clock=clock)
    shop = tree.process("shop")
    sold = shop.register("sold u32 id; char[8] what")
    assert not shop.is_enabled(sold)
    with pytest.raises(Refused, match="EBADF"):
        shop.write(sold, bytes(12))
    tree.echo("events/user_events/sold/enable", "1")
    assert shop.is_enabled(sold)
    clock.advance(250_000_000)
    assert shop.write(sold, b"\x07\0\0\0tea\0\0\0\0\0") == 16
    assert "1.750000: sold: id=0x7 (7) what=tea" in tree.cat("trace")


def test_an_event_goes_with_its_last_user() -> None:
    """References are the kernel's: while somebody holds the event it cannot be deleted, afterwards it is gone."""
    tree = Tree()
    first, second = tree.process("a"), tree.process("b")
    ours = first.register("held u32 id")
    second.register("held u32 id")
    with pytest.raises(Refused, match="EBUSY"):
        first.delete("held")
    first.unregister(ours)
    first.exit()
    assert "held" in tree.cat("user_events_status")
    second.exit()
    assert "held" not in tree.cat("user_events_status")


def test_the_older_contract_can_be_had() -> None:
    """In the profile v6.4 every flag of a registration is refused."""
    with pytest.raises(Refused, match="EINVAL"):
        Tree(profile="v6.4").process("p").register("e u32 id", flags=uapi.USER_EVENT_REG_PERSIST)


def test_a_page_that_is_absent_is_brought_in_when_the_bit_is_set() -> None:
    """As a word on a page that fork made copy-on-write."""
    tree = Tree()
    shop = tree.process("shop")
    sold = shop.register("sold u32 id")
    shop.memory.pages[sold.addr // uapi.PAGE_SIZE].present = False
    tree.echo("events/user_events/sold/enable", "1")
    tree.system.group.run_work()
    assert shop.is_enabled(sold)


def test_fake_memory_shares_after_fork_only_what_is_shared() -> None:
    """The other pages are copies."""
    memory = FakeMemory()
    memory.map(0x1000)
    memory.map(0x2000)
    memory.pages[2].shared = True
    child = memory.fork()
    memory.write(0x1000, b"\1")
    memory.write(0x2000, b"\1")
    assert (child.word(0x1000), child.word(0x2000)) == (0, 1)


def test_fake_time_does_not_go_back() -> None:
    """A negative step is refused."""
    with pytest.raises(ValueError, match="-1 ns"):
        FakeClock().advance(-1)
