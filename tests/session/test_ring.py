"""A ring between its writer and its reader, in one process: every record comes out once, in order, or is counted."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userevents.buffer.page import body_start, walk
from userevents.errors import Malformed, Unusable
from userevents.session import layout
from userevents.session.consumer import Position, RingFile, SessionFile
from userevents.session.producer import Declared, Session
from userevents.session.ring import Ring, make
from userevents.session.writer import Writer

PAGES = 16


class Pair:
    """A session with one event, its writer, and the tracer's view of it."""

    def __init__(self, directory: Path) -> None:
        (directory / "rings").mkdir(exist_ok=True)
        self.session = Session(str(directory))
        index = self.session.declare(Declared(b"tick u32 a", 0))
        assert index == 0
        self.writer = Writer(self.session)
        self.file = SessionFile(str(directory), self.session.name)
        self.rings: list[RingFile] = []

    def ring(self, generation: int, pages: int = PAGES) -> RingFile:
        """Make and announce a ring."""
        path = f"{self.session.directory}/{layout.ring_name(self.session.name, generation)}"
        make(path, pages=pages, generation=generation, nonce=self.session.nonce)
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


@pytest.fixture
def pair(runtime_dir: Path) -> Iterator[Pair]:
    """A fresh pair of writer and reader."""
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


def test_a_signal_handler_that_emits_inside_a_write_is_counted_as_re_entry(pair: Pair) -> None:
    """The owner that enters itself again cannot write; it must neither hang nor corrupt."""
    ring = pair.ring(1)
    pair.writer.commit(0, body(0))
    writer = pair.writer
    inside = body(5)
    inner = Ring.put

    def put(self: Ring, body: bytes, counters: "memoryview[int]", slot: int) -> bool:
        writer.commit(0, inside)
        return inner(self, body, counters, slot)

    Ring.put = put  # type: ignore[method-assign]
    try:
        writer.commit(0, body(1))
    finally:
        Ring.put = inner  # type: ignore[method-assign]
    assert numbers(ring) == [0, 1]
    assert counts(pair)["reentry"] == 1
    assert counts(pair)["attempts"] == 3


def test_an_interrupt_inside_a_write_leaves_ring_and_lock_whole(pair: Pair) -> None:
    """A KeyboardInterrupt out of the middle of a write: not committed, not counted, and the next write works."""
    ring = pair.ring(1)
    pair.writer.commit(0, body(0))
    inner = Ring.put

    def put(self: Ring, body: bytes, counters: "memoryview[int]", slot: int) -> bool:
        raise KeyboardInterrupt

    Ring.put = put  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        pair.writer.commit(0, body(1))
    Ring.put = inner  # type: ignore[method-assign]
    pair.writer.commit(0, body(2))
    assert numbers(ring) == [0, 2]
    assert counts(pair)["attempts"] == 2


def test_a_long_pause_between_records_is_kept_in_their_times(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaps beyond 27 bits of nanoseconds need a time extend; the times come out exact."""
    times = iter([1_000, 1_000 + (1 << 27), 1_000 + (1 << 40)])
    monkeypatch.setattr("userevents.session.ring.monotonic_ns", lambda: next(times))
    ring = pair.ring(1)
    for number in range(3):
        pair.writer.commit(0, body(number))
    (part,) = ring.read(1 << 20)
    assert walk(part.data, part.ts).times == [1_000, 1_000 + (1 << 27), 1_000 + (1 << 40)]


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
