"""`record` and native programs: behind whatever door, in one trace with Python programs, with one ledger."""

import json
import os
import shutil
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.doors.servers import (
    DEVICE,
    MANY_VECTORS,
    NOBODY,
    TRACING,
    in_namespace,
    own_device,
    python_for_nobody,
    wait_for,
)
from tests.system.conftest import Userevents
from userevents.formats.ledger import Ledger
from userevents.formats.trace import open_trace

DATA = str(TRACING / "user_events_data")
BOTH = """
from userevents import event, u32

@event
def tock(number: u32) -> None: ...

for number in range(5):
    tock(number)
"""
QUIET = ("--provider", "none")
Native = Callable[[str], str]


@pytest.fixture
def userevents(runtime_dir: Path, tmp_path: Path, fuse: None) -> Iterator[Userevents]:
    """The command line, with a runtime directory of its own."""
    made = Userevents(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def read(path: Path) -> tuple[list[tuple[str, int]], Ledger]:
    """Name and number of every event in the order of the trace, and the ledger, which has to balance."""
    with open_trace(str(path)) as trace:
        records = list(trace.records())
        ledger = trace.ledger
    assert ledger is not None
    assert ledger.is_balanced, ledger
    assert ledger.total("delivered") == len(records)
    times = [record.ts_ns for record in records]
    assert times == sorted(times)
    assert max(times, default=0) <= time.monotonic_ns()
    return [(record.event.name, int(str(record.values["number"]))) for record in records], ledger


@pytest.mark.parametrize("door", ["auto", "fuse", "seccomp", "socket"])
def test_native_and_python_programs_are_in_one_trace(userevents: Userevents, native: Native, door: str) -> None:
    """A shell that starts a C program, a Python one and again a C program: from the first event on, by time."""
    burst = native("burst")
    script = f'{burst} {DATA} tick 0 1000; {sys.executable} -c "$1"; {burst} {DATA} tick 1000 10'
    done = userevents("record", *QUIET, "--door", door, "--", "sh", "-c", script, "sh", BOTH)
    assert done.stdout == "born: 1\nwritten: 1000\nborn: 1\nwritten: 10\n", done.stderr
    found, ledger = read(userevents.directory / "trace.dat")
    ticks = [("tick", number) for number in range(1010)]
    assert found == [*ticks[:1000], *(("tock", number) for number in range(5)), *ticks[1000:]]
    assert [process.comm for process in ledger.processes if process.comm == "burst"] == ["burst", "burst"]
    assert ledger.total("lost") == 0
    assert "1,015 events of 3 programs" in done.stderr


def test_a_writev_of_many_vectors_is_recorded_whole(userevents: Userevents) -> None:
    """The kernel sends it in parts; the page that it goes to has all of it at once."""
    done = userevents("record", *QUIET, "--door", "seccomp", "--", sys.executable, "-c", MANY_VECTORS)
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        texts = [str(record.values["text"]) for record in trace.records()]
        assert trace.ledger is not None
        assert (trace.ledger.is_balanced, trace.ledger.total("lost")) == (True, 0), done.stderr
    assert texts == [string.ascii_lowercase * 30] * 5


@pytest.mark.parametrize("door", ["fuse", "seccomp"])
def test_records_are_on_the_cpu_of_their_program(userevents: Userevents, native: Native, door: str) -> None:
    """In a recording and in the tree's rings; the first CPU is where records go of which nothing is known."""
    cpu = max(os.sched_getaffinity(0))
    if not cpu:
        pytest.skip("there is one CPU here")
    pinned = [require("taskset"), "-c", str(cpu), native("burst"), DATA, "tick", "0", "50"]
    done = userevents("record", *QUIET, "--door", door, "--", *pinned)
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        assert {record.cpu for record in trace.records()} == {cpu}, done.stderr
    if door == "seccomp":
        return  # files are handed out for writing only: a program cannot look at the tree's rings
    script = """echo 'u:tick u32 number' > $0/dynamic_events; echo 1 > $0/events/user_events/tick/enable
    "$@" > /dev/null; cat $0/per_cpu/cpu*/stats | grep ^entries; cat $0/trace"""
    shown = userevents("run", "-q", "--door", door, "--", "sh", "-c", script, str(TRACING), *pinned).stdout
    entries = [line for line in shown.splitlines() if line.startswith("entries")]
    assert [number for number, line in enumerate(entries) if line != "entries: 0"] == [cpu], shown
    assert shown.count(f"[{cpu:03}]") == 50, shown


@pytest.mark.parametrize("door", ["fuse", "socket"])
def test_only_what_is_chosen_is_recorded(userevents: Userevents, native: Native, door: str) -> None:
    """The bit of an event that no pattern wants stays 0."""
    burst = native("burst")
    script = f"{burst} {DATA} wanted 0 20; {burst} {DATA} other 0 20"
    done = userevents("record", *QUIET, "-e", "want*", "--door", door, "--", "sh", "-c", script)
    assert done.stdout == "born: 1\nwritten: 20\nborn: 0\nwritten: 0\n", done.stderr
    found, _ = read(userevents.directory / "trace.dat")
    assert found == [("wanted", number) for number in range(20)]


@pytest.mark.parametrize("door", ["fuse", "socket"])
def test_a_flight_recording_keeps_the_newest_of_a_native_program(
    userevents: Userevents, native: Native, door: str
) -> None:
    """What gave way to newer events is counted as overwritten."""
    options = ("--flight", "--buffer-size", "64K", "--door", door)
    done = userevents("record", *QUIET, *options, "--", native("burst"), DATA, "tick", "0", "20000")
    assert done.returncode == 0, done.stderr
    found, ledger = read(userevents.directory / "trace.dat")
    assert 500 < len(found) < 10000
    assert found == [("tick", number) for number in range(20000 - len(found), 20000)]
    assert ledger.total("overwritten") == 20000 - len(found)


@pytest.mark.parametrize("door", ["fuse", "socket"])
def test_rotation_loses_no_event_of_a_native_program(userevents: Userevents, native: Native, door: str) -> None:
    """Each file has its own ledger, and together they have every event once."""
    options = ("--max-size", "128K", "--rotate", "100", "--door", door)
    script = f"for part in 0 1 2 3; do {native('burst')} {DATA} tick ${{part}}0000 10000; sleep 0.1; done"
    done = userevents("record", *QUIET, *options, "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    files = sorted(userevents.directory.glob("trace.dat*"), key=lambda path: -int(path.suffix[1:].replace("dat", "0")))
    assert len(files) > 2
    found = [number for path in files for _, number in read(path)[0]]
    assert found == list(range(40000))


def test_a_recorder_joins_the_tracer_of_a_running_program(userevents: Userevents, native: Native) -> None:
    """A second process records what the native programs of `run` write; when that ends, the recording has all of it."""
    script = f"echo ready; read line; {native('burst')} {DATA} tick 0 100"
    running = userevents.start("run", "-q", "--", "sh", "-c", script)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    recorder = userevents.record()
    told, _ = running.communicate("go\n", timeout=30)
    assert told == "born: 1\nwritten: 100\n"
    said = recorder.communicate(timeout=30)[1]
    found, ledger = read(userevents.directory / "trace.dat")
    assert found == [("tick", number) for number in range(100)], said
    assert ledger.complete


def test_one_native_process_can_be_chosen(userevents: Userevents, native: Native) -> None:
    """`record -p` and `list` know the native programs of the tracer that they use; no other one is recorded."""
    script = "$0 one > /dev/null & one=$!; $0 two > /dev/null & two=$!; echo $one; read line; kill $one $two"
    running = userevents.start("run", "-q", "--", "sh", "-c", script, f"{native('ticker')} {DATA}")
    assert running.stdout is not None
    pid = running.stdout.readline().strip()

    def listed() -> dict[str, dict[str, object]]:
        return {item["event"]: item for item in map(json.loads, userevents("list", "--json").stdout.splitlines())}

    wait_for(lambda: {"one", "two"} <= listed().keys())
    told = {"pid": int(pid), "native": True, "state": "off", "fields": "u32 number", "attempts": None, "dropped": None}
    assert listed()["one"].items() >= (told | {"uid": os.getuid(), "multi_format": False}).items()
    assert "/ticker " in userevents("list", "one").stdout
    assert not userevents("list", "--json", "-p", str(os.getpid())).stdout
    assert f"pid {pid} off (ticker)" in userevents("info", "one").stdout
    done = userevents("record", "-p", pid, "--duration", "500ms")
    running.communicate("go\n", timeout=20)
    found, _ = read(userevents.directory / "trace.dat")
    assert {name for name, _ in found} == {"one"}, done.stderr


def test_a_python_program_has_no_door_unless_asked(userevents: Userevents) -> None:
    """What does not need one does not pay for it."""
    look = f"import os; print(os.path.exists('{DATA}'))"
    words = ("--", sys.executable, "-c", look)
    had = f"{os.path.exists(DATA)}\n"
    assert userevents("record", *words).stdout == had
    assert (
        userevents("record", "--door", "none", "--", "sh", "-c", f"test -e {DATA} && echo True || echo False").stdout
        == had
    )
    assert userevents("record", "--door", "fuse", *words).stdout == "True\n"


def test_where_no_door_can_be_had_the_program_runs_and_that_is_said(runtime_dir: Path, native: Native) -> None:
    """Inside a supervisor and without a device nothing is left: a Python program is recorded all the same."""
    os.chown(runtime_dir, NOBODY, NOBODY)
    python = python_for_nobody()
    inner = [
        python,
        "-P",
        "-m",
        "userevents",
        "record",
        "-o",
        f"{runtime_dir}/inner/trace.dat",
        "--",
        "sh",
        "-c",
        "echo on",
    ]
    outer = [python, "-P", "-m", "userevents", "run", "-q", "--door", "socket", "--"]
    outer += ["env", f"USEREVENTS_DIR={runtime_dir}/inner", *inner]
    (runtime_dir / "inner").mkdir(mode=0o700)
    os.chown(runtime_dir / "inner", NOBODY, NOBODY)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    words = in_namespace(NOBODY, own_device(0o600), outer)
    done = subprocess.run(words, cwd="/", env=environment, capture_output=True, text=True, timeout=50, check=False)
    shutil.rmtree(runtime_dir / "inner")
    assert done.stdout == "on\n", done.stderr
    assert "what native programs write is not recorded: not fuse: " in done.stderr
    assert f"{DEVICE}: Permission denied" in done.stderr


def test_a_flight_rule_holds_for_native_programs_too(userevents: Userevents, native: Native) -> None:
    """The window of a rule on a native program's event has that program, which is gone, and a Python one."""
    script = f'{native("burst")} {DATA} tick 0 1000; {sys.executable} -c "$1"'
    words = ("--flight", "--on", "tick if number == 900", "--door", "seccomp", "-o", "out", "--after", "20s")
    done = userevents("record", *QUIET, *words, "--", "sh", "-c", script, "sh", BOTH)
    assert done.returncode == 0, done.stderr
    (path,) = (userevents.directory / "out").iterdir()
    found, ledger = read(path)
    assert found == [*(("tick", number) for number in range(1000)), *(("tock", number) for number in range(5))]
    assert ledger.total("lost") == 0
    assert "RULE: 'tick if number == 900' held at " in userevents("report", "-n", "1", str(path)).stdout
