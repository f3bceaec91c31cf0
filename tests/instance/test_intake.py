"""Which of an instance's events go into its stream and which into its rings, and the way into the rings."""

import itertools
from collections.abc import Callable

import pytest

from tests.engine.world import World
from userevents.engine import Writer
from userevents.instance import Instance, Intake, Machine, Reading

CPUS = 2


class Clocks:
    """Clocks that stand still unless they are held elsewhere; ``boot`` is a second ahead."""

    def __init__(self) -> None:
        self.moment_ns: int | None = None

    def __call__(self, clock: str) -> int:
        """The time of a clock."""
        moment = 5_000_000_000 if self.moment_ns is None else self.moment_ns
        reading = self.reading(clock)
        return reading(moment) if reading is not None else moment

    def hold(self, moment_ns: int | None) -> None:
        """Show this moment."""
        self.moment_ns = moment_ns

    def reading(self, clock: str) -> Reading | None:
        """How a clock shows a moment."""
        return (lambda moment: moment + 1_000_000_000) if clock == "boot" else None


class Author:
    """A program whose threads are called like their numbers."""

    def writer(self, tid: int, cpu: int) -> Writer:
        """One of them."""
        return Writer(tid, 1, f"thread{tid}", cpu)


class Fed:
    """An instance with the event `tick`, whose records another process writes."""

    def __init__(self, name: str) -> None:
        self.world = World()
        self.world.register("tick u32 a", bit=0)
        self.event = self.world.event("tick")
        self.clocks = Clocks()
        self.instance = Instance(name, self.world.group, Machine(clock=self.clocks, cpus=CPUS))

    def take(self, *values: int, tid: int = 7, cpu: int = 1) -> None:
        """Take records a nanosecond apart, the first at 100 ns."""
        intake = Intake(self.event, [self.instance], self.clocks)
        for time_ns, value in enumerate(values, 100):
            body = self.event.id.to_bytes(4, "little") + tid.to_bytes(4, "little") + value.to_bytes(4, "little")
            assert intake.take(time_ns, cpu, tid, body, Author())
        self.clocks.hold(None)

    def taken(self) -> list[tuple[int, int, int]]:
        """CPU, time and value of each record."""
        merged = self.instance.recorder.merged(-1)
        return [(cpu, found.ts_ns, int.from_bytes(found.body[8:12], "little")) for cpu, found in merged]


@pytest.fixture(params=["", "night"])
def fed(request: pytest.FixtureRequest) -> Fed:
    """The top instance, and another one."""
    return Fed(request.param)


@pytest.fixture
def night() -> Fed:
    """An instance that is not the top one."""
    return Fed("night")


def where(fed: Fed) -> tuple[bool, bool]:
    """Whether the event goes into the stream, and into the rings."""
    return fed.instance.streams(fed.event), fed.instance.feeds(fed.event)


def test_what_a_pattern_wants_goes_into_the_stream_and_into_no_ring(night: Fed) -> None:
    """No record is looked at on its way into a recording."""
    night.instance.set_patterns(["ti*"])
    assert where(night) == (True, False)
    assert not night.instance.is_fed
    night.instance.set_patterns([])
    assert where(night) == (False, False)


def test_what_is_enabled_by_hand_goes_into_the_rings(fed: Fed) -> None:
    """In the order of whatever was done first; disabling ends it all."""
    fed.instance.enable(fed.event)
    assert where(fed) == (False, True)
    fed.instance.disable(fed.event)
    assert where(fed) == (False, False)


def test_an_event_can_go_both_ways(night: Fed) -> None:
    """A pattern and a hand, or a pattern and a trigger."""
    night.instance.set_patterns(["*"])
    file = night.instance.file(night.event)
    file.write_trigger("traceoff")
    assert where(night) == (True, True)
    file.write_trigger("!traceoff")
    assert where(night) == (True, False)
    night.instance.enable(night.event)
    assert where(night) == (True, True)
    night.instance.set_patterns([])
    assert where(night) == (False, True)


def test_the_top_instance_has_no_recording() -> None:
    """Its patterns enable events as a hand does."""
    top = Fed("")
    top.instance.set_patterns(["*"])
    assert where(top) == (False, True)


def test_a_trigger_alone_lets_records_in_to_be_looked_at(fed: Fed) -> None:
    """They are not kept; who waits for a change is told of it."""
    before = fed.instance.changes
    fed.instance.file(fed.event).write_trigger("traceoff if a == 2")
    assert fed.instance.changes > before
    assert where(fed) == (False, True)
    fed.take(1, 2)
    assert fed.taken() == []
    assert not fed.instance.tracing_on


Prepare = Callable[[Fed], object]
LOOKERS: dict[str, Prepare] = {
    "nothing": lambda fed: None,
    "a filter": lambda fed: fed.instance.file(fed.event).set_filter("a < 100"),
    "a trigger": lambda fed: fed.instance.file(fed.event).write_trigger("hist:keys=a"),
    "a list of threads": lambda fed: fed.instance.pids.wanted.add(7),
    "a mask of CPUs": lambda fed: fed.instance.recorder.cpus.discard(0),
}


@pytest.mark.parametrize("looker", LOOKERS)
def test_records_come_in_the_same_whether_anything_looks_at_them_or_not(fed: Fed, looker: str) -> None:
    """At their own time and CPU, their thread's name known; the quick way and the slow one are one."""
    fed.instance.recorder.set_clock("boot")
    LOOKERS[looker](fed)
    fed.instance.enable(fed.event)
    fed.take(1, 2, 3)
    assert fed.taken() == [(1, 1_000_000_100 + place, 1 + place) for place in range(3)]
    assert fed.instance.machine.commands.name(7) == "thread7"
    assert fed.instance.now() == 6_000_000_000


@pytest.mark.parametrize(("on", "recorded"), [*itertools.product((False, True), repeat=2)])
def test_nothing_is_kept_unless_tracing_is_on_and_the_event_is_enabled(fed: Fed, on: bool, recorded: bool) -> None:
    """Soft-disabled, say, with nothing but another event's trigger to hold it."""
    if recorded:
        fed.instance.enable(fed.event)
    else:
        fed.instance.file(fed.event).hold_soft()
    fed.instance.recorder.tracing_on = on
    fed.take(1)
    assert len(fed.taken()) == (on and recorded)
    assert (fed.instance.machine.commands.name(7) == "thread7") == (on and recorded)
