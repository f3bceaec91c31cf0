"""A ring between its writer and its reader, in one process: every record comes out once, in order, or is counted."""

import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import require_native
from userevents.buffer.page import body_start, walk
from userevents.client import native
from userevents.errors import Malformed, Unusable
from userevents.session import cursor, layout
from userevents.session.consumer import SessionFile
from userevents.session.producer import Declared, Session
from userevents.session.ring import Ring, make
from userevents.session.ring_file import Position, RingFile
from userevents.session.writer import MakePlace, Writer

PAGES = 16


class Pair:
    """A session with one event, its writer, and the tracer's view of it."""

    def __init__(self, directory: Path, make_cursor: MakePlace = cursor.Cursor) -> None:
        (directory / "rings").mkdir(exist_ok=True)
        self.session = Session(str(directory))
        index = self.session.declare(Declared(b"tick u32 a", 0))
        assert index == 0
        self.writer = Writer(self.session, make_cursor)
        self.file = SessionFile(str(directory), self.session.name)
        self.rings: list[RingFile] = []

    def ring(self, generation: int, pages: int = PAGES, mode: int = layout.MODE_DISCARD) -> RingFile:
        """Make and announce a ring."""
        path = f"{self.session.directory}/{layout.ring_name(self.session.name, generation)}"
        make(path, pages=pages, generation=generation, nonce=self.session.nonce, mode=mode)
        self.file.set_ring(generation, pages)
        opened = RingFile(self.session.directory, self.session.name, generation, self.session.nonce)
        self.rings.append(opened)
        return opened

    def close(self) -> None:
        """Remove everything."""
        for ring in self.rings:
            ring.close()
            if os.path.exists(ring.path):
                os.unlink(ring.path)
        self.file.close()
        self.session.unlink()


