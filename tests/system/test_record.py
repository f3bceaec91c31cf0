"""`userevents record -- PROGRAM`: what the user sees, from exit codes to what stands in the file."""

import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from userevents.formats.trace import open_trace

from .conftest import Userevents


def names(path: Path) -> Counter[str]:
    """Count the events of a trace by name."""
    with open_trace(str(path)) as trace:
        return Counter(record.event.name for record in trace.records() if record.event is not None)


def test_a_program_that_declares_emits_and_exits_at_once_is_recorded_from_its_first_event(
    userevents: Userevents,
) -> None:
    """No event is too early and no program too short."""
    done = userevents("record", "--provider", "none", "--", sys.executable, "-c", userevents.code("emit(0, 5)"))
    assert done.returncode == 0, done.stderr
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        found = [record.values for record in trace.records()]
        assert trace.ledger is not None
        assert trace.ledger.is_balanced
    assert found == [{"a": a, "b": a << 20, "s": f"n{a}"} for a in range(5)]


def test_the_exit_code_is_the_programs(userevents: Userevents) -> None:
    """Also when a signal ended it, as a shell says it."""
    assert userevents("record", "-q", "--", sys.executable, "-c", "raise SystemExit(7)").returncode == 7
    assert userevents("record", "-q", "--", "sh", "-c", "kill -9 $$").returncode == 128 + signal.SIGKILL


def test_the_trace_is_closed_to_others(userevents: Userevents) -> None:
    """Audit events carry file names and arguments."""
    userevents("record", "-o", "x.dat", "--", "true")
    assert os.stat(userevents.directory / "x.dat").st_mode & 0o777 == 0o600
    assert os.listdir(userevents.directory) == ["x.dat"]


def test_an_unmodified_program_has_something_to_say(userevents: Userevents) -> None:
    """Logging and audit events of a program that knows nothing of us, under their documented names."""
    program = "import logging, subprocess; logging.warning('hello %s', 'you'); open('/etc/hostname').close()"
    done = userevents("record", "--", sys.executable, "-c", program)
    assert done.returncode == 0
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        records = list(trace.records())
    logged = [record.values for record in records if record.event is not None and record.event.name == "py_log"]
    assert [(values["message"], values["logger"]) for values in logged] == [("hello you", "root")]
    opened = [
        record.values["path"] for record in records if record.event is not None and record.event.name == "py_open"
    ]
    assert "/etc/hostname" in opened
    assert "WARNING:root:hello you" in done.stderr


def test_only_events_that_match_are_recorded_also_when_they_are_declared_later(userevents: Userevents) -> None:
    """A pattern holds for present and future events."""
    program = userevents.code(
        """
        emit(0, 3)
        late = [event(name=name)(lambda: None) for name in ("tock", "other")]
        for made in late:
            made()
        """
    )
    wanted = ("-e", "t*", "-e", "othr")
    done = userevents("record", *wanted, "--provider", "none", "--", sys.executable, "-c", program)
    assert names(userevents.directory / "trace.dat") == {"tick": 3, "tock": 1}
    assert done.stderr.startswith("userevents: no event that was declared matches 'othr'; did you mean 'other'?\n")


def test_an_unknown_program_is_said_before_anything_is_made(userevents: Userevents) -> None:
    """127 as in a shell, with what was looked for, and no file left."""
    done = userevents("record", "--", "no-such-program-here")
    assert done.returncode == 127
    assert "'no-such-program-here' was not found" in done.stderr
    assert os.listdir(userevents.directory) == []


def test_a_program_that_no_kernel_can_run_ends_with_126(userevents: Userevents) -> None:
    """As a shell says it: the file is there and executable, and what is in it is no program."""
    program = userevents.directory / "noise"
    program.write_bytes(b"\x7fELF but no more than that")
    program.chmod(0o755)
    done = userevents("record", "--", "./noise")
    assert done.returncode == 126
    assert "'./noise' cannot be started: Exec format error" in done.stderr
    assert os.listdir(userevents.directory) == ["noise"]


def test_an_output_that_cannot_be_written_is_said_before_the_program_starts(userevents: Userevents) -> None:
    """The program must not run for nothing."""
    done = userevents("record", "-o", "missing/trace.dat", "--", "touch", "started")
    assert done.returncode == 1
    assert "missing/trace.dat" in done.stderr
    assert "-o" in done.stderr
    assert os.listdir(userevents.directory) == []


