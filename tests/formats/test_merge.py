"""Finishing a recording: exact order over sessions and CPUs, pages as a kernel writes them, an output that is whole."""

import os
import resource
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats.maker import Maker
from userevents.buffer import merge as merging
from userevents.buffer import missed, page_data, records
from userevents.errors import Malformed, Unusable
from userevents.formats import Record, finish_recording, merge, open_trace
from userevents.formats.tracedat_reader import TraceDat

STEP = st.tuples(
    st.integers(0, 3), st.integers(0, 2), st.sampled_from([0, 0, 1, 500, 1 << 27, 1 << 31]), st.integers(0, 60)
)


def read(path: Path) -> list[Record]:
    """Return all records of a trace."""
    with open_trace(str(path)) as trace:
        return list(trace.records())


def pages_of(path: Path) -> dict[int, list[bytes]]:
    """Return each CPU's pages as they lie in the file."""
    data = path.read_bytes()
    file = TraceDat(lambda offset, size: data[offset : offset + size], len(data), "x")
    return {cpu.cpu: list(file.pages(cpu)) for cpu in file.cpus}


@given(st.lists(STEP, max_size=150))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_records_of_all_sessions_come_in_exact_time_order(
    tmp_path: Path, steps: list[tuple[int, int, int, int]]
) -> None:
    """Any interleaving over sessions, CPUs, gaps and equal times gives the sorted records, each with its own CPU."""
    maker = Maker(cpus=3)
    sessions = [maker.session(100 + number, f"p{number}", {20: "e u32 n; __rel_loc char[] s"}) for number in range(4)]
    wanted, now = [], 10**9
    for number, (who, cpu, step, length) in enumerate(steps):
        now += step
        sessions[who].add_values(now, 20, number, "x" * length, cpu=cpu)
        wanted.append((now, cpu, 100 + who, number, length))
    for session in sessions:
        session.close()
    path = tmp_path / "t.dat"
    done = maker.trace(path)
    found = [(one.ts_ns, one.cpu, one.pid, one.values["n"], len(str(one.values["s"]))) for one in read(path)]
    assert sorted(found) == sorted(wanted)
    assert [(one[0], one[1]) for one in found] == sorted((one[0], one[1]) for one in wanted)
    assert done.records == len(wanted)
    assert done.ledger.is_balanced
    for pages in pages_of(path).values():
        times = [ts_ns for page in pages for ts_ns, _, _ in records(page)]
        assert times == sorted(times)
        assert all(page_data(page)[0] == next(records(page))[0] for page in pages)
        assert all(len(page) == 4096 and not page[16 + len(page_data(page)[1]) :].strip(b"\0") for page in pages)


def test_records_of_one_session_and_time_keep_their_order(tmp_path: Path) -> None:
    """A clock that stands still while a program writes two pages full must not shuffle them."""
    maker = Maker()
    one = maker.session(1)
    for number in range(600):
        one.add_values(5000, 20, number)
    one.close()
    path = tmp_path / "t.dat"
    maker.trace(path)
    assert [record.values["a"] for record in read(path)] == list(range(600))


def test_a_page_that_overlaps_no_other_is_copied_byte_by_byte(tmp_path: Path) -> None:
    """Most pages of most recordings need no rebuilding, and are the program's own bytes."""
    maker = Maker(cpus=1)
    one = maker.session(1)
    for number in range(1000):
        one.add_values(1000 + 7 * number, 20, number)
    one.close()
    recording = maker.recording()
    path = tmp_path / "t.dat"
    done = merge(recording, str(path))
    full = [data for number in range(len(recording.page_ts)) if len(data := recording.page_data(number)) >= 2040]
    assert done.copied_pages == len(full) == 4
    assert [bytes(page_data(page)[1]) for page in pages_of(path)[0]] == full


def test_pages_of_many_short_programs_are_packed_together(tmp_path: Path) -> None:
    """A program with three events does not cost a page of the file."""
    maker = Maker(cpus=1)
    for number in range(100):
        one = maker.session(1 + number)
        for step in range(3):
            one.add_values(1000 * number + step, 20, step)
        one.close()
    done = maker.trace(tmp_path / "t.dat")
    assert (done.copied_pages, done.merged_pages) == (0, 2)


def test_records_of_events_that_were_not_asked_for_are_left_out(tmp_path: Path) -> None:
    """They were written for somebody else's recording; the ledger still accounts for them."""
    maker = Maker()
    one = maker.session(1, events={20: "mine u32 a"})
    one.declare(21, "theirs u32 a", enabled=False)
    for number in range(10):
        one.add_values(1000 + number, 20 + number % 2, number)
    one.close()
    path = tmp_path / "t.dat"
    done = maker.trace(path)
    assert [record.values["a"] for record in read(path)] == [0, 2, 4, 6, 8]
    assert (done.ledger.total("other"), done.ledger.is_balanced) == (5, True)
    with open_trace(str(path)) as trace:
        assert [event.name for event in trace.events.values()] == ["mine"]


def test_one_id_with_two_meanings_becomes_two_ids(tmp_path: Path) -> None:
    """Two tracers, one after the other, may have given the same id to different events."""
    maker = Maker()
    one = maker.session(1, events={20: "first u32 a"})
    two = maker.session(2, events={20: "second u64 b; char[4] c", 21: "first u32 a"})
    for number in range(200):
        one.add_values(1000 + 2 * number, 20, number)
        two.add_values(1001 + 2 * number, 20, number, "x")
        two.add_values(1001 + 2 * number, 21, number)
    one.close()
    two.close()
    path = tmp_path / "t.dat"
    done = maker.trace(path)
    found = read(path)
    assert [record.event.name for record in found][:4] == ["first", "second", "first", "first"]
    assert found[1].values == {"b": 0, "c": "x"}
    assert {event.name: event.delivered for each in done.ledger.processes for event in each.events} == {
        "first": 200,
        "second": 200,
    }
    assert done.ledger.is_balanced


