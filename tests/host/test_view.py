"""A recording reader that is too slow: what it missed is counted, and what it gets later is whole."""

import mmap
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.traced import Traced, finished
from userevents.buffer.stream import FrameReader, Part, pack_start
from userevents.engine import Group
from userevents.host.program import TracedProgram
from userevents.host.told import SUFFIX
from userevents.host.view import Mark, View
from userevents.host.wish import RingWish
from userevents.instance import Instance
from userevents.session import layout
from userevents.session.producer import Declared, Session
from userevents.session.writer import Writer


class Viewed(Traced):
    """A program with the view of an instance that records it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, RingWish(16))
        self.instance.stream.on_ack = lambda mark: mark.kept()  # type: ignore[attr-defined]
        self.view = View(self.instance, self.program)
        for item in self.program.events:
            self.view.tell_event(item)

    def hand_on(self) -> None:
        """Drain the ring into the instance's stream."""
        for ring in self.program.rings.values():
            start = ring.position
            parts = ring.take(1 << 20)
            if parts:
                self.view.push(ring, parts, start, Mark(self.program, ring, 1))


@pytest.fixture
def traced(runtime_dir: Path) -> Iterator[Viewed]:
    """A traced program."""
    made = Viewed(runtime_dir)
    yield made
    made.program.release(remove=True)


def test_what_a_slow_reader_missed_is_counted_and_the_rest_is_whole(traced: Viewed, tmp_path: Path) -> None:
    """A refused part leaves a gap in the middle of a page: the next part says from where its times count."""
    stream = traced.instance.stream
    traced.emit(10)
    traced.hand_on()
    limit, stream.limit = stream.limit, stream.size
    traced.emit(20)
    traced.hand_on()
    stream.limit = limit
    traced.emit(30)
    traced.hand_on()
    traced.view.tell_ledger(traced.view.snapshot())
    data = stream.read(1 << 24)
    done, notes = finished(data, tmp_path / "trace.dat")
    (ledger,) = done.ledger.processes
    assert done.records == 40
    assert (ledger.committed, ledger.delivered, ledger.missed) == (60, 40, 20)
    assert ledger.is_balanced, notes


def test_room_is_given_back_only_when_the_reader_comes_for_more(traced: Viewed) -> None:
    """What a reader holds but has not kept must stay in the ring."""
    traced.emit(10)
    traced.hand_on()
    (ring,) = traced.program.rings.values()
    assert ring.acknowledged == (0, 0)
    traced.instance.stream.read(1 << 20)
    assert ring.acknowledged == (0, 0)
    traced.instance.stream.read(1 << 20)
    assert ring.acknowledged == ring.position != (0, 0)
    assert traced.program.outstanding == 0


def test_a_recording_that_begins_in_the_middle_of_a_page_has_the_times_right(traced: Viewed) -> None:
    """The first part of a late view carries the time of the record before it."""
    traced.emit(5)
    traced.hand_on()
    late = Instance("late", Group())
    view = View(late, traced.program)
    traced.emit(3)
    (ring,) = traced.program.rings.values()
    start = ring.position
    parts = ring.take(1 << 20)
    late.stream.read(1 << 20)
    view.push(ring, parts, start, Mark(traced.program, ring, 1))
    reader = FrameReader.of(pack_start() + late.stream.read(1 << 20))
    (part,) = [frame for frame in reader if isinstance(frame, Part)]
    assert part.flags == 1
    assert part.offset == start.offset
    assert part.ts == ring.time_before(start)


