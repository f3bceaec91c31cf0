"""Bits in processes: what sets them, what a fault does, and whose they are.

Source: user_events contract, write.md section 5, lifecycle.md sections 6 and 9.
"""

import pytest

from tests.engine.world import WORD, FakeMemory, Probe, World
from userevents.engine import Fault, UserEvent
from userevents.errors import Refused

GAVE_UP = ("warn", "user_events: Fault for mm: 0x1 @ 0x1000 event: t")


class PlainMemory:
    """Memory that cannot be brought in, only tried again; `failing` counts the tries that fault."""

    def __init__(self, failing: int = 0) -> None:
        self.failing = failing
        self.tries = 0
        self.on = False

    def write_bit(self, addr: int, bit: int, size: int, on: bool) -> None:
        """Fault as often as told, then store."""
        self.tries += 1
        if self.failing:
            self.failing -= 1
            raise Fault
        self.on = on


def registered(world: World, bit: int = 0) -> UserEvent:
    """The event 't', registered by the world's process."""
    world.register("t", bit=bit)
    return world.event("t")


def test_attaching_sets_every_bit_and_only_those() -> None:
    """Other bits of the word are the program's own, and stay."""
    world = World()
    event = registered(world, 5)
    world.memory.words[WORD] |= 0x101
    other = FakeMemory()
    world.register("t", bit=31, mm=world.group.new_mm(other))
    first, second = Probe("a"), Probe("b", status_bit=2)
    event.attach(first)
    event.attach(second)
    assert (world.memory.words[WORD], other.words[WORD]) == (0x121, 1 << 31)
    event.detach(first)
    assert (world.memory.words[WORD], event.status) == (0x121, 2)
    event.detach(second)
    assert (world.memory.words[WORD], other.words[WORD]) == (0x101, 0)


def test_a_bit_is_born_with_the_state_of_the_event() -> None:
    """Registering an enabled event sets the bit at once; a stale 1 is cleared where nobody listens."""
    world = World()
    world.memory.words[WORD] = 1
    event = registered(world)
    assert world.memory.bit(WORD, 0) == 0
    event.attach(Probe())
    world.register("t", bit=1)
    assert world.memory.words[WORD] == 3


def test_a_probe_attaches_once() -> None:
    """EEXIST and ENOENT keep the count what it is."""
    world = World()
    event = registered(world)
    probe = Probe()
    event.attach(probe)
    with pytest.raises(Refused, match="EEXIST"):
        event.attach(probe)
    event.detach(probe)
    with pytest.raises(Refused, match="ENOENT"):
        event.detach(probe)
    assert event.refcnt == 2


def test_an_event_that_is_gone_cannot_be_attached() -> None:
    """ENODEV, as for the files of a removed event."""
    world = World()
    event = registered(world)
    world.leave()
    world.group.run_work()
    with pytest.raises(Refused, match="ENODEV"):
        event.attach(Probe())


def test_a_word_that_went_away_is_written_by_a_retry_with_the_status_of_then() -> None:
    """Pages shared since a fork are not writable at once: the bit arrives when the work runs."""
    world = World()
    event = registered(world)
    world.memory.absent.add(WORD)
    probe = Probe()
    event.attach(probe)
    assert world.memory.bit(WORD, 0) == 0
    assert [work.kind for work in world.group.pending] == ["fault"]
    event.detach(probe)
    event.attach(probe)
    assert len(world.group.pending) == 1
    world.group.run_work()
    assert world.memory.bit(WORD, 0) == 1
    assert world.log == []


@pytest.mark.parametrize(("failing", "bit", "log"), [(10, True, []), (11, False, [GAVE_UP])])
def test_a_word_is_tried_ten_times_more_and_then_left_until_the_next_change(
    failing: int, bit: bool, log: list[tuple[str, str]]
) -> None:
    """Ten retries follow the first failure; then the kernel's message, and the bit waits for a change of status."""
    world = World()
    memory = PlainMemory()
    mm = world.group.new_mm(memory)
    world.log.clear()
    world.register("t", mm=mm)
    event = world.event("t")
    memory.failing = failing
    probe = Probe()
    event.attach(probe)
    world.group.run_work()
    assert memory.on is bit
    assert [level for level, _ in world.log] == [level for level, _ in log]
    assert all(" event: t" in message for _, message in world.log)
    memory.failing = 0
    event.detach(probe)
    event.attach(probe)
    assert memory.on is True


