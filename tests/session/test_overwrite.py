"""An overwrite ring with a reader beside it: what comes out is whole and in order, and the rest is counted exactly."""

import os
import random
import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import require_native
from userevents.buffer.page import body_start, walk
from userevents.client import native
from userevents.errors import Malformed
from userevents.session import cursor, layout
from userevents.session.consumer import SessionFile
from userevents.session.producer import Declared, Session
from userevents.session.ring import make
from userevents.session.ring_file import Position, RingFile
from userevents.session.ring_search import end_of, place_after, seek_time
from userevents.session.writer import MakePlace, Writer

PAGES = 16


class Flight:
    """A session with one event that is written into an overwrite ring of `PAGES` pages."""

    def __init__(self, directory: Path, make_cursor: MakePlace) -> None:
        (directory / "rings").mkdir(exist_ok=True)
        self.session = Session(str(directory))
        self.session.declare(Declared(b"tick u32 a; u64 b", 0))
        self.file = SessionFile(str(directory), self.session.name)
        path = f"{directory}/{layout.ring_name(self.session.name, 1)}"
        make(path, pages=PAGES, generation=1, nonce=self.session.nonce, mode=layout.MODE_OVERWRITE)
        self.file.set_ring(1, PAGES)
        self.ring = RingFile(str(directory), self.session.name, 1, self.session.nonce)
        self.writer = Writer(self.session, make_cursor)

    def write(self, start: int, stop: int, size: int = 20) -> None:
        """Write records numbered `start` to `stop`, with fields that check each other."""
        for number in range(start, stop):
            self.writer.commit(0, struct.pack("<HHiIQ", 20, 0, 77, number, number << 20) + bytes(size - 20))

    def close(self) -> None:
        """Remove everything."""
        self.ring.close()
        os.unlink(self.ring.path)
        self.file.close()
        self.session.unlink()


@pytest.fixture(params=["python", "native"])
def flight(runtime_dir: Path, request: pytest.FixtureRequest) -> Iterator[Flight]:
    """The writer once in Python, once in C."""
    if request.param == "native":
        require_native()
    made = Flight(runtime_dir, native.Cursor if request.param == "native" else cursor.Cursor)
    yield made
    made.close()


def numbers(ring: RingFile, budget: int = 1 << 30) -> list[int]:
    """Read what is there and return each record's number; its fields have to agree."""
    found = []
    for part in ring.read(budget):
        columns = walk(part.data, part.ts)
        assert not columns.problem
        for at in columns.starts:
            number, check = struct.unpack_from("<IQ", part.data, body_start(part.data, at) + 8)
            assert check == number << 20
            found.append(number)
    return found


def test_the_newest_take_the_place_of_the_oldest_and_no_attempt_is_dropped(flight: Flight) -> None:
    """Nobody reads, and the writer goes on; the reader gets the last pages and the number of those before."""
    flight.write(0, 10000)
    found = numbers(flight.ring) + numbers(flight.ring)
    assert found == list(range(10000 - len(found), 10000))
    assert flight.ring.overwritten == 10000 - len(found)
    assert flight.ring.passed == 10000
    counts = dict(zip(layout.COUNTER_NAMES, flight.file.counters(1)[0], strict=True))
    assert counts == {**dict.fromkeys(layout.COUNTER_NAMES, 0), "attempts": 10000}


def test_a_reader_that_keeps_up_gets_everything(flight: Flight) -> None:
    """Overwriting is for those who do not read: whoever does loses nothing."""
    found = []
    for start in range(0, 20000, 500):
        flight.write(start, start + 500)
        found += numbers(flight.ring)
    found += numbers(flight.ring)
    assert found == list(range(20000))
    assert flight.ring.overwritten == 0


def test_a_reader_that_is_lapped_at_any_place_counts_what_it_missed(flight: Flight) -> None:
    """Reads and writes of random length: read, missed and unread make up what was written, at every step."""
    chance = random.Random(5)
    written = read = 0
    for _ in range(300):
        step = chance.choice((1, 7, 100, 1000, 5000))
        flight.write(written, written + step, chance.choice((20, 60, 400)))
        written += step
        found = numbers(flight.ring, chance.choice((1, 8192, 1 << 20)))
        assert found == list(range(found[0], found[0] + len(found))) if found else True
        read += len(found)
        assert flight.ring.passed == read + flight.ring.overwritten
        if found:
            assert found[-1] + 1 == flight.ring.passed
    while found := numbers(flight.ring):
        read += len(found)
    assert written == read + flight.ring.overwritten


