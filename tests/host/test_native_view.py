"""A native program in a recording: pages and counts are right whatever becomes of its records."""

import os
import time
from pathlib import Path

import pytest

from userevents.buffer.stream import pack_end, pack_header, pack_start
from userevents.engine import Caller, Group, UserEvent, Writer
from userevents.errors import Refused
from userevents.formats.finish import merge
from userevents.formats.ledger import ProcessLedger
from userevents.formats.recording import Recording
from userevents.host.frames import recording_header
from userevents.host.natives import Natives
from userevents.instance import Instance, Selection, StreamQueue

ME = Writer(os.getpid(), os.getpid(), "me", 0)
NUMBER = bytes(4)


class World:
    """One recording instance, one event with a number and one with a text."""

    def __init__(self, *, is_flight: bool = False) -> None:
        self.group = Group()
        self.natives = Natives()
        self.instance = Instance("one", self.group)
        self.instance.is_flight = is_flight
        self.natives.listen(self.instance)
        self.instance.set_patterns(["*"])
        self.file = self.group.open_file()
        memory = self.group.new_mm(_NoMemory())
        for bit, text in enumerate(("tick u32 a", "talk __rel_loc char[] s")):
            caller = Caller(0, 0, True)
            self.group.register(self.file, memory, text, addr=0, bit=bit, size=4, caller=caller)

    @property
    def tick(self) -> UserEvent:
        """The event with a number."""
        return self.file.events[0]

    def write(self, payload: bytes, index: int = 0) -> None:
        """Write as a native program does."""
        data = index.to_bytes(4, "little") + payload
        self.group.write(self.file, data, len(data), ME)

    def read(self) -> bytes:
        """What the recorder gets."""
        return self.instance.stream.read(1 << 30)


class _NoMemory:
    def write_bit(self, addr: int, bit: int, size: int, on: bool) -> None:
        """Every address is good."""


def finished(data: bytes, path: Path) -> tuple[int, ProcessLedger]:
    """How many records a recording has, and the only process's counts, which have to balance."""
    recording = Recording.of(pack_start() + pack_header(recording_header()) + data + pack_end("finished", 0))
    done = merge(recording, str(path / "trace.dat"))
    (process,) = done.ledger.processes
    assert process.is_balanced, process
    return done.records, process


@pytest.fixture
def world() -> World:
    """A recording as it comes."""
    return World()


def test_every_attempt_is_told_with_what_became_of_it(world: World, tmp_path: Path) -> None:
    """Kept, too large, not valid, given up on its way: each has its place in the ledger."""
    for _ in range(700):
        world.write(NUMBER)
    world.write(NUMBER + bytes(5000))
    with pytest.raises(Refused):
        world.write(b"\xff\xff\xff\xff", index=1)
    world.write(b"\0\0\2\0x\0", index=1)
    world.natives.give_up(world.instance, world.tick, ME, 7)
    world.natives.finish(world.instance)
    records, process = finished(world.read(), tmp_path)
    assert (records, process.attempts, process.committed) == (701, 710, 701)
    assert {name: number for name, number in process.dropped.items() if number} == {
        "too_large": 1,
        "invalid": 1,
        "ring_full": 7,
    }


def test_what_a_slow_reader_missed_of_a_native_program_is_counted(world: World, tmp_path: Path) -> None:
    """A page that is refused is missed as a whole, and the next one is whole."""
    world.write(NUMBER)
    world.natives.flush()
    stream = world.instance.stream
    limit, stream.limit = stream.limit, stream.size
    for _ in range(20):
        world.write(NUMBER)
    world.natives.flush()
    stream.limit = limit
    world.write(NUMBER)
    world.natives.finish(world.instance)
    records, process = finished(world.read(), tmp_path)
    assert (records, process.attempts, process.missed) == (2, 22, 20)


def test_many_records_at_once_are_as_one_after_the_other(world: World, tmp_path: Path) -> None:
    """Sizes that differ, times that go back, more than a page: nothing is lost, and times never go back."""
    now = time.monotonic_ns()
    payloads = [NUMBER] * 900 + [NUMBER + bytes(n) for n in (1, 2, 200)] + [bytes(5000)]
    times = [now - 1000 + n for n in range(len(payloads))]
    times[450] = now - 10_000_000
    world.natives.take_many(world.instance, world.tick, ME, times[:900], payloads[:900])
    world.natives.take_many(world.instance, world.tick, ME, times[900:], payloads[900:])
    world.natives.finish(world.instance)
    records, process = finished(world.read(), tmp_path)
    assert (records, process.attempts, process.dropped["too_large"]) == (903, 904, 1)


def test_a_rotation_begins_counts_anew(world: World, tmp_path: Path) -> None:
    """Each of the two recordings balances by itself."""
    for _ in range(3):
        world.write(NUMBER)
    between = pack_end("rotated", 0)
    world.natives.rotate(world.instance, between)
    world.write(NUMBER)
    world.natives.finish(world.instance)
    first, _, second = world.read().partition(between)
    assert finished(first, tmp_path)[0] == 3
    records, process = finished(second, tmp_path)
    assert (records, process.attempts) == (1, 1)


def test_a_flight_recording_gives_the_newest_from_a_time_on(tmp_path: Path) -> None:
    """What gave way is overwritten, what is older than asked for left out."""
    world = World(is_flight=True)
    world.instance.buffer_size = 1 << 16
    for _ in range(10_000):
        world.write(NUMBER)
    middle = time.monotonic_ns()
    for _ in range(100):
        world.write(NUMBER)
    (view,) = world.natives.flying(world.instance)
    target = StreamQueue()
    view.dump(target, middle)
    records, process = finished(target.read(1 << 30), tmp_path)
    assert records == 100
    assert process.attempts == 10_100
    view.dump(target := StreamQueue(), 0)
    records, process = finished(target.read(1 << 30), tmp_path)
    assert records == 10_100 - process.overwritten
    assert 1000 < records < 5000


def test_only_selected_processes_are_recorded(world: World) -> None:
    """Whom the instance does not select leaves nothing in its stream."""
    world.instance.set_selection(Selection.parse("pid 1"))
    world.write(NUMBER)
    world.natives.finish(world.instance)
    assert world.read() == b""
