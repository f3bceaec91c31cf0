"""The stream queue: whole frames in order, acknowledged when read again, bounded, and honest about what it refused."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from userevents.buffer.stream import MAGIC, NOTE, pack_frame, pack_start
from userevents.errors import Refused
from userevents.instance import StreamQueue


def frame(size: int, fill: int = 0) -> bytes:
    """A frame of exactly `size` bytes (a multiple of 8, at least 16)."""
    packed = pack_frame(NOTE, 1, bytes([fill]) * (size - 16))
    assert len(packed) == size
    return packed


def queue(limit: int = 1000) -> tuple[StreamQueue, list[object]]:
    """A queue, and the marks it has acknowledged."""
    made = StreamQueue(limit)
    acknowledged: list[object] = []
    made.on_ack = acknowledged.append
    return made, acknowledged


def test_what_was_read_is_acknowledged_by_the_next_read() -> None:
    """Before that it may not have arrived."""
    stream, acknowledged = queue()
    stream.push(frame(24), "a", 1)
    stream.push(frame(32), "b", 1)
    assert stream.read(24) == frame(24)
    assert acknowledged == []
    assert stream.read(100) == frame(32)
    assert acknowledged == ["a"]
    assert stream.read(100) == b""
    assert acknowledged == ["a", "b"]
    assert stream.size == 0


def test_a_read_takes_as_many_whole_frames_as_fit() -> None:
    """A frame is never torn, also where one push brought several."""
    stream, _ = queue()
    stream.push(pack_start() + frame(24, 1) + frame(32, 2), None, 0)
    stream.push(frame(16), None, 0)
    assert stream.read(16 + 24 + 8) == pack_start() + frame(24, 1)
    assert stream.read(1000) == frame(32, 2) + frame(16)


def test_a_read_smaller_than_a_frame_gets_that_frame() -> None:
    """Waiting for a larger read would wait for ever."""
    stream, acknowledged = queue()
    stream.push(frame(64, 1) + frame(64, 2), "both", 2)
    assert stream.read(10) == frame(64, 1)
    assert stream.read(10) == frame(64, 2)
    assert acknowledged == []
    stream.read(10)
    assert acknowledged == ["both"]


def test_a_full_queue_refuses_and_counts_what_was_missed() -> None:
    """What was read still counts as held until it is acknowledged."""
    stream, _ = queue(limit=64)
    assert stream.push(frame(40), None, 5)
    assert not stream.push(frame(40), None, 7)
    stream.read(64)
    assert not stream.push(frame(40), None, 1)
    stream.read(64)
    assert stream.push(frame(40), None, 1)
    assert stream.missed == 8


def test_the_end_comes_after_the_last_frame() -> None:
    """A finished stream takes no more, and is readable: the end can be read."""
    stream, acknowledged = queue()
    assert not stream.readable()
    stream.push(frame(16), "a", 1)
    stream.finish()
    assert not stream.push(frame(16), "b", 1)
    assert stream.missed == 1
    assert stream.read(100) == frame(16)
    assert stream.readable()
    assert stream.read(100) == b""
    assert acknowledged == ["a"]


def test_closing_acknowledges_everything() -> None:
    """Nobody will read it: whoever produced it need not keep it."""
    stream, acknowledged = queue()
    for mark in "abc":
        stream.push(frame(16), mark, 1)
    stream.read(16)
    stream.close()
    assert acknowledged == ["a", "b", "c"]
    assert (stream.size, stream.read(100)) == (0, b"")
    assert not stream.push(frame(16), "d", 1)


def test_a_reader_that_died_leaves_its_last_read_to_the_next() -> None:
    """A reader that closed in good order does not: its last read has arrived."""
    stream, acknowledged = queue()
    for mark in "abc":
        stream.push(frame(16, ord(mark)), mark, 1)
    stream.acquire()
    stream.read(16)
    stream.read(16)
    stream.let_go(arrived=False)
    stream.acquire()
    assert stream.read(16) == frame(16, ord("b"))
    stream.let_go(arrived=True)
    assert acknowledged == ["a", "b"]
    assert stream.read(100) == frame(16, ord("c"))


def test_there_is_one_reader_at_a_time() -> None:
    """A second one is told to make an instance of its own."""
    stream, _ = queue()
    stream.acquire()
    with pytest.raises(Refused, match="EBUSY"):
        stream.acquire()
    stream.let_go(arrived=True)
    stream.acquire()


@given(
    pushes=st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=4), max_size=8),
    reads=st.lists(st.integers(1, 300), min_size=40, max_size=40),
    deaths=st.sets(st.integers(0, 39)),
)
def test_every_frame_arrives_once_and_in_order_whatever_the_reads(
    pushes: list[list[int]], reads: list[int], deaths: set[int]
) -> None:
    """Random pushes, read sizes and dying readers: what arrived is what was pushed."""
    stream, acknowledged = queue(1 << 20)
    pushed = [b"".join(frame(16 + 8 * size, size) for size in sizes) for sizes in pushes]
    for number, frames in enumerate(pushed):
        assert stream.push(frames, number, 1)
    arrived = b""
    for number, size in enumerate(reads):
        data = stream.read(size)
        if number in deaths:
            stream.rewind()
        else:
            arrived += data
    stream.read(1)
    assert b"".join(pushed).startswith(arrived)
    if len(deaths) < 8:
        assert arrived == b"".join(pushed)
        assert acknowledged == list(range(len(pushed)))


def test_the_start_of_a_stream_is_told_from_a_frame() -> None:
    """The 16 bytes that begin a recording carry no size of their own."""
    stream, _ = queue()
    stream.push(pack_start() + frame(24) + pack_start(), None, 0)
    assert stream.read(1) == pack_start()
    assert stream.read(1) == frame(24)
    assert stream.read(1)[:8] == MAGIC