def test_a_reader_beside_a_writer_that_never_stops_gets_whole_records_only(flight: Flight) -> None:
    """The ring is lapped many times while it is copied: what comes out is consecutive but for counted gaps."""
    pid = os.fork()
    if pid == 0:
        try:
            flight.writer._ring = None
            flight.write(0, 1 << 40)
        finally:
            os._exit(1)
    try:
        next_number = read = gaps = 0
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            before = flight.ring.overwritten
            for number in numbers(flight.ring):
                if number != next_number:
                    gaps += number - next_number
                next_number, read = number + 1, read + 1
            assert flight.ring.passed == next_number or flight.ring.overwritten > before
            time.sleep(0.002)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    while found := numbers(flight.ring):
        gaps += found[0] - next_number
        next_number, read = found[-1] + 1, read + len(found)
    assert read > 1000
    assert gaps == flight.ring.overwritten
    attempts = flight.file.counters(1)[0][0]
    assert attempts - (read + gaps) in (0, 1)


def test_a_reader_that_comes_anew_goes_on_where_the_last_one_gave_back(flight: Flight) -> None:
    """Also when the page it stood in is gone: how many records lay before it stands beside the tail."""
    flight.write(0, 1000)
    while numbers(flight.ring):
        pass
    flight.ring.acknowledge(flight.ring.position, flight.ring.passed)
    flight.write(1000, 30000)
    again = RingFile(flight.session.directory, flight.session.name, 1, flight.session.nonce)
    found = numbers(again) + numbers(again)
    assert found == list(range(found[0], 30000))
    assert again.overwritten == found[0] - 1000
    again.close()


@pytest.mark.parametrize("count", [0, 1, 99, 100, 5000, 5001])
def test_the_place_behind_so_many_records_is_found(flight: Flight, count: int) -> None:
    """A cursor that reads up to there has read so many, of which the first may be gone."""
    flight.write(0, 5000)
    end, total = end_of(flight.ring)
    assert total == 5000
    place = place_after(flight.ring, count)
    assert place <= end
    reader = flight.ring.cursor(Position(0, 0), 0)
    while reader.take(1 << 20, place):
        pass
    assert reader.passed == max(min(count, 5000), reader.overwritten)


def test_reading_begins_at_a_time(flight: Flight) -> None:
    """Records before it are left out to the last one, and counted."""
    flight.write(0, 600)
    time.sleep(0.002)
    now = time.monotonic_ns()
    time.sleep(0.002)
    flight.write(600, 700)
    reader = flight.ring.cursor(Position(0, 0), 0)
    assert seek_time(reader, now) == 600
    assert numbers(reader) + numbers(reader) == list(range(600, 700))
    late = flight.ring.cursor(Position(0, 0), 0)
    assert seek_time(late, time.monotonic_ns()) == 700
    assert numbers(late) == []


def test_a_time_is_found_while_the_oldest_pages_are_taken_away(flight: Flight, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each look at a page the program opens another: what is left out may go, what is wanted is there."""
    flight.write(0, 5000)
    time.sleep(0.002)
    now = time.monotonic_ns()
    flight.write(5000, 5100)
    written = 5100
    look = RingFile.page

    def page(ring: RingFile, seq: int, offset: int | None = None) -> bytes:
        nonlocal written
        flight.write(written, written + 200)
        written += 200
        return look(ring, seq, offset)

    reader = flight.ring.cursor(Position(0, 0), 0)
    with monkeypatch.context() as patch:
        patch.setattr(RingFile, "page", page)
        left_out = seek_time(reader, now)
    assert left_out > 0
    assert left_out + reader.overwritten == 5000
    found = numbers(reader) + numbers(reader)
    assert found == list(range(5000, written))


@pytest.mark.parametrize("at", [layout.RING_HEAD, layout.RING_OPENING, layout.RING_TABLE, layout.RING_TABLE + 16 * 3])
def test_noise_in_the_numbers_of_an_overwrite_ring_is_malformed_or_harmless(flight: Flight, at: int) -> None:
    """Parts within bounds or Malformed, and no endless search."""
    flight.write(0, 5000)
    chance = random.Random(at)
    for value in (0, 1, 17, 1 << 20, 1 << 63, (1 << 64) - 1, *(chance.getrandbits(64) for _ in range(20))):
        os.pwrite(flight.ring.fd, value.to_bytes(8, "little"), at)
        reader = flight.ring.cursor(Position(0, 0), 0)
        steps: tuple[Callable[[], object], ...] = (
            lambda r=reader: r.read(1 << 20),  # type: ignore[misc]
            lambda r=reader: seek_time(r, 1),  # type: ignore[misc]
            lambda: end_of(flight.ring),
            lambda: place_after(flight.ring, 100),
        )
        for step in steps:
            try:
                step()
            except Malformed:
                pass