@pytest.fixture(params=["python", "native"])
def pair(runtime_dir: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A fresh pair of writer and reader, the writer once in Python and once in C."""
    if request.param == "native":
        require_native()
    made = Pair(runtime_dir, native.Cursor if request.param == "native" else cursor.Cursor)
    yield made
    made.close()


@pytest.fixture
def pure_pair(runtime_dir: Path) -> Iterator[Pair]:
    """The same with a writer in Python, into which a test may reach."""
    made = Pair(runtime_dir)
    yield made
    made.close()


def body(number: int, size: int = 12) -> bytes:
    """Return a record body whose payload begins with `number`."""
    return struct.pack("<HBBiI", 20, 0, 0, 77, number) + bytes(size - 12)


def numbers(ring: RingFile) -> list[int]:
    """Read all that is new and return each record's number."""
    found = []
    while parts := ring.read(1 << 20):
        for part in parts:
            columns = walk(part.data, part.ts)
            assert not columns.problem
            found += [struct.unpack_from("<I", part.data, body_start(part.data, at) + 8)[0] for at in columns.starts]
    return found


def counts(pair: Pair) -> dict[str, int]:
    """Return the event's counters by name."""
    return dict(zip(layout.COUNTER_NAMES, pair.file.counters(1)[0], strict=True))


def test_what_is_committed_is_read_once_and_in_order(pair: Pair) -> None:
    """The reader may look at any moment; it gets each record exactly once."""
    ring = pair.ring(1)
    found = []
    for number in range(500):
        pair.writer.commit(0, body(number))
        if number % 37 == 0:
            found += numbers(ring)
    found += numbers(ring)
    assert found == list(range(500))
    assert counts(pair)["attempts"] == 500
    assert ring.records_before(ring.position) == 500


def test_a_full_ring_drops_and_counts_and_goes_on_once_there_is_room(pair: Pair) -> None:
    """Discard mode: the newest are lost, counted as ring full, and nothing before is harmed."""
    ring = pair.ring(1)
    for number in range(6000):
        pair.writer.commit(0, body(number))
    seen = numbers(ring)
    dropped = counts(pair)["ring_full"]
    assert dropped > 0
    assert seen == list(range(6000 - dropped))
    ring.acknowledge(ring.position)
    pair.writer.commit(0, body(9999))
    assert numbers(ring) == [9999]
    now = counts(pair)
    assert now["attempts"] == 6001 == now["ring_full"] + len(seen) + 1


def test_room_is_given_back_only_when_the_reader_has_kept_the_pages(pair: Pair) -> None:
    """Reading is not enough: a tracer killed before it kept the pages must leave them to the next."""
    ring = pair.ring(1)
    for number in range(6000):
        pair.writer.commit(0, body(number))
    first = numbers(ring)
    pair.writer.commit(0, body(1))
    assert numbers(ring) == []
    again = RingFile(ring.path.rsplit("/rings/", 1)[0], pair.session.name, 1, pair.session.nonce)
    assert numbers(again) == first
    again.close()


def test_the_largest_body_fits_an_empty_page_and_one_byte_more_fits_none(pair: Pair) -> None:
    """A page holds a body of 4072 bytes; a larger one is counted as too large and harms nothing."""
    ring = pair.ring(1)
    for number in range(3):
        pair.writer.commit(0, body(number, 4072))
    pair.writer.commit(0, body(3, 4076))
    pair.writer.commit(0, body(4))
    assert numbers(ring) == [0, 1, 2, 4]
    assert counts(pair)["too_large"] == 1


def test_without_a_ring_the_attempt_is_counted_as_tracer_gone(pair: Pair) -> None:
    """An enabled event with nowhere to go is counted, never silently lost."""
    pair.writer.commit(0, body(1))
    assert counts(pair)["tracer_gone"] == 1 == counts(pair)["attempts"]


def test_a_larger_ring_is_entered_at_the_next_page_and_the_old_one_is_read_to_its_end(pair: Pair) -> None:
    """Growing loses nothing: the old generation ends where the new one begins."""
    old = pair.ring(1)
    for number in range(100):
        pair.writer.commit(0, body(number))
    new = pair.ring(2, 4 * PAGES)
    for number in range(100, 1000):
        pair.writer.commit(0, body(number))
    assert pair.file.generation_in_use() == 2
    assert numbers(old) + numbers(new) == list(range(1000))
    assert old.records_before(old.position) + new.records_before(new.position) == 1000


def test_a_signal_handler_that_emits_inside_a_write_is_counted_as_re_entry(
    pure_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner that enters itself again cannot write; it must neither hang nor corrupt."""
    ring = pure_pair.ring(1)
    pure_pair.writer.commit(0, body(0))
    writer = pure_pair.writer
    inside = body(5)
    inner = cursor.Cursor.put

    def put(self: cursor.Cursor, slot: int, body: bytes) -> int:
        writer.commit(0, inside)
        return inner(self, slot, body)

    with monkeypatch.context() as patch:
        patch.setattr(cursor.Cursor, "put", put)
        writer.commit(0, body(1))
    assert numbers(ring) == [0, 1]
    assert counts(pure_pair)["reentry"] == 1
    assert counts(pure_pair)["attempts"] == 3


def test_an_interrupt_inside_a_write_leaves_ring_and_lock_whole(
    pure_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A KeyboardInterrupt out of the middle of a write: not committed, not counted, and the next write works."""
    ring = pure_pair.ring(1)
    pure_pair.writer.commit(0, body(0))

    def put(self: cursor.Cursor, slot: int, body: bytes) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cursor.Cursor, "put", put)
        with pytest.raises(KeyboardInterrupt):
            pure_pair.writer.commit(0, body(1))
    pure_pair.writer.commit(0, body(2))
    assert numbers(ring) == [0, 2]
    assert counts(pure_pair)["attempts"] == 2


def test_a_handler_that_emits_while_a_ring_is_mapped_is_counted_as_re_entry(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a native writer goes through Python to map a ring: what emits in there finds it busy."""
    ring = pair.ring(1)
    enter = pair.writer._enter_generation

    def slowly() -> bool:
        pair.writer.commit(0, body(5))
        return enter()

    monkeypatch.setattr(pair.writer, "_enter_generation", slowly)
    pair.writer.commit(0, body(1))
    assert numbers(ring) == [1]
    assert counts(pair)["reentry"] == 1
    assert counts(pair)["attempts"] == 2


def test_a_long_pause_between_records_is_kept_in_their_times(pure_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaps beyond 27 bits of nanoseconds need a time extend; the times come out exact."""
    times = iter([1_000, 1_000 + (1 << 27), 1_000 + (1 << 40)])
    monkeypatch.setattr("userevents.session.cursor.monotonic_ns", lambda: next(times))
    ring = pure_pair.ring(1)
    for number in range(3):
        pure_pair.writer.commit(0, body(number))
    (part,) = ring.read(1 << 20)
    assert walk(part.data, part.ts).times == [1_000, 1_000 + (1 << 27), 1_000 + (1 << 40)]


def test_a_real_pause_between_records_is_kept_in_their_times(pair: Pair) -> None:
    """The same by the clock itself: more than 134 ms, and records of both kinds of length."""
    ring = pair.ring(1)
    around = []
    for number, size in enumerate((12, 200, 12)):
        before = time.monotonic_ns()
        pair.writer.commit(0, body(number, size))
        around.append((before, time.monotonic_ns()))
        if number != 1:
            time.sleep(0.14)
    (part,) = ring.read(1 << 20)
    times = walk(part.data, part.ts).times
    assert times[1] - times[0] > 1 << 27
    assert all(before <= at <= after for (before, after), at in zip(around, times, strict=True))


def test_in_overwrite_mode_the_newest_pages_stay_and_nothing_is_dropped(pair: Pair) -> None:
    """A full ring takes the oldest page's place, whoever has read it; the table tells what is gone."""
    ring = pair.ring(1, mode=layout.MODE_OVERWRITE)
    for number in range(9000):
        pair.writer.commit(0, body(number))
    assert counts(pair) == {**dict.fromkeys(layout.COUNTER_NAMES, 0), "attempts": 9000}
    head = ring.head()
    assert head > PAGES
    assert int.from_bytes(os.pread(ring.fd, 8, layout.RING_OPENING), "little") == head
    found: list[int] = []
    for seq in range(head - PAGES + 1, head + 1):
        at = layout.RING_TABLE + 16 * (seq % PAGES)
        before, _, _ = layout.RING_TABLE_ENTRY.unpack(os.pread(ring.fd, 16, at))
        page = os.pread(ring.fd, 4096, layout.ring_data_offset(PAGES) + 4096 * (seq % PAGES))
        ts, commit = struct.unpack_from("<QQ", page)
        columns = walk(page[16 : 16 + commit], ts)
        here = [struct.unpack_from("<I", page, 16 + body_start(page[16:], start) + 8)[0] for start in columns.starts]
        assert here[0] == before
        found += here
    assert found == list(range(found[0], 9000))


def test_each_record_tells_its_cpu_where_its_page_says_so(pair: Pair) -> None:
    """Bytes 2 and 3 of a record's header are the CPU it was written on, or 0: then the page's CPU is meant."""
    ring = pair.ring(1)
    allowed = os.sched_getaffinity(0)
    try:
        for number, cpu in enumerate(sorted(allowed)):
            os.sched_setaffinity(0, {cpu})
            pair.writer.commit(0, body(number))
    finally:
        os.sched_setaffinity(0, allowed)
    (part,) = ring.read(1 << 20)
    told = [
        struct.unpack_from("<H", part.data, body_start(part.data, at) + 2)[0] for at in walk(part.data, part.ts).starts
    ]
    _, page_cpu, flags = layout.RING_TABLE_ENTRY.unpack(os.pread(ring.fd, 16, layout.RING_TABLE))
    if flags & layout.PAGE_CPUS_IN_RECORDS:
        assert told == sorted(allowed)
    else:
        assert told == [0] * len(allowed)
    assert page_cpu == min(allowed)
    assert bool(flags) is not isinstance(pair.writer.cursor, cursor.Cursor)


def test_a_tracer_that_has_left_gets_no_new_page(pair: Pair) -> None:
    """With 0 pages wanted the current page is filled, and what does not fit it is counted as tracer gone."""
    ring = pair.ring(1)
    pair.writer.commit(0, body(0))
    pair.file.set_ring(1, 0)
    for number in range(1, 1000):
        pair.writer.commit(0, body(number))
    assert ring.head() == 0
    found = numbers(ring)
    assert found == list(range(len(found)))
    assert counts(pair)["tracer_gone"] == 1000 - len(found) > 0


def test_the_time_before_a_position_is_that_of_the_last_record_there(pair: Pair) -> None:
    """A reader that begins inside a page needs the time its first delta counts from."""
    ring = pair.ring(1)
    for number in range(3):
        pair.writer.commit(0, body(number))
    (part,) = ring.read(1 << 20)
    columns = walk(part.data, part.ts)
    assert ring.time_before(Position(0, columns.starts[2])) == columns.times[1]
    assert ring.records_before(Position(0, columns.starts[2])) == 2


@settings(max_examples=40)
@given(noise=st.binary(min_size=8, max_size=64), at=st.integers(0, layout.ring_size(PAGES) - 64))
def test_noise_in_a_ring_is_malformed_or_harmless(noise: bytes, at: int) -> None:
    """Whatever a program writes into its ring, the tracer gets parts within bounds or Malformed, nothing else."""
    directory = Path(f"/dev/shm/userevents-noise-{os.getpid()}")
    directory.mkdir(mode=0o700, exist_ok=True)
    pair = Pair(directory)
    try:
        ring = pair.ring(1)
        for number in range(300):
            pair.writer.commit(0, body(number))
        os.pwrite(ring.fd, noise, at)
        for part in ring.read(1 << 20):
            assert 0 <= part.offset <= part.offset + len(part.data) <= 4080
        ring.records_before(ring.position)
    except Malformed:
        pass
    finally:
        pair.close()
        (directory / "rings").rmdir()
        directory.rmdir()


def test_a_ring_of_another_session_is_not_mapped(pair: Pair) -> None:
    """The nonce ties a ring to its session; a stranger's ring of the same name is refused."""
    path = f"{pair.session.directory}/{layout.ring_name(pair.session.name, 1)}"
    make(path, pages=PAGES, generation=1, nonce=bytes(16))
    with pytest.raises(Unusable):
        Ring(path, generation=1, nonce=pair.session.nonce)
    with pytest.raises(Malformed):
        RingFile(pair.session.directory, pair.session.name, 1, pair.session.nonce)
    os.unlink(path)


def test_making_a_ring_that_exists_leaves_it_alone(pair: Pair) -> None:
    """Tracer and forked child may both make the first ring: whoever comes second changes nothing."""
    ring = pair.ring(1)
    pair.writer.commit(0, body(1))
    make(ring.path, pages=PAGES, generation=1, nonce=pair.session.nonce)
    assert numbers(ring) == [1]
    assert os.listdir(os.path.dirname(ring.path)) == [os.path.basename(ring.path)]
