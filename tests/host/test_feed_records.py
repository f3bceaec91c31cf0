"""The feed, record by record: what it lets pass, when, at which time and CPU, and what it counts of the rest."""

import contextlib
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from userevents.buffer import Record
from userevents.engine import Group, UserEvent
from userevents.host.clocks import TraceClocks
from userevents.host.feed import Feed
from userevents.host.program import TracedProgram
from userevents.host.wish import RingWish
from userevents.instance import Instance, Machine
from userevents.session import layout
from userevents.session.producer import Declared, Session
from userevents.session.ring_file import RingFile
from userevents.session.writer import Writer

TID = 4711
CPUS = 4


class Source:
    """A session of this process, adopted: a program that writes `tick` and `tock`, or what it likes."""

    def __init__(self, directory: Path, group: Group, number: int) -> None:
        self.session = Session(str(directory))
        self.session.declare(Declared(b"tick u32 a; __rel_loc char[] s", 0))
        self.session.declare(Declared(b"tock u64 b", 0))
        self.writer = Writer(self.session)
        self.program = TracedProgram(str(directory), self.session.name, number, group)
        self.program.new_declarations()
        self.tick, self.tock = (self._event(index) for index in range(2))

    def _event(self, index: int) -> UserEvent:
        event = self.program.events[index].event
        assert event is not None
        return event

    @property
    def ring(self) -> RingFile:
        """The program's ring."""
        (ring,) = self.program.rings.values()
        return ring

    def write(self, index: int, payload: bytes, *, event_id: int | None = None, tid: int = TID) -> None:
        """Write a record as a program could: with any payload, any id, any thread."""
        body = struct.pack("<HHi", self._event(index).id if event_id is None else event_id, 0, tid) + payload
        self.writer.commit(index, (body + bytes(-len(body) & 3)).ljust(12, b"\0"))

    def count(self, count: int, first: int = 0) -> None:
        """Write so many good records of `tock`."""
        for number in range(first, first + count):
            self.write(1, struct.pack("<Q", number))

    def set_page(self, seq: int, offset: int, data: bytes) -> bytes:
        """Overwrite bytes of a page as a program could; returns what was there."""
        at = layout.ring_data_offset(self.ring.pages) + 4096 * (seq % self.ring.pages) + offset
        with open(self.ring.path, "r+b") as file:
            before = os.pread(file.fileno(), len(data), at)
            os.pwrite(file.fileno(), data, at)
        return before

    def set_entry(self, seq: int, cpu: int, flags: int) -> None:
        """Overwrite the CPU and the flags of a page in the page table."""
        at = layout.RING_TABLE + layout.RING_TABLE_ENTRY.size * (seq % self.ring.pages)
        with open(self.ring.path, "r+b") as file:
            os.pwrite(file.fileno(), struct.pack("<II", cpu, flags), at + 8)


class Fed(Source):
    """Such a program; an instance that has its events enabled; a feed between them."""

    def __init__(self, directory: Path, pages: int = 64) -> None:
        (directory / "rings").mkdir(exist_ok=True)
        self.directory = directory
        self.pages = pages
        self.clocks = TraceClocks()
        self.group = Group()
        self.instance = Instance("", self.group, Machine(clock=self.clocks, cpus=CPUS))
        self.feed = Feed({"": self.instance}, self.clocks, lambda program: contextlib.nullcontext())
        super().__init__(directory, self.group, 1)
        for event in self.group.events:
            self.instance.enable(event)
        self.follow(self)

    def follow(self, source: Source) -> None:
        """Let the feed know a program."""
        self.feed.follow(source.program)
        source.program.set_words(self.feed.wanted(source.program), RingWish(self.pages, may_grow=False))

    def turn(self) -> None:
        """Feed everything."""
        while self.feed.turn():
            pass

    def records(self) -> list[Record]:
        """What is in the rings of the instance, in order of time."""
        return [record for _, record in self.instance.recorder.merged(-1)]

    def numbers(self) -> list[int]:
        """The numbers that `count` wrote and that came through."""
        return [struct.unpack_from("<Q", record.body, 8)[0] for record in self.records()]


@pytest.fixture
def fed(runtime_dir: Path) -> Iterator[Fed]:
    """A program and its feed."""
    made = Fed(runtime_dir)
    yield made
    made.feed.forget(made.program)
    assert made.program.outstanding == 0
    made.program.release(remove=True)


@pytest.fixture
def small(runtime_dir: Path) -> Iterator[Fed]:
    """The same with the smallest ring there is."""
    made = Fed(runtime_dir, layout.MIN_RING_PAGES)
    yield made
    made.feed.forget(made.program)
    made.program.release(remove=True)


LOC = struct.Struct("<IHH")


