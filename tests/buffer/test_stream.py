"""The recording stream: frames come back as they were packed, and a stream cut or damaged anywhere ends cleanly."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userevents.buffer import Frame, FrameReader, Part
from userevents.buffer import stream as wire
from userevents.errors import Malformed

EVENT = {"id": 20, "name": "tick", "system": "user_events", "fields": "u32 a", "enabled": True, "error": None}


def _whole() -> bytes:
    return b"".join(
        [
            wire.pack_start(),
            wire.pack_header({"mono_ns": 1, "real_ns": 2, "host": "h", "release": "r", "cpus": 2, "command": []}),
            wire.pack_stream(1, {"pid": 7, "start_time": 1, "comm": "a\udcff", "cmdline": ["a"], "nonce": "00"}),
            wire.pack_event(1, EVENT),
            wire.pack_part(1, 3, 1, 9, 1000, 16, b"\x03\0\0\0" + bytes(12), flags=wire.PART_CONTINUES),
            wire.pack_ledger(1, {"events": {}, "committed": 1}),
            wire.pack_threads(1, {7: "main"}),
            wire.pack_note("something"),
            wire.pack_end("done", 5),
        ]
    )


def test_every_frame_comes_back_as_it_was_packed() -> None:
    """Kinds, streams, facts, and every number of a page part; all frames are whole 8-byte words."""
    data = _whole()
    reader = FrameReader.of(data)
    frames = list(reader)
    assert [frame.kind if isinstance(frame, Frame) else "part" for frame in frames] == [1, 2, 3, "part", 5, 6, 8, 7]
    part = frames[3]
    assert isinstance(part, Part)
    assert part[:8] == (1, 3, 1, wire.PART_CONTINUES, 9, 1000, 16, 16)
    assert data[part.start : part.start + part.length] == b"\x03\0\0\0" + bytes(12)
    assert isinstance(frames[2], Frame)
    assert reader.facts(frames[2]) == EVENT
    assert len(data) % 8 == 0
    assert (reader.problem, reader.read_to) == ("", len(data))


@pytest.mark.parametrize("data", [b"", b"UEVTREC1", b"\x17\x08\x44tracing7\0\0\x08\0\x10\0\0", bytes(64)])
def test_what_is_no_recording_is_malformed(data: bytes) -> None:
    """It is told apart by its first 16 bytes."""
    with pytest.raises(Malformed):
        FrameReader.of(data)


def test_a_recording_from_the_future_is_malformed_and_says_which() -> None:
    """The message has the version found and the one that can be read."""
    with pytest.raises(Malformed, match=r"version 2.*version 1"):
        FrameReader.of(struct.pack("<8sII", b"UEVTREC1", 2, 0))


def test_a_stream_cut_anywhere_gives_its_whole_frames_and_says_where_it_ends() -> None:
    """This is what a killed recorder leaves behind."""
    data = _whole()
    ends = [16]
    for frame in FrameReader.of(data):
        head = frame.start - (16 if isinstance(frame, Frame) else 48)
        ends.append(head + struct.unpack_from("<I", data, head)[0])
    for length in range(16, len(data)):
        reader = FrameReader.of(data[:length])
        assert len(list(reader)) == sum(1 for end in ends[1:] if end <= length)
        assert bool(reader.problem) == (length not in ends)
        assert reader.read_to == max(end for end in ends if end <= length)


def test_frames_are_found_across_the_pieces_that_are_read() -> None:
    """More frames than fit one piece, with a reader that gives few bytes at its end, lose nothing."""
    parts = [wire.pack_part(1, 1, 0, seq, seq, 0, bytes(4080)) for seq in range(200)]
    reader = FrameReader.of(wire.pack_start() + b"".join(parts))
    assert [frame.seq for frame in reader if isinstance(frame, Part)] == list(range(200))


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack("<IHHII", 0, 1, 0, 0, 0),
        struct.pack("<IHHII", 20, 1, 0, 0, 4) + bytes(4),
        struct.pack("<IHHII", 24, 1, 0, 0, 9) + bytes(8),
        struct.pack("<IHHII", 0xFFFFFFF8, 1, 0, 0, 0),
        wire.pack_frame(wire.PAGE_PART, 1, bytes(8)),
        wire.pack_frame(wire.PAGE_PART, 1, wire.PART.pack(1, 0, 0, 0, 0, 0, 64)),
        wire.pack_frame(wire.PAGE_PART, 1, wire.PART.pack(1, 0, 0, 0, 0, 4080, 4) + bytes(4)),
        wire.pack_frame(wire.PAGE_PART, 1, wire.PART.pack(1, 0, 0, 0, 0, 2, 4) + bytes(4)),
    ],
)
def test_a_frame_of_nonsense_ends_the_stream(frame: bytes) -> None:
    """What came before it stays, and the reader says at which byte it stopped."""
    start = wire.pack_start() + wire.pack_note("kept")
    reader = FrameReader.of(start + frame + wire.pack_note("never reached") * 3)
    assert len(list(reader)) == 1
    assert f"at byte {len(start)}" in reader.problem


@given(st.binary(max_size=400), st.integers(0, 300))
def test_hostile_streams_end_cleanly(noise: bytes, at: int) -> None:
    """Noise over a good stream, or behind its start, gives frames inside it and nothing worse."""
    good = _whole()
    for data in (wire.pack_start() + noise, good[:at] + noise + good[at + len(noise) :]):
        try:
            reader = FrameReader.of(data)
        except Malformed:
            continue
        for frame in reader:
            if isinstance(frame, Part):
                assert frame.start + frame.length <= len(data)
            else:
                assert frame.start + frame.used <= len(data)
                assert isinstance(reader.facts(frame), dict | None)


def test_facts_nested_too_deep_are_no_facts() -> None:
    """A recorder's JSON never is, so what is not read is noise."""
    reader = FrameReader.of(wire.pack_start() + wire.pack_frame(wire.NOTE, 0, b"[" * 100_000))
    (frame,) = reader
    assert isinstance(frame, Frame)
    assert reader.facts(frame) is None
