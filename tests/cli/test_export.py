"""`userevents export`: where it writes, what it says on which stream, its exit codes, and how it takes bad requests."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.formats.kernel_trace import v6
from tests.formats.maker import Maker
from userevents.buffer import PageBuilder
from userevents.cli import export as verb
from userevents.cli.complete import complete_file_event
from userevents.fields import format_text, parse_fields
from userevents.formats import export as room

EVENTS = {20: "job_begin u32 id", 21: "job_end u32 id", 22: "other u32 a"}


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """Return a finished trace of two processes, with losses."""
    maker = Maker()
    for pid in (100, 200):
        session = maker.session(pid, f"prog{pid}", EVENTS)
        for number in range(10):
            session.add_values(10**9 + number * 1000, 20 + number % 3, number)
        session.close(drops={20: {"ring_full": 2}})
    maker.trace(tmp_path / "t.dat")
    return str(tmp_path / "t.dat")


def run(*arguments: str) -> Result:
    """Run the verb."""
    return CliRunner().invoke(verb.export, arguments)


def test_the_formats_of_the_verb_are_those_of_the_room() -> None:
    """The verb knows them without importing every exporter; both lists say the same."""
    assert tuple(room.FORMATS) == verb.FORMATS
    assert all(f"\n    {name} " in (verb.export.help or "").replace("\b", "\n") for name in room.FORMATS)


@pytest.mark.parametrize("to", sorted(set(room.FORMATS) - {"otlp"}))
def test_a_trace_is_written_beside_it_and_told(trace: str, to: str) -> None:
    """The result is named after the trace; stderr says what it holds and what was lost."""
    done = run(trace, "--to", to)
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    out = room.default_out(trace, to)
    assert Path(out).exists()
    assert "20 events, " in done.stderr
    assert out in done.stderr
    assert "4 records were lost: 4 ring full" in done.stderr


@pytest.mark.parametrize(("to", "told"), [("perf", "event id 99"), ("parquet", "2 records of events"), ("ctf", "")])
def test_records_of_unknown_events_are_written_or_it_is_told(tmp_path: Path, to: str, told: str) -> None:
    """Some formats want a description of each event; others take the bytes as they are."""
    pages = [[_page_of(99, 99, 20)]]
    text = format_text("tick", 20, parse_fields("u32 a"))
    (tmp_path / "x.dat").write_bytes(v6(pages, {"user_events": [text]}))
    done = run(str(tmp_path / "x.dat"), "--to", to)
    assert done.exit_code == 0, done.output
    assert told in done.stderr
    assert ("1 event, " if told else "3 events, ") in done.stderr


def _page_of(*event_ids: int) -> bytes:
    builder = PageBuilder()
    for at, event_id in enumerate(event_ids):
        builder.append(1000 + at, struct.pack("<HBBiI", event_id, 0, 0, 77, at))
    return builder.take()


def test_what_is_there_already_is_replaced_only_when_named(trace: str) -> None:
    """A default must not cost anybody a file."""
    assert run(trace, "--to", "json").exit_code == 0
    again = run(trace, "--to", "json")
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    assert run(trace, "--to", "json", "-o", room.default_out(trace, "json")).exit_code == 0


def test_stdout_takes_the_result_alone(trace: str) -> None:
    """A pipe gets the file and nothing else."""
    done = subprocess.run(
        [sys.executable, "-m", "userevents", "export", trace, "--to", "json", "-o", "-", "-e", "job_*", "-p", "100"],
        capture_output=True,
    )
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["metadata"]["losses"] == ["4 records were lost: 4 ring full"]
    assert [(line["event"], line["pid"]) for line in lines[1:4]] == [
        ("job_begin", 100),
        ("job_end", 100),
        ("job_begin", 100),
    ]
    assert len(lines) == 8


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--to", "vcd"], 2, "'vcd' is not one of"),
        ([], 2, "Missing option '--to'"),
        (["--to", "json", "--pair", "job_begin:job_end:id"], 1, "'json' has no slices"),
        (["--to", "perfetto", "--pair", "job_begin"], 2, "write BEGIN:END:KEY"),
        (["--to", "ctf", "-o", "-"], 1, "cannot be written to stdout, it is a directory"),
        (["--to", "perf", "-o", "-"], 1, "cannot be written to stdout"),
        (["--to", "ctf", "-o", "/"], 1, "'/' is there already"),
        (["--to", "ctf", "-o", "/nonexistent/x"], 1, "'/nonexistent/x': No such file or directory"),
        (["--to", "json", "--endpoint", "http://x"], 2, "--endpoint is for --to otlp"),
        (["--to", "otlp", "--header", "x"], 2, "'x' is no NAME=VALUE"),
        (["--to", "otlp", "-o", "x"], 2, "name it with --endpoint"),
        (["--to", "otlp", "--endpoint", "http://127.0.0.1:x/"], 1, "is no endpoint"),
        (["--to", "perfetto", "--pair", "job_begin:job_end:name"], 1, "no field 'name': its fields are id"),
        (["--to", "perfetto", "-o", "/nonexistent/x"], 1, "'/nonexistent/x': No such file or directory"),
        (["--to", "perfetto", "-o", "/dev/null"], 1, "is no plain file"),
    ],
)
def test_a_bad_request_says_what_is_wrong(trace: str, arguments: list[str], code: int, told: str) -> None:
    """Asked, found, and the way out; nothing is written."""
    before = sorted(Path(trace).parent.iterdir())
    done = run(trace, *arguments)
    assert done.exit_code == code, done.output
    assert told in done.stderr
    assert sorted(Path(trace).parent.iterdir()) == before


def test_a_trace_is_not_exported_onto_itself(trace: str) -> None:
    """It would be gone."""
    assert "is the trace itself" in run(trace, "--to", "json", "-o", trace).stderr


@pytest.mark.parametrize(("content", "told"), [(b"", "is empty"), (b"nonsense", "neither")])
def test_what_is_no_trace_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    """One message, exit code 1, no file."""
    (tmp_path / "x").write_bytes(content)
    done = run(str(tmp_path / "x"), "--to", "json")
    assert done.exit_code == 1
    assert told in done.stderr
    assert sorted(tmp_path.iterdir()) == [tmp_path / "x"]


def test_events_of_the_trace_are_completed(trace: str) -> None:
    """Of a file that is named before; a file that cannot be read completes nothing."""
    context = verb.export.make_context("export", [trace, "--to", "json"], resilient_parsing=True)
    option = next(each for each in verb.export.params if each.name == "patterns")
    assert complete_file_event(context, option, "job") == ["job_begin", "job_end"]
    context.params["file"] = "/nonexistent"
    assert complete_file_event(context, option, "job") == []


def test_progress_is_shown_on_a_terminal_only(trace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar on stderr, taken away at the end; nothing in a pipe, and nothing with --quiet."""
    monkeypatch.setattr(verb, "_QUIET_S", -1.0)
    shown = {}
    for is_terminal in (True, False):
        with verb._Bar("exporting x", enabled=True) as bar:
            monkeypatch.setattr(bar, "_enabled", is_terminal)
            bar.show(1, 10)
            bar.show(10, 10)
            shown[is_terminal] = bar._bar
    assert shown[False] is None
    assert shown[True].finished
    assert not verb._Bar("x", enabled=True)._enabled
