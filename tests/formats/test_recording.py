"""Indexing a raw recording: what it says of sessions and pages, and what is left out of a damaged one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.maker import Maker
from userevents.buffer import stream as wire
from userevents.errors import Malformed
from userevents.formats import Recording, merge, open_trace
from userevents.formats.columns import schema_of
from userevents.formats.sql_text import table_names


def test_sessions_events_and_threads_are_known_by_stream() -> None:
    """Each session has its process, its events by id, and whether each was ever enabled."""
    maker = Maker()
    one = maker.session(7, "server", {20: "request u32 id; __rel_loc char[] path"})
    one.declare(21, "other u32 a", enabled=False)
    one.add_values(1000, 20, 1, "/x")
    one.close(threads={8: "worker"})
    (stream,) = maker.recording().streams.values()
    assert (stream.process.pid, stream.process.comm, stream.process.cmdline) == (7, "server", ["server", "-x"])
    assert stream.process.tids == {7: "main", 8: "worker"}
    assert [event.name for event in stream.events.values()] == ["request", "other"]
    assert stream.enabled == {20}


def test_parts_of_a_page_are_put_together_though_other_parts_stand_between() -> None:
    """A page that is drained three times while another process writes is one page again."""
    maker = Maker()
    one, two = maker.session(1), maker.session(2)
    for number in range(6):
        one.add_values(1000 + number, 20, number)
        two.add_values(1000 + number, 20, number)
    one.flush(cuts=(16, 48))
    between = maker.frames.pop()
    two.flush(cuts=(32,))
    maker.frames.append(between)
    recording = maker.recording()
    assert len(recording.page_ts) == 2
    assert len(recording.page_data(0)) == len(recording.page_data(1)) == 96


def test_a_page_recorded_from_its_middle_keeps_its_times() -> None:
    """The first part says the time of the record before it, from which the deltas go on."""
    maker = Maker()
    one = maker.session(1)
    for number in range(4):
        one.add_values(1000 + 10 * number, 20, number)
    one.flush(cuts=(32,))
    tail = one.maker.frames.pop()
    one.maker.frames.pop()
    data = tail[48:]
    one.seq = 0
    one.part(1010, 32, data, flags=wire.PART_CONTINUES)
    path_free = open_bytes(maker.data())
    assert [(record[0], record[1]) for record in path_free] == [(1020, 2), (1030, 3)]


def open_bytes(data: bytes) -> list[tuple[int, object]]:
    """Return (time, first value) of each record of a stream."""
    from userevents.formats.sources import RecordingSource
    from userevents.formats.trace import Trace

    trace = Trace("memory", RecordingSource(Recording.of(data)), lambda: None)
    return [(record.ts_ns, next(iter(record.values.values()), None)) for record in trace.records()]


def test_missing_pages_of_a_ring_leave_a_gap() -> None:
    """The page after it is marked, the first page of a ring never is, wherever the recording began."""
    maker = Maker()
    one = maker.session(1)
    for seq in (5, 6, 9):
        one.add_values(1000 + seq, 20, seq)
        one.seq = seq
        one.flush()
    assert list(maker.recording().page_gap) == [0, 0, 1]


def test_parts_that_do_not_fit_their_page_are_left_out_and_noted() -> None:
    """A part twice, one that begins in the middle of nowhere, one of an unknown session: none is shown."""
    maker = Maker()
    one = maker.session(1)
    one.add_values(1000, 20, 1)
    one.flush()
    one.seq = 0
    one.part(1000, 0, b"\x03\0\0\0" + bytes(12))
    one.seq = 4
    one.part(1000, 64, b"\x03\0\0\0" + bytes(12))
    one.number = 99
    one.part(1000, 0, b"\x03\0\0\0" + bytes(12))
    recording = maker.recording()
    assert len(recording.page_ts) == 1
    assert recording.notes == ["3 damaged pieces of pages were left out"]


@pytest.mark.parametrize(
    ("frame", "note"),
    [
        (wire.pack_frame(wire.STREAM, 2, b"{"), "holds no facts"),
        (wire.pack_stream(1, {"pid": 3}), "opened twice"),
        (wire.pack_event(1, {"id": 30, "name": "e", "fields": "long a"}), "cannot be read"),
        (wire.pack_event(1, {"id": 20, "name": "e", "fields": "u64 a", "enabled": True}), "and later"),
        (wire.pack_note("a\x1b[31mred"), "a\x1b[31mred"),
    ],
)
def test_facts_that_make_no_sense_are_noted_and_the_rest_is_read(frame: bytes, note: str) -> None:
    """One bad frame costs nothing but itself."""
    maker = Maker()
    one = maker.session(1)
    maker.frames.append(frame)
    one.add_values(1000, 20, 1)
    one.close()
    recording = maker.recording()
    assert any(note in each for each in recording.notes)
    assert len(recording.page_ts) == 1


def test_refused_events_share_id_0_and_mean_nothing_by_it() -> None:
    """A tracer that refuses events still tells of them; none of their records can exist."""
    maker = Maker()
    one = maker.session(1)
    for name in ("first", "second"):
        facts = {"id": 0, "name": name, "system": "user_events", "fields": "u32 a", "enabled": False, "error": "EPERM"}
        maker.frames.append(wire.pack_event(1, facts))
    one.add_values(1000, 20, 1)
    one.close()
    recording = maker.recording()
    assert recording.notes == []
    assert list(recording.streams[1].events) == [20]


def test_thousands_of_equal_names_are_told_apart_at_once(tmp_path: Path) -> None:
    """A file may claim what no program could register: each name gets a number, in time that grows with their number.

    Tried one after the other, 4,000 fields of one name took six minutes.
    """
    maker = Maker()
    session = maker.session(7, "prog", {})
    session.declare(20, "tick " + ";".join(["u8 a"] * 4000))
    for number in range(21, 4021):
        session.declare(number, "same u8 a")
    session.close()
    path = tmp_path / "trace.dat.part"
    path.write_bytes(maker.data())
    with open_trace(str(path)) as trace:
        assert trace.events[20].keys[-2:] == ("a_3999", "a_4000")
        assert len(schema_of(trace.events[20])) == 4004
        assert sorted(table_names(trace.events.values()).values(), key=len)[-1] == "same_4000"
    merge(Recording.of(maker.data()), str(tmp_path / "trace.dat"))


def test_a_recording_without_its_end_mark_says_so() -> None:
    """Its recorder was killed, or still runs."""
    maker = Maker()
    assert maker.recording().notes == []
    assert "no end mark" in Recording.of(maker.data(end=False)).notes[0]
    assert "is cut" in Recording.of(maker.data()[:-5]).notes[0]


def test_a_recording_that_shrinks_while_it_is_read_is_malformed(tmp_path: Path) -> None:
    """Somebody truncates the file after it was indexed: an error, and no half a page."""
    maker = Maker()
    one = maker.session(1)
    one.add_values(1000, 20, 1)
    one.close()
    path = tmp_path / "x.part"
    path.write_bytes(maker.data())
    with open_trace(str(path)) as trace:
        path.write_bytes(maker.data()[:40])
        with pytest.raises(Malformed, match="shorter"):
            list(trace.records())


def _sample() -> bytes:
    maker = Maker()
    one, two = maker.session(1, "a", {20: "tick u32 a", 21: "text __rel_loc char[] s"}), maker.session(2)
    for number in range(30):
        one.add_values(1000 + number, 20 + number % 2, number if number % 2 == 0 else "x" * number, cpu=number // 20)
        two.add_values(1000 + number, 20, number)
    one.close()
    two.close()
    return maker.data()


SAMPLE = _sample()


@given(st.integers(0, len(SAMPLE)), st.binary(min_size=1, max_size=40))
def test_a_recording_with_noise_in_it_is_read_or_malformed(at: int, noise: bytes) -> None:
    """Whatever is overwritten, what comes back are records, notes, or Malformed."""
    try:
        found = open_bytes(SAMPLE[:at] + noise + SAMPLE[at + len(noise) :])
    except Malformed:
        return
    assert len(found) <= 60 + len(noise)


def test_a_recording_cut_anywhere_gives_its_first_records() -> None:
    """Each page that is whole in the file is there, and nothing else."""
    wanted = open_bytes(SAMPLE)
    for length in range(16, len(SAMPLE), 7):
        found = open_bytes(SAMPLE[:length])
        assert set(found) <= set(wanted)
    assert len(wanted) == 60
