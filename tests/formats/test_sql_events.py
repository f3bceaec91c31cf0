"""`events` in SQL: every record of a trace, as a report shows it and in its order, made while it is asked for."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.formats.corpus import corpus
from tests.formats.kernel_trace import kernel_trace
from tests.formats.maker import Maker
from userevents.formats import open_trace, sql, sql_events
from userevents.formats.text import json_value
from userevents.formats.transcode import PureTranscoder

pytest.importorskip("duckdb", reason="duckdb comes with ./dev setup")
COLUMNS = "ts_ns, cpu, pid, tid, process, system, event, fields"


def asked(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Return what a statement gives of a trace."""
    with open_trace(str(path)) as trace:
        database = sql.Database(trace)
        try:
            return list(database.query(statement).rows)
        finally:
            database.close()


def test_events_hold_every_record_as_a_report_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random declarations and values, in order without asking for it, in chunks of a few records, in both forms."""
    monkeypatch.setattr(sql_events, "_AT_ONCE", 50)
    records = corpus(tmp_path / "t.dat", 60)
    found = asked(tmp_path / "t.dat", f"SELECT {COLUMNS} FROM events")
    monkeypatch.setattr(sql_events, "Transcoder", PureTranscoder)
    assert asked(tmp_path / "t.dat", f"SELECT {COLUMNS} FROM events") == found
    assert len(found) == len(records) > 60
    with open_trace(str(tmp_path / "t.dat")) as trace:
        titles = {process.pid: process.title for process in trace.processes}
    for row, record in zip(found, records, strict=True):
        *told, process, system, event, fields = row
        assert told == [record.ts_ns, record.cpu, record.pid, record.tid]
        assert (process, system, event) == (titles[row[2]], record.event.system, record.event.name)
        assert json.loads(fields) == {key: json_value(value) for key, value in record.values.items()}


def test_a_kernels_records_have_no_pid_and_the_name_of_their_thread(tmp_path: Path) -> None:
    """The recorded pages: a trace of a kernel tells threads, not processes."""
    kernel_trace(tmp_path / "k.dat")
    with open_trace(str(tmp_path / "k.dat")) as trace:
        records = list(trace.records())
    found = asked(tmp_path / "k.dat", "SELECT ts_ns, pid, tid, process, event FROM events")
    assert found == [(each.ts_ns, each.pid, each.tid, each.comm, each.event.name) for each in records]
    assert {pid for _, pid, *_ in found} == {None}


def test_gaps_in_the_middle_of_what_is_read_together_lose_nothing(tmp_path: Path) -> None:
    """Pieces are cut where the kernel says that records were lost; rows and fields stay side by side."""
    maker = Maker()
    one = maker.session(100, "server", {20: "request u32 id; __rel_loc char[] path"})
    for number in range(900):
        one.add_values(10**9 + number, 20, number, f"/{number % 7}")
    one.close()
    maker.trace(tmp_path / "t.dat")
    data = bytearray((tmp_path / "t.dat").read_bytes())
    with open_trace(str(tmp_path / "t.dat")) as trace:
        places = [(each.offset, each.size) for each in trace.source._file.cpus]  # type: ignore[attr-defined]
    marked = 0
    for offset, size in places:
        for page in range(offset + 4096, offset + size, 4096):
            data[page + 11] |= 0x80  # RB_MISSED_EVENTS, without a count
            marked += 1
    (tmp_path / "gaps.dat").write_bytes(data)
    found = asked(tmp_path / "gaps.dat", "SELECT fields->>'id' AS id, fields->>'path' AS path FROM events")
    assert marked > 2
    assert found == [(str(number), f"/{number % 7}") for number in range(900)]


def test_a_large_trace_is_read_for_each_scan_and_answers_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small one is read once, and its columns are kept while the statement runs."""
    maker = Maker()
    one = maker.session(100, "server", {30: "begin u32 id; __rel_loc char[] path", 31: "end u32 id; s32 status"})
    for number in range(500):
        one.add_values(10**9 + 2 * number, 30, number, f"/{number % 7}")
        one.add_values(10**9 + 2 * number + 1, 31, number, -number)
    one.close()
    maker.trace(tmp_path / "t.dat")
    statement = 'SELECT path, sum(status), count(*) FROM begin JOIN "end" USING (id) GROUP BY path ORDER BY path'
    together = asked(tmp_path / "t.dat", statement)
    monkeypatch.setattr(sql, "_TOGETHER_SIZE", 0)
    assert asked(tmp_path / "t.dat", statement) == together
    assert sum(count for _, _, count in together) == 500