def test_a_size_limit_ends_the_recording_and_not_the_program(userevents: Userevents) -> None:
    """The program goes on to its end and its exit code counts."""
    program = userevents.code("emit(0, 60000); raise SystemExit(3)")
    done = userevents("record", "--max-size", "300K", "--provider", "none", "--", sys.executable, "-c", program)
    assert done.returncode == 3
    assert "--max-size" in done.stderr
    found = names(userevents.directory / "trace.dat")["tick"]
    assert 5000 < found < 60000
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        assert [record.values["a"] for record in trace.records()] == list(range(found))


def test_rotation_keeps_the_newest_files_with_no_event_lost_or_doubled_between_them(userevents: Userevents) -> None:
    """The next file begins where the last one ends."""
    program = userevents.code(
        """
        import time
        other = event(name="other")(lambda: None)
        for start in range(0, 60000, 100):
            emit(start, start + 100)
            other()
            if start % 20000 == 0:
                time.sleep(0.02)
        """
    )
    done = userevents(
        "record", "--max-size", "300K", "--rotate", "3", "--provider", "none", "--", sys.executable, "-c", program
    )
    assert done.returncode == 0, done.stderr
    files = [f for f in ("trace.dat.2", "trace.dat.1", "trace.dat") if (userevents.directory / f).exists()]
    assert len(files) == 3, sorted(os.listdir(userevents.directory))
    assert len(os.listdir(userevents.directory)) == 3
    values: list[object] = []
    for file in files:
        with open_trace(str(userevents.directory / file)) as trace:
            values += [record.values["a"] for record in trace.records() if record.event.name == "tick"]
            assert trace.ledger is not None
            assert trace.ledger.is_balanced, trace.ledger
    assert values == list(range(60000 - len(values), 60000))


@pytest.mark.parametrize("options", [["-I"], ["-E"], ["-IS"]])
def test_a_child_that_cannot_be_reached_is_reported(userevents: Userevents, options: list[str]) -> None:
    """The user is told whose logs and files are missing, on the terminal and in the trace."""
    program = "import time; time.sleep(0.3)"
    done = userevents("record", "--", sys.executable, *options, "-c", program)
    assert re.search(rf"{options[0]}.*not recorded", done.stderr), done.stderr
    assert options[0] in userevents("report", "--summary", "trace.dat").stderr


def test_a_child_started_with_an_empty_environment_is_reported(userevents: Userevents) -> None:
    """Nothing of ours can come through `env -i`."""
    done = userevents("record", "--", "env", "-i", sys.executable, "-c", "import time; time.sleep(0.3)")
    assert "empty environment" in done.stderr


def test_two_programs_that_disagree_on_an_event_are_told_apart(userevents: Userevents) -> None:
    """The second declaration is refused, and how the two differ is said."""
    second = "from userevents import register; register('tick u64 a')(1)"
    program = userevents.code(f"import subprocess, sys\nemit(0, 2)\nsubprocess.run([sys.executable, '-c', {second!r}])")
    done = userevents("record", "--provider", "none", "--", sys.executable, "-c", program)
    assert "'u32 a'" in done.stderr
    assert "'u64 a'" in done.stderr
    assert names(userevents.directory / "trace.dat") == {"tick": 2}


def test_values_of_every_kind_come_through_to_stock_trace_cmd(userevents: Userevents, trace_cmd: str) -> None:
    """Same events, same values, same order in trace-cmd as in our own report."""
    import subprocess

    program = userevents.code("emit(0, 300)")
    userevents("record", "--provider", "none", "--", sys.executable, "-c", program)
    theirs = subprocess.run(
        [trace_cmd, "report", "trace.dat"], cwd=userevents.directory, capture_output=True, text=True, check=True
    ).stdout
    found = [(int(a), int(b), s) for a, b, s in re.findall(r"tick: +a=(\d+) b=(\d+) s=(\S+)", theirs)]
    assert found == [(a, a << 20, f"n{a}") for a in range(300)]
    times = [float(time) for time in re.findall(r"\] +(\d+\.\d+): tick:", theirs)]
    assert times == sorted(times)
