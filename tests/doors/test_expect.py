"""`run --expect` on real programs: Python ones and native ones."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doors.servers import MANY_VECTORS
from tests.system.conftest import COMMAND, TICK
from userevents.cli.expect import verdict
from userevents.cli.expectation import Expectation, Observed

pytestmark = pytest.mark.usefixtures("fuse", "runtime_dir")

WRITES = TICK + "emit(0, 2000)\n"


def expect(*words: str, program: list[str], code: int) -> "subprocess.CompletedProcess[str]":
    """Run a program under expectations; the command ends with `code`."""
    options = [word for text in words for word in (text if text.startswith("--") else f"--expect={text}",)]
    done = subprocess.run(
        [*COMMAND, "run", *options, "--", *program], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == code, done.stderr
    return done


def python(code: str) -> list[str]:
    """A Python program."""
    return [sys.executable, "-c", code]


def test_a_program_that_does_what_is_expected_ends_with_its_own_code() -> None:
    """Every record counts, from the first on; the exit code is the program's, 0 or not."""
    wanted = ("tick==2000", "tick.a==7 == 1", 'tick.s ~ "n1*" && a < 20 == 11', "tock==0")
    assert "4 expectations met" in expect(*wanted, program=python(WRITES), code=0).stderr
    expect(*wanted, program=python(WRITES + "raise SystemExit(3)"), code=3)


def test_what_is_not_met_is_told_with_what_came_instead(tmp_path: Path) -> None:
    """Found count, last records with their fields, near names; exit code 1, and the same for machines."""
    results = tmp_path / "results.json"
    wanted = ("tick>=3000", "tick.a==9999", "tik", "tick")
    done = expect(*wanted, f"--json={results}", program=python(WRITES), code=1)
    assert "3 of 4 expectations not met" in done.stderr
    assert "tick>=3000: 2,000 came, expected >= 3000" in done.stderr
    assert "tick: a=1999 b=2096103424 s=n1999" in done.stderr
    assert "none of 2,000 passed" in done.stderr
    assert "tik: never declared; did you mean 'tick'?" in done.stderr
    facts = json.loads(results.read_text(encoding="utf-8"))
    assert (facts["met"], facts["program_exit_code"], facts["lost"]) == (False, 0, 0)
    assert [item["met"] for item in facts["expectations"]] == [False, False, False, True]
    assert facts["events"] == {"user_events:tick": 2000}


def test_declared_and_never_written_is_not_the_same_as_never_declared() -> None:
    """The message says which, since the way out differs."""
    done = expect("tick", program=python(TICK + "import time; time.sleep(0.5)"), code=1)
    assert "tick: declared, and never written" in done.stderr
    assert "never declared; declared were: none" in expect("tick", program=["true"], code=1).stderr


LEAVES = """
import os
from userevents import register
from userevents.client.runtime import runtime
register("tick u32 a")
runtime.leave()
os._exit(0)
"""


def test_a_program_that_declares_and_is_gone_at_once_has_declared() -> None:
    """It ends before the tracer has looked, in good order, which takes away what is done with."""
    program = ["sh", "-c", 'for i in 1 2 3 4; do "$0" -c "$1"; done', sys.executable, LEAVES]
    assert "tick: declared, and never written" in expect("tick", program=program, code=1).stderr


def test_a_refused_declaration_is_named_with_its_reason(native: Callable[[str], str], tmp_path: Path) -> None:
    """Of Python and of native programs, with who made it; also where the event is another program's."""
    script = """
echo 'u:beat u64 other' > /sys/kernel/tracing/dynamic_events
"$1" -c 'from userevents import register; import time; register("beat u8 b"); time.sleep(0.3)'
for name in beat 'tack nothing a;'; do timeout 0.5 "$0" /sys/kernel/tracing/user_events_data "$name"; done; true"""
    results = tmp_path / "results.json"
    program = ["sh", "-c", script, native("ticker"), sys.executable]
    done = expect("beat>=1", "tack", f"--json={results}", program=program, code=1)
    taken = "was refused: [EADDRINUSE] event 'beat' is already registered with other fields: registered 'u64 other'"
    assert "beat>=1: declared, and never written" in done.stderr
    assert re.search(rf"'beat u8 b' of pid \d+ \(python\S*\) {re.escape(taken)}", done.stderr)
    assert re.search(rf"'beat u32 number' of pid \d+ \(ticker\) {re.escape(taken)}", done.stderr)
    assert "tack: no declaration was accepted" in done.stderr
    told = json.loads(results.read_text(encoding="utf-8"))["expectations"][1]["told"]
    assert re.search(r"'tack nothing a; u32 number' of pid \d+ \(ticker\) was refused: \[EINVAL\]", told[1])


MISTAKES = """
import ctypes, os, struct
fd, libc = os.open("/sys/kernel/tracing/user_events_data", os.O_RDWR), ctypes.CDLL(None)
word, name = ctypes.create_string_buffer(8), ctypes.create_string_buffer(b"beat u32 number")
def register(size, width, address):
    call = struct.pack("<IBBHQQI", size, 0, width, 0, ctypes.addressof(word), address, 0)
    libc.ioctl(fd, ctypes.c_ulong(0xC0082A00), ctypes.create_string_buffer(call))
register(28, 2, ctypes.addressof(name))
register(28, 4, 0)
register(8, 4, ctypes.addressof(name))
"""