@pytest.mark.parametrize(
    ("payload", "tid"),
    [
        (b"", TID),
        (bytes(4), TID),
        (LOC.pack(1, 0, 5) + b"abc\0", TID),
        (LOC.pack(1, 1, 4) + b"abc\0", TID),
        (LOC.pack(1, 0xFFFF, 0xFFFF) + b"abc\0", TID),
        (LOC.pack(1, 0, 4) + b"abcd", TID),
        (LOC.pack(1, 0, 4) + b"abc\0", 0),
        (LOC.pack(1, 0, 4) + b"abc\0", -5),
    ],
    ids=["nothing", "short", "too long", "past the end", "far out", "no NUL", "thread 0", "negative thread"],
)
@pytest.mark.parametrize("trigger", [None, "hist:keys=a"])
def test_records_that_the_tree_would_refuse_are_dropped_and_counted(
    fed: Fed, payload: bytes, tid: int, trigger: str | None
) -> None:
    """A program is not trusted to have packed its fields; what comes after is taken as ever."""
    if trigger:
        fed.instance.file(fed.tick).write_trigger(trigger)
    fed.write(0, payload, tid=tid)
    fed.write(0, LOC.pack(2, 0, 4) + b"abc\0")
    fed.feed.turn()
    assert [record.body[8:12] for record in fed.records()] == [b"\2\0\0\0"]
    assert (fed.feed.facts()["records"], fed.feed.facts()["invalid"]) == (2, 1)
    assert fed.ring.position == (0, 0)
    assert fed.feed.give_back(fed.program)
    assert fed.ring.acknowledged.offset > 0


def test_a_program_cannot_write_events_that_it_has_not_declared(fed: Fed) -> None:
    """Not even those that exist because somebody else declared them."""
    fed.group.dynamic_create("u:theirs u64 b", fed.program._caller._replace(perfmon=True))
    theirs = fed.group.events.by_tracepoint("user_events", "theirs")
    assert theirs is not None
    fed.instance.enable(theirs)
    fed.write(1, bytes(8), event_id=theirs.id)
    fed.write(1, bytes(8), event_id=9)
    fed.count(1)
    fed.feed.turn()
    assert [struct.unpack_from("<H", record.body)[0] for record in fed.records()] == [fed.tock.id]


def test_a_record_goes_to_its_own_cpu_where_the_page_says_that_it_knows(fed: Fed) -> None:
    """Bytes 2 and 3 hold the CPU then, and are zero in the rings; one that there is not counts as the last."""
    fed.count(3)
    for number, cpu in enumerate((2, 1, 900)):
        fed.set_page(0, 16 + 20 * number + 6, struct.pack("<H", cpu))
    fed.set_entry(0, 0, layout.PAGE_CPUS_IN_RECORDS)
    fed.feed.turn()
    found = [[record.body for record in ring] for ring in fed.instance.recorder.rings]
    bodies = [struct.pack("<HHiQ", fed.tock.id, 0, TID, number) for number in range(3)]
    assert found == [[], [bodies[1]], [bodies[0]], [bodies[2]]]


def test_all_records_go_to_the_pages_cpu_where_it_does_not(fed: Fed) -> None:
    """The flag bytes of such records mean nothing."""
    fed.count(2)
    fed.set_entry(0, 3, 0)
    fed.feed.turn()
    assert [ring.entries for ring in fed.instance.recorder.rings] == [0, 0, 0, 2]


