"""A ring for each thread: none shares one, the next thread takes over what one leaves, and all is counted."""

import os
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from userevents.buffer.page import body_start, walk
from userevents.client import native
from userevents.session import cursor, layout
from userevents.session.consumer import SessionFile
from userevents.session.lanes import LanedWriter, Seats, ThreadSeats
from userevents.session.producer import Declared, Session
from userevents.session.ring_file import RingFile
from userevents.session.writer import MakePlace, Writer

TICK = Declared(b"tick u32 a", 0)
WORD = layout.WORD_ENABLED | 20 << layout.WORD_ID_SHIFT


class Laned:
    """A process's first session, with a ring asked for, and its writer."""

    def __init__(self, directory: Path, make_cursor: MakePlace, seats: Seats) -> None:
        (directory / layout.RINGS).mkdir(exist_ok=True)
        parent = Session(str(directory))
        parent.lines[layout.RING_PAGES // 4] = 16
        parent.lines[layout.RING_GENERATION // 4] = 1
        parent.unlink()
        self.directory = str(directory)
        self.writer = LanedWriter(Session(self.directory, child_of=parent), make_cursor, seats)
        assert self.writer.declare(TICK, word=WORD) == 0

    def write(self, start: int, stop: int) -> None:
        """Write records of the calling thread, numbered."""
        for number in range(start, stop):
            body = struct.pack("<HHiI", 20, 0, threading.get_native_id(), number)
            self.writer.commit(0, body)

    def in_thread(self, start: int, stop: int) -> None:
        """Write from a thread of its own, to its end."""
        thread = threading.Thread(target=self.write, args=(start, stop))
        thread.start()
        thread.join()

    @property
    def sessions(self) -> list[SessionFile]:
        """The session of each lane that there is, the first one first."""
        names = [lane.session.name for lane in self.writer._lanes]
        return [SessionFile(self.directory, name) for name in names]

    def rings(self) -> list[list[tuple[int, int]]]:
        """Return (thread, number) of each record, by lane."""
        found = []
        for session in self.sessions:
            ring = RingFile(self.directory, session.name, 1, session.header.nonce)
            records = []
            for part in (*ring.read(1 << 24), *ring.read(1 << 24)):  # whole pages, then the last
                columns = walk(part.data, part.ts)
                assert not columns.problem
                for at in columns.starts:
                    _, _, tid, number = struct.unpack_from("<HHiI", part.data, body_start(part.data, at))
                    records.append((tid, number))
            found.append(records)
            ring.close()
            session.close()
        return found


@pytest.fixture(params=["python", "native"])
def laned(runtime_dir: Path, request: pytest.FixtureRequest) -> Iterator[Laned]:
    """Lanes of Python's cursors, then of C's, whose seats are in C too where threads run without a GIL."""
    if request.param == "native" and not native.native:
        pytest.skip("the C writer is not built")
    make_cursor = native.Cursor if request.param == "native" else cursor.Cursor
    make_seats = getattr(native._writer, "Seats", ThreadSeats) if request.param == "native" else ThreadSeats
    made = Laned(runtime_dir, make_cursor, make_seats())
    yield made
    made.writer.leave()
    for path in runtime_dir.rglob(f"{os.getpid()}-*"):
        path.unlink()


def test_one_thread_has_the_first_session_and_no_other_is_made(laned: Laned) -> None:
    """A program of one thread is as any other."""
    laned.write(0, 50)
    (records,) = laned.rings()
    assert [number for _, number in records] == list(range(50))
    assert laned.writer.stats(0)["attempts"] == 50
    (session,) = laned.sessions
    assert not session.is_lane
    session.close()


def test_threads_at_the_same_time_share_no_ring(laned: Laned) -> None:
    """Each ring has one thread's records, in its order; the counts of all are the event's."""
    together = threading.Barrier(4)

    def work(number: int) -> None:
        together.wait()
        laned.write(number * 1000, number * 1000 + 300)
        together.wait()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rings = laned.rings()
    assert sorted([number for _, number in ring] for ring in rings) == [
        list(range(number * 1000, number * 1000 + 300)) for number in range(4)
    ]
    assert all(len({tid for tid, _ in ring}) == 1 for ring in rings)
    assert laned.writer.stats(0) == dict.fromkeys(layout.COUNTER_NAMES, 0) | {"attempts": 1200}
    sessions = laned.sessions
    assert [session.is_lane for session in sessions] == [False, True, True, True]
    for session in sessions:
        assert list(session.new_declarations(0)) == [TICK]
        assert session.words(1) == [WORD]
        assert session.counters(1)[0][0] == 300
        session.close()


def test_a_thread_takes_over_what_one_that_ended_left(laned: Laned) -> None:
    """As many lanes as threads wrote at a time, however many there were."""
    laned.write(0, 5)
    for number in range(1, 9):
        laned.in_thread(number * 10, number * 10 + 5)
    first, second = laned.rings()
    assert [number for _, number in first] == list(range(5))
    assert [number for _, number in second] == [ten * 10 + one for ten in range(1, 9) for one in range(5)]
    assert laned.writer.stats(0)["attempts"] == 45


def test_an_event_that_is_declared_later_is_in_every_lane(laned: Laned) -> None:
    """And in the first last, whose word alone is looked at."""
    laned.write(0, 1)
    laned.in_thread(1, 2)
    seen: list[list[int]] = []
    declare = Session.declare

    def watched(self: Session, declared: Declared, *, word: int = 0) -> int | None:
        seen.append([len(lane.session.declared) for lane in laned.writer._lanes])
        return declare(self, declared, word=word)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "declare", watched)
        assert laned.writer.declare(Declared(b"late", 0), word=layout.WORD_PENDING) == 1
    assert seen == [[1, 1], [1, 2]]
    words = [session.words(2) for session in laned.sessions]
    assert words == [[WORD, layout.WORD_PENDING], [WORD, 0]]


def test_a_declaration_that_has_no_room_is_in_no_lane(laned: Laned) -> None:
    """Else their numbers would differ."""
    laned.write(0, 1)
    laned.in_thread(1, 2)
    for number in range(127):
        assert laned.writer.declare(Declared(b"e%d" % number, 0), word=0) == number + 1
    assert laned.writer.declare(Declared(b"more", 0), word=0) is None
    assert [len(lane.session.declared) for lane in laned.writer._lanes] == [128, 128]


def test_a_thread_for_which_no_ring_can_be_made_is_counted(laned: Laned, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory is short its attempts stand in the first session, as dropped; and it tries again by and by."""
    laned.write(0, 3)
    directory = laned.writer.session.directory
    monkeypatch.setattr(laned.writer.session, "directory", "/proc/no/such/place")
    laned.in_thread(3, 10)
    stats = laned.writer.stats(0)
    assert (stats["attempts"], stats["tracer_gone"]) == (10, 7)
    (session,) = laned.sessions
    assert session.counters(1) == [(10, 0, 0, 0, 0, 7, 0)]
    session.close()
    monkeypatch.setattr(laned.writer.session, "directory", directory)
    laned.writer._retry_s = 0.0
    laned.in_thread(10, 12)
    assert [number for _, number in laned.rings()[1]] == [10, 11]
    assert laned.writer.stats(0)["attempts"] == 12


def test_a_full_ring_of_any_thread_asks_for_the_tracer_of_the_first(laned: Laned) -> None:
    """Nobody lives who drains: the one word that is looked at is put out, whichever ring was full."""
    laned.write(0, 1)
    laned.in_thread(0, 5000)
    assert list(laned.writer.words[:1]) == [0]
    stats = laned.writer.stats(0)
    assert stats["attempts"] == 5001
    assert stats["ring_full"] + sum(map(len, laned.rings())) == 5001


def test_a_forked_child_has_none_of_its_parents_lanes(laned: Laned) -> None:
    """It lets go of all of them, also of those of threads that it does not have."""
    laned.write(0, 2)
    laned.in_thread(2, 4)
    pid = os.fork()
    if pid == 0:
        parent = laned.writer.session
        laned.writer.abandon()
        child = LanedWriter(Session(laned.directory, child_of=parent), cursor.Cursor, ThreadSeats())
        child.commit(0, struct.pack("<HHiI", 20, 0, 1, 99))
        mine = child.stats(0)["attempts"] == 1 and child.session.pid == os.getpid()
        os.unlink(f"{laned.directory}/{layout.ring_name(child.session.name, 1)}")
        child.session.unlink()
        os._exit(0 if mine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert [[number for _, number in ring] for ring in laned.rings()] == [[0, 1], [2, 3]]


def test_what_makes_a_writer_gives_threads_rings_where_that_is_asked_for(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """USEREVENTS_RINGS=thread, or a Python that has no GIL."""
    session = Session(str(runtime_dir))
    monkeypatch.setattr(native, "ring_per_thread", False)
    assert isinstance(native.make_writer(session), Writer)
    monkeypatch.setattr(native, "ring_per_thread", True)
    assert isinstance(native.make_writer(session), LanedWriter)
    session.unlink()


@pytest.mark.skipif("t" not in sys.abiflags, reason="this Python has a GIL")
def test_without_a_gil_it_stays_off() -> None:
    """Neither extension makes Python switch it on again."""
    import userevents.buffer.native as pages

    assert native.ring_per_thread
    assert native.native == hasattr(native._writer, "Seats")
    assert pages.native is not None or not native.native
    assert not sys._is_gil_enabled()  # type: ignore[attr-defined]
