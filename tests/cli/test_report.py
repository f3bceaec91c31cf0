"""`userevents report`: what it prints on which stream, its exit codes, and how it takes bad requests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.formats.maker import Maker
from userevents.cli.report import report

EVENTS = {20: "request u32 id; s64 latency_ns; __rel_loc char[] path", 21: "tick u32 a"}


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """Return a finished trace of two processes."""
    return _trace(tmp_path)


def _trace(tmp_path: Path, *, missed: int = 0) -> str:
    maker = Maker()
    one, two = maker.session(100, "server", EVENTS), maker.session(200, "ticker", EVENTS)
    for number in range(20):
        one.add_values(10**9 + number * 1000, 20, number, number * 7 % 20, f"/{number}\x1b[31m")
        two.add_values(10**9 + number * 1000 + 1, 21, number)
    one.close(missed=missed, committed=20 + missed)
    two.close()
    path = tmp_path / "t.dat"
    maker.trace(path)
    (tmp_path / "raw.part").write_bytes(maker.data(end=False))
    return str(path)


def run(*arguments: str) -> Result:
    """Run the verb."""
    return CliRunner().invoke(report, arguments)


def test_the_default_is_a_table_with_a_head(trace: str) -> None:
    """One row a record, in time order over both processes, escapes made visible."""
    done = run(trace)
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert lines[0].split() == ["TIME", "CPU", "PROCESS", "EVENT", "FIELDS"]
    assert len(lines) == 41
    assert lines[1].split() == ["1.000000", "0", "main-100", "request", "id=0", "latency_ns=0", "path=/0\\e[31m"]
    assert lines[2].split()[3] == "tick"
    assert done.stderr == ""


def test_text_and_json_give_one_line_a_record(trace: str) -> None:
    """JSON is exact and complete, text is like trace-cmd's."""
    text, lines = run(trace, "--format", "text"), run(trace, "--format", "json")
    assert text.stdout.splitlines()[0].split()[:4] == ["main-100", "[000]", "1.000000:", "request:"]
    records = [json.loads(line) for line in lines.stdout.splitlines()]
    assert len(records) == 40
    assert records[0]["fields"] == {"id": 0, "latency_ns": 0, "path": "/0\x1b[31m"}


def test_records_are_chosen_by_event_process_and_number(trace: str) -> None:
    """-e, -p and -n, together."""
    done = run(trace, "--format", "json", "-e", "re*", "-e", "nothing", "-p", "100", "-n", "3")
    assert [json.loads(line)["fields"]["id"] for line in done.stdout.splitlines()] == [0, 1, 2]
    none = run(trace, "--format", "text", "-p", "12345")
    assert none.stdout == ""
    assert "no record of process 12345; it has processes 100 (server), 200 (ticker)" in none.stderr


def test_a_summary_has_events_by_process_and_the_ledger(trace: str) -> None:
    """Counts, rates, and where every attempt went."""
    out = run(trace, "--summary").stdout
    assert "40 events of 2 processes" in out
    assert ["server", "100", "request", "20"] in [line.split()[:4] for line in out.splitlines()]
    assert "Ledger: balanced" in out
    assert ["delivered", "40"] in [line.split() for line in out.splitlines()]


def test_the_top_records_come_highest_first(trace: str) -> None:
    """As a table, and as JSON lines; -n says how many."""
    table = run(trace, "--top", "request.latency_ns", "-n", "2").stdout
    assert "Highest latency_ns of 20 (2 shown)" in table
    lines = run(trace, "--top", "request.latency_ns", "-n", "3", "--format", "json").stdout.splitlines()
    assert [json.loads(line)["fields"]["latency_ns"] for line in lines] == [19, 18, 17]


def test_a_summary_as_json_is_one_object(trace: str) -> None:
    """Rows and the ledger's figures."""
    found = json.loads(run(trace, "--summary", "--format", "json").stdout)
    assert found["records"] == 40
    assert {row["event"]: row["count"] for row in found["rows"]} == {"request": 20, "tick": 20}
    assert found["ledger"]["balanced"] is True
    assert found["ledger"]["figures"]["attempts"] == 40


def test_losses_are_said_first_and_where_they_do_no_harm(tmp_path: Path) -> None:
    """On stdout above a table, on stderr beside lines that programs read."""
    trace = _trace(tmp_path, missed=7)
    table, text = run(trace), run(trace, "--format", "json")
    assert table.stdout.startswith("LOSSES: ")
    assert "7 missed" in table.stdout.splitlines()[0]
    assert "7 missed" in text.stderr
    assert all(json.loads(line) for line in text.stdout.splitlines())


def test_a_raw_recording_of_a_killed_recorder_is_shown_too(trace: str) -> None:
    """With a word that it has no end."""
    done = run(str(Path(trace).parent / "raw.part"), "--format", "text")
    assert len(done.stdout.splitlines()) == 40
    assert "no end mark" in done.stderr


def test_a_file_that_cannot_be_read_is_exit_code_1(tmp_path: Path) -> None:
    """One sentence on stderr, naming the file, with what it holds made harmless."""
    absent, foreign = tmp_path / "absent", tmp_path / "foreign"
    foreign.write_bytes(b"\x1b[31mhello")
    for path, words in ((absent, "No such file"), (foreign, "neither a trace.dat, nor a perf.data"), (tmp_path, "")):
        done = run(str(path))
        assert done.exit_code == 1
        assert str(path) in done.stderr
        assert words in done.stderr
        assert "\x1b" not in done.stderr
        assert done.stdout == ""


def test_a_pattern_that_names_no_event_is_said_with_the_one_that_was_meant(trace: str) -> None:
    """Not an empty table alone, which looks as if nothing had happened; what others name is shown."""
    done = run(trace, "-e", "reqest", "-e", "tick", "--format", "json")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 20)
    assert done.stderr == "userevents: the trace has no event 'reqest': did you mean 'request'?\n"
    assert run(trace, "-e", "t?ck").stderr == ""
    assert "it has request, tick" in run(trace, "-e", "other:x*").stderr


def test_a_pipe_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """A trace is not read from its beginning to its end; the pipe is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    done = run(str(tmp_path / "pipe"))
    assert (done.exit_code, "write it to a file first" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--top", "latency_ns"], "EVENT.FIELD"),
        (["--top", "request.latency"], "its fields are id, latency_ns, path"),
        (["--top", "request.path"], "'request.path' holds no number"),
        (["--top", "reqest.latency_ns"], "did you mean 'request'?"),
        (["--format", "xml"], "xml"),
        (["-n", "0"], "0"),
    ],
)
def test_a_wrong_request_is_exit_code_2_and_says_what_there_is(trace: str, arguments: list[str], words: str) -> None:
    """A field that is misspelt is answered by those that exist."""
    done = run(trace, *arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_output_that_cannot_hold_a_letter_gets_an_escape(trace: str) -> None:
    """A terminal in the C locale must not make the report fail."""
    maker = Maker()
    one = maker.session(100, events={20: "e __rel_loc char[] s"})
    one.add_values(10**9, 20, "é😀")
    one.close()
    path = Path(trace).parent / "wide.dat"
    maker.trace(path)
    command = [sys.executable, "-X", "utf8=0", "-c", "from userevents.cli.report import report; report()", str(path)]
    done = subprocess.run(
        command, capture_output=True, env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)}, check=True
    )
    assert b"s=\\xe9\\U0001f600" in done.stdout
