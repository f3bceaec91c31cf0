"""Bringing hosts together: from messages to a recording on disk or to windows of time, without a broker."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.formats.maker import Maker
from userevents.buffer import stream as wire
from userevents.errors import Unusable
from userevents.fleet.batches import Batcher, frames_in
from userevents.fleet.clock import compared
from userevents.fleet.live import Windows
from userevents.fleet.merged import FileSink, Merged, Sample
from userevents.fleet.resume import resume
from userevents.fleet.sequence import Head, Ready, pack_head
from userevents.fleet.stream import Message
from userevents.formats import Record, Trace
from userevents.formats.recording import Recording
from userevents.formats.sources import RecordingSource

SECOND = 10**9
HEADER = {"mono_ns": 0, "real_ns": 1, "host": "desk", "cpus": 1, "command": ["x"]}


def frames_of(host: int) -> list[bytes]:
    """Return the frames of a host's recording: six pages, every other one of them in parts."""
    maker = Maker(cpus=1)
    session = maker.session(100 + host, f"p{host}", {20: "tick u32 n"})
    for number in range(300):
        session.add_values(number * SECOND // 10 + host, 20, number)
        if number % 50 == 49:
            session.flush(cuts=(16, 160, 400) if number % 100 == 99 else ())
    session.close()
    maker.frames.append(wire.pack_end("done", 31 * SECOND))
    return maker.frames


def messages() -> list[Message]:
    """Return what two hosts sent, one message a frame or two, as the stream has it."""
    found = []
    for host in (1, 2):
        batcher, batches = Batcher(), []
        for number, frame in enumerate(frames_of(host)):
            batches += batcher.add(frame) + (batcher.flush() if number % 2 else [])
        batches += batcher.flush()
        before = 0
        for seq, batch in enumerate(batches, 1):
            head = Head(f"run{host}", seq, seq, batch.recording, before, batch.records, 0, 1, batch.begins)
            before += batch.records
            found.append((seq, host, Message(0, f"web-{host}", pack_head(head._replace(ends=batch.ends)), batch.data)))
    found.sort(key=lambda one: one[:2])
    return [message._replace(stored=number) for number, (_, _, message) in enumerate(found, 1)]


def start() -> bytes:
    """Return how a recording begins."""
    return wire.pack_start() + wire.pack_header(HEADER)


def records_of(data: bytes) -> list[tuple[int, int | None, object]]:
    """Return what a recording holds."""
    trace = Trace(
        "x", RecordingSource(Recording.of(data + wire.pack_batch(0, {}) + wire.pack_end("done", 1))), _nothing
    )
    assert not trace.notes or all("clock" in note for note in trace.notes), trace.notes
    ledger = trace.ledger
    assert ledger is not None
    assert ledger.is_balanced
    return [_facts(record) for record in trace.records()]


def _facts(record: Record) -> tuple[int, int | None, object]:
    return record.ts_ns, record.pid, record.values["n"]


def _nothing() -> None:
    """There is nothing to close."""


def everything() -> list[tuple[int, int, int]]:
    """Return what both hosts wrote."""
    found = [(n * SECOND // 10 + host, host * 10_000_000 + 100 + host, n) for host in (1, 2) for n in range(300)]
    return sorted(found)


def test_a_recorder_that_was_killed_anywhere_goes_on_without_a_batch_lost_or_doubled(tmp_path: Path) -> None:
    """Whatever of the file was on disk: with what the stream has behind it, it becomes the whole recording."""
    whole = bytearray(start())
    merged = Merged(FileSink(whole.extend))
    places = [len(whole)]
    for message in messages():
        merged.take(message)
        places.append(len(whole))
    assert records_of(bytes(whole)) == everything()
    path = tmp_path / "t.part"
    for cut in (*range(places[0], len(whole), 977), *places[1:-1:7]):
        path.write_bytes(whole[:cut])
        again = bytearray()
        merged = Merged(FileSink(again.extend))
        fd = os.open(path, os.O_RDWR)
        try:
            found = resume(fd, str(path), merged, HEADER)
        finally:
            os.close(fd)
        assert found.size <= cut
        for message in messages():
            if message.stored > found.stored:
                merged.take(message)
        assert records_of(bytes(whole[: found.size] + again)) == everything(), cut


def test_a_recording_that_ended_or_is_of_another_boot_is_not_gone_on_with(tmp_path: Path) -> None:
    """It is said what to do with it."""
    path = tmp_path / "t.part"
    ended = start() + wire.pack_end("done", 1)
    for data, now, problem in ((ended, HEADER, "has ended"), (start(), {**HEADER, "mono_ns": 5 * SECOND}, "started")):
        path.write_bytes(data)
        with open(path, "rb") as file, pytest.raises(Unusable, match=problem):
            resume(file.fileno(), str(path), Merged(FileSink(print)), now)


def windows_of(length_ns: int, order: list[Message]) -> Iterator[tuple[int, int, Trace, int]]:
    """Yield the windows of what came in this order, all of it before the first is closed."""
    windows = Windows(HEADER, 0, length_ns, SECOND)
    merged = Merged(windows)
    for message in order:
        merged.take(message)
    for run in ("run1", "run2"):
        merged.add_sample(f"web-{run[-1]}", run, Sample(15 * SECOND, 15 * SECOND, 100))
    yield from windows.closed(90 * SECOND)
    assert (windows.late, windows.unreadable) == (0, 0)


@pytest.mark.parametrize("length_ms", [1000, 1370, 40_000])
def test_each_record_is_in_the_window_of_its_time(length_ms: int) -> None:
    """Pages that span windows are cut; all windows together have every record once, with its host's pid."""
    found = []
    for start_ns, stop_ns, trace, count in windows_of(length_ms * 10**6, messages()):
        records = [_facts(record) for record in trace.records()]
        assert len(records) == count
        assert all(start_ns <= ts_ns < stop_ns for ts_ns, _, _ in records)
        assert not trace.notes
        found += records
    assert found == everything()


def test_what_comes_after_its_window_was_closed_is_counted_and_shown_in_the_next() -> None:
    """Late records are not lost."""
    windows = Windows(HEADER, 0, SECOND, 0)
    merged = Merged(windows)
    order = messages()
    for message in order[: len(order) // 2]:
        merged.take(message)
    early = sum(window.records for window in windows.closed(40 * SECOND))
    for message in order[len(order) // 2 :]:
        merged.take(message)
    late = sum(window.records for window in windows.closed(60 * SECOND))
    assert early + late == 600
    assert windows.late == late > 0


def test_only_the_wanted_hosts_are_taken_and_what_is_none_of_ours_is_counted() -> None:
    """A glob chooses hosts; a message without our header, or with nonsense in it, changes nothing."""
    taken = bytearray()
    merged = Merged(FileSink(taken.extend), lambda host: host == "web-2")
    for message in messages():
        merged.take(message)
    for head in (None, "", "1 x", "2 run 1 1 1 0 0 0 0 -", "1 run 1 1 1 0 0 0 -1 -", "1 r\nn 1 1 1 0 0 0 0 b"):
        merged.take(Message(999, "web-2", head, b"\0" * 100))
    assert merged.odd == 6
    assert {kind for kind, _, _ in frames_in(bytes(taken))} >= {wire.HOST, wire.BATCH}
    assert set(merged.numbers) == {"web-2"}
    assert merged.records == 300


def test_hosts_beyond_what_a_trace_takes_are_left_out_whole_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread's id in a trace has room for so many hosts: those before go on, the others are told of."""
    monkeypatch.setattr("userevents.fleet.merged.MAX_HOSTS", 213)
    taken = bytearray()
    merged = Merged(FileSink(taken.extend))
    first = [message for message in messages() if message.host == "web-1"]
    for number in range(215):
        for message in first:
            merged.take(message._replace(host=f"h{number}"))
    assert merged.left_out == {"h213", "h214"}
    assert len(merged.numbers) == 213
    assert merged.records == 300 * 213
    recording = Recording.of(start() + bytes(taken))
    assert len(recording.hosts.by_name) == 213


def test_a_clock_is_compared_by_the_middle_of_question_and_answer() -> None:
    """The truth lies within half the time that question and answer took, less what the host took."""
    found = compared(1_000, 5_000, b"ab12 900000 900600")
    assert found is not None
    assert found.sample == Sample(3_000, 900_300, 1_700)
    for nonsense in (b"", b"ab12 2 1", b"ab12 1 99999999", b"ab 1", b"ab -1 2", b"a.b 1 2", b"\xff 1 2"):
        assert compared(1_000, 5_000, nonsense) is None


def test_a_batch_that_was_given_up_shows_in_the_recording_as_missing() -> None:
    """The BATCH frame carries what the numbers said."""
    taken = bytearray()
    sink = FileSink(taken.extend)
    sink.host(1, "a", 1, "run")
    sink.batch(1, Ready(Head("run", 5, 5, 1, 100, 0, 0, 0), b"", 2, 50), 9, 100)
    recording = Recording.of(start() + bytes(taken))
    assert [(host.missing, host.missing_records) for host in recording.hosts.by_name.values()] == [(2, 50)]
