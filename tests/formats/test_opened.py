"""`userevents.open`: what Python programs read, equal to what the reports read."""

import copy
import pickle
from pathlib import Path

import pytest

import userevents
from tests.formats.maker import Maker
from userevents.formats import open_trace


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a trace of two processes, one of whose events has a field named like something of every record."""
    maker = Maker()
    one = maker.session(100, "server", {20: "request u32 id; __rel_loc char[] path; s32 pid", 21: "tick u8 a"})
    two = maker.session(200, "other", {21: "tick u8 a"})
    for number in range(50):
        one.add_values(1000 + 10 * number, 20, number, f"/{number}", -number)
        two.add_values(1005 + 10 * number, 21, number)
    one.close(missed=1, committed=51)
    two.close()
    path = tmp_path / "t.dat"
    maker.trace(path)
    return path


def test_records_are_mappings_and_know_where_they_come_from(path: Path) -> None:
    """Fields as items and attributes; what every record has keeps its name."""
    with userevents.open(path) as trace, open_trace(str(path)) as plain:
        found = list(trace)
        assert [(each.time_ns, each.cpu, each.pid, each.tid, each.event, dict(each)) for each in found] == [
            (each.ts_ns, each.cpu, each.pid, each.tid, each.event.name, each.values) for each in plain.records()
        ]
        first = found[0]
        assert (first.path, first["path"], first.id, first.pid, first["pid"]) == ("/0", "/0", 0, 100, 0)
        assert (first.process, first.comm, first.system, len(first), list(first)) == (
            "server", "main", "user_events", 3, ["id", "path", "pid"],
        )  # fmt: skip
        assert "path='/0'" in repr(first)
        assert "path" in dir(first)
        with pytest.raises(AttributeError, match="'request' has no field 'nope': its fields are id, path, pid"):
            _ = first.nope
        with pytest.raises(KeyError, match="nope"):
            first["nope"]
        assert trace.losses[0] == "1 records were lost: 1 missed"
        assert [process.pid for process in trace.processes] == [100, 200]


def test_a_record_is_copied_and_pickled_as_any_value(path: Path) -> None:
    """It goes through queues to other processes, whole."""
    with userevents.open(path) as trace:
        first = next(iter(trace))
    for copied in (copy.copy(first), copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert (dict(copied), repr(copied), copied.event) == (dict(first), repr(first), "request")


def test_an_event_is_a_table(path: Path) -> None:
    """It has a length, iterates, and gives columns."""
    with userevents.open(str(path)) as trace:
        assert trace.events == ["request", "tick"]
        requests = trace["request"]
        assert (len(requests), len(trace), len(trace["user_events:tick"])) == (50, 100, 50)
        assert [record.id for record in requests] == list(range(50))
        assert len(requests.arrow()) == 50
        assert "request" in trace
        assert [record.event for record in trace.matching("ti*")] == ["tick"] * 50
        with pytest.raises(KeyError, match="it has request, tick"):
            trace["nope"]


def test_a_part_between_two_times_has_what_lies_between_them(path: Path) -> None:
    """From the first on, to before the second, for records and tables."""
    with userevents.open(path) as trace:
        part = trace.between(1100, 1200)
        assert [record.time_ns for record in part] == list(range(1100, 1200, 5))
        assert (len(part), len(part["request"]), len(trace["request"].between(1100))) == (20, 10, 40)
        with pytest.raises(userevents.Unusable, match="filter them by ts_ns"):
            part["request"].arrow()


def test_a_table_becomes_a_frame_of_pandas(path: Path) -> None:
    """With the columns of the event, and their types."""
    pytest.importorskip("pandas", reason="pandas comes with ./dev setup")
    with userevents.open(path) as trace:
        frame = trace["request"].df()
        assert list(frame.columns) == ["ts_ns", "cpu", "pid", "tid", "id", "path", "pid_2"]
        assert frame["id"].tolist() == list(range(50))
        assert frame["path"].iloc[7] == "/7"
        assert trace["request"].between(1100, 1200).df()["id"].tolist() == list(range(10, 20))


def test_a_trace_answers_sql(path: Path) -> None:
    """Rows as dictionaries."""
    pytest.importorskip("duckdb", reason="duckdb comes with ./dev setup")
    with userevents.open(path) as trace:
        assert trace.sql("SELECT count(*) AS n, max(id) AS id FROM request") == [{"n": 50, "id": 49}]


def test_what_is_no_trace_is_refused_when_opened(tmp_path: Path) -> None:
    """As reports refuse it."""
    with pytest.raises(FileNotFoundError):
        userevents.open(tmp_path / "nothing")
    (tmp_path / "text").write_text("hello", encoding="utf-8")
    with pytest.raises(userevents.Malformed):
        userevents.open(tmp_path / "text")