def test_what_is_written_after_the_turn_began_waits_for_the_next(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then another program might still come with something earlier."""
    fed.count(1)
    began = time.monotonic_ns()
    fed.count(1, first=1)
    ended = time.monotonic_ns()
    looks = iter([began])
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic_ns", lambda: next(looks, ended))
        fed.feed.turn()
    assert (fed.numbers(), fed.feed.facts()["waiting"]) == ([0], 1)
    fed.feed.turn()
    assert fed.numbers() == [0, 1]


def test_a_record_that_comes_too_late_is_kept_and_counted(fed: Fed) -> None:
    """Its writer was preempted before it committed; the ring gives it the time of the record before."""
    other = Source(fed.directory, fed.group, 2)
    fed.follow(other)
    other.count(1, first=1)
    committed = other.set_page(0, 8, bytes(8))
    fed.count(1, first=2)
    fed.turn()
    assert (fed.numbers(), fed.feed.facts()["late"]) == ([2], 0)
    other.set_page(0, 8, committed)
    fed.turn()
    first, second = fed.records()
    assert (fed.numbers(), fed.feed.facts()["late"]) == ([2, 1], 1)
    assert first.ts_ns == second.ts_ns
    fed.feed.forget(other.program)
    other.program.release(remove=True)


def test_a_time_in_the_future_holds_nobody_up(fed: Fed) -> None:
    """It is taken for the time at which it was read."""
    fed.count(2)
    fed.set_page(0, 0, struct.pack("<Q", 1 << 61))
    fed.feed.turn()
    fed.feed.turn()
    assert fed.numbers() == [0, 1]
    assert all(record.ts_ns <= time.monotonic_ns() for record in fed.records())


@pytest.mark.parametrize("clock", ["local", "global", "mono", "perf", "mono_raw", "boot", "tai", "uptime", "x86-tsc"])
@pytest.mark.parametrize("filtered", [False, True])
def test_times_are_told_in_the_instances_clock(fed: Fed, clock: str, filtered: bool) -> None:
    """What programs write and what the tree writes can be compared: between two looks at the clock it was."""
    fed.instance.recorder.set_clock(clock)
    if filtered:
        fed.instance.file(fed.tock).set_filter("b >= 0")
    before = fed.clocks(clock)
    fed.count(1)
    after = fed.clocks(clock)
    fed.feed.turn()
    (record,) = fed.records()
    slack = 1 if clock == "uptime" else 1_000_000
    assert before - slack <= record.ts_ns <= after + slack
    assert fed.clocks(clock) >= after


def test_the_counting_clock_counts_the_records(fed: Fed) -> None:
    """It tells an order, not a time."""
    fed.instance.recorder.set_clock("counter")
    fed.count(3)
    fed.feed.turn()
    times = [record.ts_ns for record in fed.records()]
    assert times == [times[0], times[0] + 1, times[0] + 2]


def test_a_backlog_is_worked_off_turn_by_turn(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop has others to serve; the room in the ring is given back as it goes."""
    monkeypatch.setattr("userevents.host.feed._TURN_NS", 0)
    fed.count(5000)
    turns, given_back = 1, 0
    while fed.feed.turn():
        turns += 1
        given_back += fed.feed.give_back(fed.program)
    assert fed.numbers() == list(range(5000))
    assert turns >= 5000 // 256
    fed.feed.give_back(fed.program)
    assert fed.ring.acknowledged == fed.ring.position


def test_what_did_not_fit_the_programs_ring_shows_as_dropped(small: Fed) -> None:
    """In the stats of the CPU on which the program wrote last; entries and drops make up the attempts."""
    attempts = 10000
    small.count(attempts)
    while small.feed.turn():
        pass
    small.feed.tick()
    rings = small.instance.recorder.rings
    dropped = small.writer.stats(1)["ring_full"]
    assert dropped > 0
    assert sum(ring.dropped for ring in rings) == dropped == small.feed.facts()["dropped"]
    assert sum(ring.entries for ring in rings) == attempts - dropped
    small.feed.tick()
    assert small.feed.facts()["dropped"] == dropped


def test_what_a_recording_let_the_program_overwrite_is_counted_as_missed(small: Fed) -> None:
    """A recording of the same program is never held up by the feed; every record is accounted for."""
    ring = small.ring
    for _ in range(5):
        small.count(2000)
        while ring.take(1 << 20):
            ring.acknowledge(ring.position, ring.passed)
    while small.feed.turn():
        pass
    facts = small.feed.facts()
    kept, dropped = len(small.numbers()), small.writer.stats(1)["ring_full"]
    assert facts["missed"] > 0
    assert kept + facts["missed"] + dropped == 10000
    assert sum(ring.dropped for ring in small.instance.recorder.rings) == facts["missed"]


def test_what_lay_in_the_ring_before_it_was_enabled_is_not_fed(runtime_dir: Path, fed: Fed) -> None:
    """A recording may have had the event on long before: the rings get what is written from now on."""
    fed.instance.disable_all()
    fed.feed.follow(fed.program)
    fed.count(10)
    fed.instance.enable(fed.tock)
    fed.feed.follow(fed.program)
    fed.count(3, first=10)
    fed.feed.turn()
    assert fed.numbers() == [10, 11, 12]


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """All records come from one CPU, into one ring."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


@pytest.mark.usefixtures("one_cpu")
def test_a_switched_off_ring_takes_nothing_and_a_full_one_keeps_the_oldest(fed: Fed) -> None:
    """tracing_on and the overwrite option mean for these records what they mean for all."""
    fed.instance.recorder.tracing_on = False
    fed.count(3)
    fed.feed.turn()
    fed.instance.recorder.tracing_on = True
    fed.instance.recorder.set_size(8, -1)
    fed.instance.set_option("nooverwrite")
    fed.count(2000, first=3)
    while fed.feed.turn():
        pass
    numbers = fed.numbers()
    assert numbers == list(range(3, 3 + len(numbers)))
    assert 0 < len(numbers) < 2000
    assert sum(ring.dropped for ring in fed.instance.recorder.rings) == 2000 - len(numbers)


@pytest.mark.parametrize("damage", [b"\x1d\0\0\0", b"\0\0\0\0\xff\xff\xff\xff", b"\xff" * 16])
def test_a_page_of_noise_costs_only_what_is_in_it(fed: Fed, damage: bytes) -> None:
    """What stands before the damage is fed, and so are the pages after it."""
    fed.count(5)
    fed.set_page(0, 16 + 40, damage)
    fed.count(300, first=5)
    while fed.feed.turn():
        pass
    numbers = fed.numbers()
    assert numbers[:2] == [0, 1]
    assert numbers[-1] == 304
    assert len(numbers) < 305


def test_a_dead_program_is_held_until_what_it_wrote_is_fed(fed: Fed) -> None:
    """And let go of then."""
    fed.count(100)
    fed.program.alive = False
    assert fed.program.outstanding == 1
    fed.feed.turn()
    assert fed.numbers() == list(range(100))
    assert fed.program.outstanding == 0
    assert not fed.feed.takes(fed.program)