def test_a_word_that_is_gone_is_reported_once_and_hurts_nobody() -> None:
    """The other processes' bits are written all the same."""
    world = World()
    event = registered(world)
    other = FakeMemory()
    world.register("t", mm=world.group.new_mm(other))
    world.memory.unmapped.add(WORD)
    event.attach(Probe())
    world.group.run_work()
    assert other.bit(WORD, 0) == 1
    assert world.log == [GAVE_UP]
    assert event.refcnt == 4


def test_queueing_a_retry_that_is_refused_leaves_the_enabler_usable() -> None:
    """The kernel logs it, and the next change of status tries again."""
    world = World()
    event = registered(world)
    world.memory.absent.add(WORD)
    world.queue.refuses = lambda work: work.kind == "fault"
    probe = Probe()
    event.attach(probe)
    assert world.log == [("warn", "user_events: Unable to queue fault handler")]
    world.queue.refuses = None
    event.detach(probe)
    event.attach(probe)
    world.group.run_work()
    assert world.memory.bit(WORD, 0) == 1


def test_unregistering_during_a_retry_defers_the_end_of_the_enabler() -> None:
    """Until the retry ends the (address, bit) is taken, and unregistering it again succeeds again."""
    world = World()
    event = registered(world)
    world.memory.absent.add(WORD)
    event.attach(Probe())
    world.group.unregister(world.mm, WORD, 0)
    world.group.unregister(world.mm, WORD, 0)
    assert event.refcnt == 3
    with pytest.raises(Refused, match="EADDRINUSE"):
        world.register("t")
    world.group.run_work()
    assert (event.refcnt, world.memory.bit(WORD, 0)) == (2, 0)
    assert world.register("t") == 0


def test_an_exit_during_a_retry_keeps_the_enablers_until_it_ends_and_writes_nothing() -> None:
    """The retry finds no task, says nothing, and takes the last hold of the user-event-mm along."""
    world = World()
    event = registered(world)
    world.memory.absent.add(WORD)
    event.attach(Probe())
    world.mm.exit()
    assert event.refcnt == 3
    tries = world.memory.tries
    world.group.run_work()
    assert (event.refcnt, world.memory.tries, world.log) == (2, tries, [])


def test_threads_share_the_enablers_until_the_last_one_leaves() -> None:
    """A thread started after the first registration is one more task of the same object."""
    world = World()
    event = registered(world)
    world.mm.share()
    world.mm.exit()
    assert event.refcnt == 2
    world.mm.exit()
    world.mm.exit()
    assert event.refcnt == 1


def test_fork_copies_all_but_enablers_on_their_way_out() -> None:
    """One that is being freed while its retry runs does not come back to life in the child."""
    world = World()
    event = registered(world)
    world.register("t", bit=1)
    world.memory.absent.add(WORD)
    event.attach(Probe())
    world.group.unregister(world.mm, WORD, 0)
    child = world.mm.fork(world.memory.copy(), "child")
    assert sorted(child.enablers) == [(WORD, 1)]
    assert child.label == "child"


def test_what_is_never_reached_is_never_written() -> None:
    """Exit, exec and fork write nothing to memory."""
    world = World()
    event = registered(world)
    event.attach(Probe())
    tries = world.memory.tries
    world.mm.fork(world.memory)
    world.mm.exit()
    assert world.memory.tries == tries


def test_a_holder_tells_whose_word_it_is() -> None:
    """Who holds an event is answered with process, bit and address."""
    world = World()
    event = registered(world, 4)
    event.attach(Probe("instance night"))
    assert [f"{holder.kind} {holder.detail}" for holder in event.holders()] == [
        "file pid 1",
        "enabler pid 1 bit 4 of 0x1000",
        "ftrace instance night",
    ]