def test_a_child_that_wrote_while_it_was_adopted_loses_no_attempt(runtime_dir: Path, tmp_path: Path) -> None:
    """A forked child is heard of by its name before it has declarations or a ring; then it has all at once."""
    (runtime_dir / "rings").mkdir()
    session = Session(str(runtime_dir))
    session.forked = True  # so that it makes its first ring itself
    group = Group()
    program = TracedProgram(str(runtime_dir), session.name, 1, group)
    session.lines[layout.RING_PAGES // 4] = 16
    session.lines[layout.RING_GENERATION // 4] = 1
    session.answers[0] = 1
    session.declare(Declared(b"tick u32 a", 0), word=layout.WORD_ENABLED | 1 << layout.WORD_ID_SHIFT)
    writer = Writer(session)
    for _ in range(100):
        writer.commit(0, (1).to_bytes(4, "little") + bytes(8))
    program.new_declarations()
    instance = Instance("one", group)
    instance.set_patterns(["*"])
    view = View(instance, program)
    for ring in program.rings.values():
        ring.take(1 << 20)
    view.tell_ledger(view.snapshot())
    data = instance.stream.read(1 << 24)
    (ledger,) = finished(data, tmp_path / "trace.dat")[0].ledger.processes
    assert (ledger.attempts, ledger.committed) == (100, 100)
    program.release(remove=True)


def test_a_ring_that_was_never_opened_is_offered_again(traced: Viewed) -> None:
    """A program that is enabled again and again and fills no page has two rings, not one more each time."""
    program = traced.program
    traced.emit(1)
    traced.hand_on()
    for _ in range(5):
        program.stop()
        program.set_words(traced.instance.enabled, RingWish(16))
        traced.emit(1)
        traced.hand_on()
    assert sorted(program.rings) == [1, 2]
    offered = program.rings[2]
    assert os.fstat(offered.fd).st_blocks * 512 >= offered.pages * 4096  # all of its memory is there again
    traced.emit(1000)
    traced.hand_on()
    program.find_rings()
    traced.hand_on()
    assert program.session.generation_in_use() == 2
    assert program.committed() == 1006
    program.stop()
    program.set_words(traced.instance.enabled, RingWish(16))
    assert max(program.rings) == 3  # the second one is in use by now


@pytest.mark.parametrize("was_removed", [True, False])
def test_a_successor_counts_exactly_what_a_program_wrote_that_never_holds_still(
    traced: Viewed, runtime_dir: Path, tmp_path: Path, *, was_removed: bool
) -> None:
    """Its first ring was read to its end and removed, or its tracer was killed just before it could; it writes on."""
    first = traced.program.rings[1].path
    traced.emit(2500)
    assert traced.program.grow(4096)
    traced.emit(500)
    assert traced.program.session.generation_in_use() == 2
    shutil.copy(first, tmp_path / "first")
    for _ in range(3):
        traced.hand_on()
        traced.instance.stream.read(1 << 24)
    traced.program.retire_rings()
    assert not os.path.exists(first)
    if not was_removed:
        shutil.copy(tmp_path / "first", first)
    group = Group()
    successor, instance = TracedProgram(str(runtime_dir), traced.session.name, 1, group), Instance("next", group)
    instance.set_patterns(["*"])
    assert list(successor.rings) == [2]
    assert not os.path.exists(first)
    shared = mmap.mmap(-1, 1)
    pid = os.fork()
    if pid == 0:
        while not shared[0]:
            traced.emit(1)
        os._exit(0)
    successor.new_declarations()
    view = View(instance, successor)
    shared[0] = 1
    os.waitpid(pid, 0)
    (ring,) = successor.rings.values()
    start = ring.position
    while pieces := ring.take(1 << 20):
        view.push(ring, pieces, start, Mark(successor, ring, 1))
    view.tell_ledger(view.snapshot())
    (ledger,) = finished(instance.stream.read(1 << 24), tmp_path / "trace.dat")[0].ledger.processes
    assert ledger.exact
    assert (ledger.attempts, ledger.committed) == (ledger.delivered, ledger.delivered)
    successor.release(remove=False)


@pytest.mark.parametrize("does_keep", [True, False])
@pytest.mark.parametrize("left", ["nothing", "noise", "a file of somebody else's"])
def test_what_a_killed_tracer_did_not_come_to_tell_its_successor_tells(
    traced: Viewed, runtime_dir: Path, tmp_path: Path, *, does_keep: bool, left: str
) -> None:
    """A full ring dropped some; a ledger that was kept told of some of them; a link is not followed."""
    full = 16 * (4064 // 16)
    told_path = tmp_path / "elsewhere"
    if left != "nothing":
        told_path.write_bytes(b"noise")
        link = runtime_dir / "rings" / (traced.session.name.removesuffix(layout.SESSION_SUFFIX) + SUFFIX)
        link.write_bytes(b"noise") if left == "noise" else link.symlink_to(told_path)
    traced.emit(full + 100)
    traced.view.tell_ledger()
    for _ in range(1 + does_keep):
        traced.instance.stream.read(1 << 24)
    traced.emit(50)
    group = Group()
    successor, instance = TracedProgram(str(runtime_dir), traced.session.name, 1, group), Instance("next", group)
    instance.set_patterns(["*"])
    successor.new_declarations()
    view = View(instance, successor)
    (ring,) = successor.rings.values()
    start = ring.position
    while pieces := ring.take(1 << 20):
        view.push(ring, pieces, start, Mark(successor, ring, 1))
    view.tell_ledger(view.snapshot())
    (ledger,) = finished(instance.stream.read(1 << 24), tmp_path / "trace.dat")[0].ledger.processes
    was_told = 100 if does_keep and "somebody" not in left else 150 * (left == "noise")
    assert (ledger.delivered, ledger.dropped["ring_full"]) == (full, 150 - was_told)
    assert ledger.is_balanced
    assert "somebody" not in left or told_path.read_bytes() == b"noise"
    successor.release(remove=False)