def test_a_registration_that_fails_before_its_declaration_is_read_is_told() -> None:
    """An enable word of a wrong size, a name that is not there, a structure of an unknown size."""
    told = expect("beat", "tick==0", program=python(MISTAKES), code=1).stderr
    assert "1 of 2 expectations not met" in told
    assert "beat: no declaration was accepted" in told
    who = r"of pid \d+ \(python\S*\) was refused:"
    assert re.search(rf"'beat u32 number' {who} \[EINVAL\] an enable word of 2 bytes", told)
    assert re.search(rf"a registration {who} \[EFAULT\] the \d+ bytes at 0x0 cannot be read", told)
    assert re.search(rf"a registration {who} \[EINVAL\] a structure of 8 bytes", told)


def test_a_writev_of_many_vectors_comes_whole() -> None:
    """The kernel sends it in parts; its record is looked at once, with all that it has."""
    wanted = ("long==5", 'long.text ~ "*z" == 5', 'long.text ~ "*zz*" == 0')
    assert "3 expectations met" in expect(*wanted, program=python(MANY_VECTORS), code=0).stderr


def test_a_programs_own_failure_wins_and_both_are_told() -> None:
    """The exit code stays the program's when it fails itself, so that no failure hides another."""
    done = expect("tock", program=python(WRITES + "raise SystemExit(7)"), code=7)
    assert "1 of 1 expectation not met (and the program ended with 7)" in done.stderr


def test_a_native_program_and_its_order_are_looked_at(native: Callable[[str], str]) -> None:
    """A C client's events count, its fields are compared, and what came first is known across programs."""
    script = '"$1" /sys/kernel/tracing/user_events_data beat & sleep 0.5; kill $!; exec "$2" -c "$3"'
    program = ["sh", "-c", script, "sh", native("ticker"), sys.executable, WRITES]
    expect("beat>=10", "beat.number==1 == 1", "beat before tick", "tick==2000", program=program, code=0)
    expect("tick before beat", program=program, code=1)


def test_another_program_of_the_user_does_not_count(runtime_dir: Path) -> None:
    """Only what the program and its descendants write is looked at."""
    ready = "print('ready', flush=True); import sys\nfor _ in sys.stdin: emit(0, 10)\n"
    with subprocess.Popen(python(TICK + ready), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        program = python(TICK + "emit(0, 3)\nimport time; time.sleep(0.5)\n")
        other.stdin.write("\n")
        other.stdin.flush()
        expect("tick==3", program=program, code=0)
        other.communicate(timeout=20)


def test_an_expectation_that_says_nothing_is_a_wrong_command_line() -> None:
    """Exit code 2, and the program is not run."""
    assert "compares nothing" in expect("tick.count", program=["false"], code=2).stderr


def test_a_native_program_is_recorded_beside_another_tracer(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch, native: Callable[[str], str], tmp_path: Path
) -> None:
    """With a tracer that is always there `record` is one of its own for the program that needs a door."""
    monkeypatch.delenv("USEREVENTS_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_dir))
    script = """
python -m userevents serve & server=$!; sleep 1
python -m userevents record -o "$3" -- sh -c '
    "$0" /sys/kernel/tracing/user_events_data beat & sleep 0.3; kill $!; python -c "$1"' "$1" "$2"
code=$?; kill $server; wait $server; python -m userevents report "$3" --format json; exit $code
"""
    done = beside(script, native("ticker"), TICK + "emit(0, 5)", str(tmp_path / "t.dat"))
    assert done.returncode == 0, done.stderr
    assert "this recording is apart" in done.stderr
    names = [json.loads(line)["event"] for line in done.stdout.splitlines() if line.startswith("{")]
    assert names.count("tick") == 5
    assert names.count("beat") > 5


def beside(script: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a script where nobody else's tracer is."""
    private = 'mount -t tmpfs tmpfs /dev/shm && exec sh -c "$@"'
    clean = ["unshare", "-m", "--propagation", "private", "sh", "-c", private, "sh"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = os.environ | {"PATH": path}
    return subprocess.run(
        [*clean, script, "sh", *words], env=env, capture_output=True, text=True, timeout=50, check=False
    )


def test_a_run_beside_another_tracer_has_a_tree_of_its_own(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch, native: Callable[[str], str]
) -> None:
    """With a tracer that is always there, a test still counts its own program alone, and says where its tree is."""
    monkeypatch.delenv("USEREVENTS_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_dir))
    script = """
python -m userevents serve & server=$!; sleep 1
python -m userevents run --expect tick==5 --expect beat -- sh -c '
    "$0" /sys/kernel/tracing/user_events_data beat & sleep 0.3; kill $!; python -c "$1"' "$1" "$2"
code=$?; kill $server; wait $server; exit $code
"""
    done = beside(script, native("ticker"), TICK + "emit(0, 5)")
    assert done.returncode == 0, done.stderr
    assert "2 expectations met" in done.stderr
    assert "USEREVENTS_DIR=/dev/shm/userevents-" in done.stderr


def test_a_file_for_results_that_cannot_be_written_is_told_before_the_program_runs(tmp_path: Path) -> None:
    """A suite of an hour should not end with it; where the disk is full at its end the verdict is told all the same."""
    done = expect("beat", f"--json={tmp_path}/absent/results.json", program=["touch", str(tmp_path / "ran")], code=2)
    assert "absent/results.json" in done.stderr
    assert not (tmp_path / "ran").exists()
    done = expect("beat==0", "--json=/dev/full", program=["true"], code=1)
    assert "1 expectation met" in done.stderr
    assert "'/dev/full': No space left on device" in done.stderr


def test_lost_records_are_told_though_the_expectations_are_met(capsys: pytest.CaptureFixture[str]) -> None:
    """`tick==0` is easily met where records were lost."""
    observed = Observed([Expectation("tick==0")])
    observed.lost = 7
    assert verdict(observed, 0, None, quiet=False) == 0
    assert "7 records were lost" in capsys.readouterr().err