def test_pages_that_are_missing_are_marked_where_they_are_missing(tmp_path: Path) -> None:
    """The page after a gap begins a page of the file, and stock tools show that records were lost before it."""
    maker = Maker(cpus=1)
    one, two = maker.session(1), maker.session(2)
    for seq in (0, 1, 7):
        one.seq = seq
        for step in range(5):
            one.add_values(1000 * seq + 10 * step, 20, seq)
            two.add_values(1000 * seq + 10 * step + 1, 20, seq)
        one.flush()
    one.close()
    two.close()
    path = tmp_path / "t.dat"
    maker.trace(path)
    pages = pages_of(path)[0]
    assert [missed(page) for page in pages] == [0, -1]
    assert next(records(pages[1]))[0] == 7000


def test_a_damaged_page_gives_what_stands_before_the_damage(tmp_path: Path) -> None:
    """A program may write noise into its own ring; the others' records, and its earlier ones, stay."""
    maker = Maker()
    one, two = maker.session(1), maker.session(2)
    one.add_values(1000, 20, 1)
    one.flush()
    one.part(2000, 0, b"\x03\0\0\0\x14\0\0\0\1\0\0\0\2\0\0\0" + b"\xff" * 12)
    two.add_values(3000, 20, 3)
    one.close(committed=2)
    two.close()
    path = tmp_path / "t.dat"
    done = maker.trace(path)
    assert [record.values["a"] for record in read(path)] == [1, 2, 3]
    assert any("damaged" in note for note in done.notes)


def test_more_open_pages_than_can_be_held_are_let_go_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise whose pages all overlap costs exact order, not memory; every record is still there."""
    monkeypatch.setattr(merging, "MAX_OPEN", 4)
    monkeypatch.setattr(merging, "AT_ONCE", 2)
    maker = Maker(cpus=1)
    for number in range(12):
        one = maker.session(1 + number)
        one.add_values(1000 + number, 20, number)
        one.add_values(90_000 - number, 20, 100 + number)
        one.close()
    path = tmp_path / "t.dat"
    done = maker.trace(path)
    found = read(path)
    assert sorted(int(str(record.values["a"])) for record in found) == [*range(12), *range(100, 112)]
    assert [record.ts_ns for record in found] == sorted(record.ts_ns for record in found)
    assert any("out of order" in note for note in done.notes)


def test_progress_counts_the_bytes_up_to_the_last_one(tmp_path: Path) -> None:
    """The last call says that all is done."""
    maker = Maker()
    one = maker.session(1)
    for number in range(30_000):
        one.add_values(1000 + number, 20, number)
    one.close()
    calls: list[tuple[int, int]] = []
    merge(maker.recording(), str(tmp_path / "t.dat"), lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls)
    assert len(calls) > 1
    assert calls[-1] == (calls[0][1], calls[0][1]) == (30_000 * 16, 30_000 * 16)


def _some(tmp_path: Path, count: int = 5000) -> Path:
    maker = Maker()
    one = maker.session(1)
    for number in range(count):
        one.add_values(1000 + number, 20, number)
    one.close()
    path = tmp_path / "x.part"
    path.write_bytes(maker.data())
    return path


def test_the_output_is_private_and_replaces_an_older_one_only_when_it_is_whole(tmp_path: Path) -> None:
    """Mode 0600, nothing else left in the directory, and a link is followed."""
    part, out, link = _some(tmp_path), tmp_path / "real.dat", tmp_path / "link.dat"
    out.write_text("older")
    out.chmod(0o644)
    link.symlink_to(out)
    finish_recording(str(part), str(link))
    assert link.is_symlink()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert len(read(out)) == 5000
    assert sorted(os.listdir(tmp_path)) == ["link.dat", "real.dat", "x.part"]


def test_a_disk_that_fills_up_leaves_no_half_output_and_names_the_file(tmp_path: Path) -> None:
    """The older output and the recording are as they were."""
    part, out = _some(tmp_path), tmp_path / "t.dat"
    out.write_text("older")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        with pytest.raises(OSError, match=r"t\.dat") as caught:
            finish_recording(str(part), str(out))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(out)
    assert out.read_text() == "older"
    assert sorted(os.listdir(tmp_path)) == ["t.dat", "x.part"]


def test_an_output_that_cannot_be_made_is_an_error_with_its_name(tmp_path: Path) -> None:
    """A directory that is not there, and a place that is no plain file, which is left alone."""
    part = _some(tmp_path, 1)
    with pytest.raises(FileNotFoundError) as caught:
        finish_recording(str(part), str(tmp_path / "no" / "t.dat"))
    assert caught.value.filename == str(tmp_path / "no" / "t.dat")
    for place in (str(tmp_path), "/dev/null"):
        with pytest.raises(Unusable, match="no plain file"):
            finish_recording(str(part), place)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_what_is_no_recording_makes_no_output(tmp_path: Path) -> None:
    """The error names the file that was read."""
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"\x17\x08\x44tracing7\0" + bytes(100))
    with pytest.raises(Malformed, match="foreign"):
        finish_recording(str(foreign), str(tmp_path / "t.dat"))
    assert os.listdir(tmp_path) == ["foreign"]
