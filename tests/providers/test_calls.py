"""The calls provider on every newer Python that is here: what is entered and left, and nothing while nobody listens."""

import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import PATIENCE
from userevents.cli import main
from userevents.testing import PrivateTracer

SOURCE: Final = str(Path(__file__).resolve().parents[2] / "src")
APPLICATION: Final = """
import asyncio, sys

def down(n):
    return n if n == 0 else down(n - 1)

def bad():
    raise ValueError

class Cart:
    def add(self):
        return list(self.items())

    def items(self):
        yield 1
        yield 2

async def order():
    await asyncio.sleep(0.005)

def main():
    down(1)
    Cart().add()
    try:
        bad()
    except ValueError:
        pass
    asyncio.run(order())

if __name__ == "__main__":
    main()
"""
SWITCHED: Final = """
import sys, time
from userevents.integrations.calls import watch_calls

def work():
    return sum([n for n in range(10)])

assert watch_calls("__main__:work")
code, tools = work.__code__, (4, 3)
armed = lambda: [sys.monitoring.get_events(tool) or sys.monitoring.get_local_events(tool, code) for tool in tools]

def run_until(wanted):
    deadline = time.monotonic() + 20
    while any(armed()) is not wanted:
        work()
        assert time.monotonic() < deadline
    work()
    print(*armed(), flush=True)
    sys.stdin.readline()

run_until(False)
run_until(True)
run_until(False)
"""


MEANWHILE: Final = """
import sys
from userevents import register
from userevents.providers import calls

def work():
    return 1

enter, leave = register("py_enter u8 a"), register("py_leave u8 a")
probes = calls.watch(["__main__:work"], enter, leave)
probes.watcher.stop()
asked = calls.wanted_name

def ask_slowly(*names):
    probes._switch(False)
    return asked(*names)

calls.wanted_name = ask_slowly
probes._switch(True)
work()
print(probes._names, *(sys.monitoring.get_local_events(tool, work.__code__) for tool in (4, 3)))
"""


def _newer() -> list[str]:
    """Every Python from 3.12 on that can be found, one of each version."""
    found: dict[str, str] = {}
    names = [f"python3.{minor}" for minor in range(12, 20)]
    kept = glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python3.1[2-9]"))
    for path in [sys.executable, *filter(None, map(shutil.which, names)), *kept]:
        ask = "import sys; print(sys.version_info >= (3, 12), sys.version_info[:2], sys.implementation.name)"
        done = subprocess.run([path, "-c", ask], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.startswith("True") and "cpython" in done.stdout:
            found.setdefault(done.stdout, path)
    return [path for _, path in sorted(found.items())]


@pytest.fixture(params=_newer() or [""])
def python(request: pytest.FixtureRequest) -> str:
    """A Python that has sys.monitoring."""
    if not request.param:
        pytest.skip("there is no Python 3.12 or later here")
    return str(request.param)


def _record(tracer: PrivateTracer, python: str, program: str, *patterns: str) -> None:
    """Run a program that nobody changed, as record starts it."""
    from userevents.providers.environment import CALLS_VARIABLE, child_environment

    env = child_environment({**os.environ, CALLS_VARIABLE: " ".join(patterns)}, ["calls"], "")
    done = tracer.run([python, program], env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_functions_are_entered_and_left_with_their_durations(
    user_events: PrivateTracer, python: str, tmp_path: Path
) -> None:
    """Recursion, generators, coroutines and exceptions, in the order in which they happened."""
    (tmp_path / "app.py").write_text(APPLICATION, encoding="utf-8")
    _record(user_events, python, str(tmp_path / "app.py"), "__main__:*")
    told = [
        (record.event.removeprefix("py_"), record.function.removeprefix("__main__:"), record.fields.get("how"))
        for record in user_events.records
        if record.function not in ("__main__:<module>", "__main__:Cart")
    ]
    assert told == [
        ("enter", "main", None),
        ("enter", "down", None),
        ("enter", "down", None),
        ("leave", "down", "return"),
        ("leave", "down", "return"),
        ("enter", "Cart.add", None),
        ("enter", "Cart.items", None),
        ("leave", "Cart.items", "return"),
        ("leave", "Cart.add", "return"),
        ("enter", "bad", None),
        ("leave", "bad", "raise"),
        ("enter", "order", None),
        ("leave", "order", "return"),
        ("leave", "main", "return"),
    ]
    durations = {record.function: record["duration_ns"] for record in user_events["py_leave"]}
    assert durations["__main__:main"] > durations["__main__:order"] > 5_000_000 > durations["__main__:bad"] > 0


def test_only_what_the_patterns_name_is_told(user_events: PrivateTracer, python: str, tmp_path: Path) -> None:
    """A function of a module, and those of another by a glob."""
    (tmp_path / "app.py").write_text(APPLICATION, encoding="utf-8")
    (tmp_path / "go.py").write_text("import app\napp.main()\n", encoding="utf-8")
    _record(user_events, python, str(tmp_path / "go.py"), "app:Cart.*", "app:bad")
    assert [record.function for record in user_events["py_enter"]] == ["app:Cart.add", "app:Cart.items", "app:bad"]


def test_a_function_met_while_it_is_switched_off_is_not_left_armed(python: str) -> None:
    """Another thread switches off, and may do so in the middle of a probe."""
    done = subprocess.run(
        [python, "-c", MEANWHILE], env={**os.environ, "PYTHONPATH": SOURCE}, capture_output=True, text=True
    )
    assert done.stdout == "{} 0 0\n", done.stderr


def test_nothing_is_armed_while_nobody_listens_and_it_needs_no_restart(user_events: PrivateTracer, python: str) -> None:
    """Off: sys.monitoring has no event of ours, anywhere. On and off again: while the program runs."""
    user_events.enable("something_else")
    env = {**os.environ, "PYTHONPATH": SOURCE}
    child = subprocess.Popen(
        [python, "-c", SWITCHED], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "0 0\n"
    assert user_events.records.count == 0
    user_events.enable("py_*")
    child.stdin.write("\n")
    child.stdin.flush()
    assert any(number != "0" for number in child.stdout.readline().split())
    user_events.wait_for("py_leave", function="__main__:work", timeout=10 * PATIENCE)
    user_events.disable("py_*")
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "0 0\n"
    child.communicate("\n", timeout=20 * PATIENCE)
    assert child.returncode == 0


def test_a_program_that_forks_is_not_warned_of_a_thread(user_events: PrivateTracer, python: str) -> None:
    """Python warns of forks with threads. The child's functions are watched, too, and the child can fork."""
    program = """
import os, warnings
from userevents.integrations.calls import watch_calls
warnings.simplefilter("error")

def born(): ...

watch_calls("__main__:born")
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        born()
        if os.fork() == 0:
            born()
        else:
            os.wait()
        os._exit(0)
    os.waitpid(pid, 0)
"""
    done = user_events.run([python, "-c", program], env={**os.environ, "PYTHONPATH": SOURCE})
    assert (done.returncode, done.stderr) == (0, "")
    assert len({record.pid for record in user_events["py_enter"]}) == user_events["py_enter"].count == 40


def test_calls_need_a_program_that_is_started() -> None:
    """A program that runs already is not reached."""
    from click.testing import CliRunner

    for wrong in (":add", ":::", "shop: *", ""):
        done = CliRunner().invoke(main, ["record", "--calls", wrong, "--", "true"])
        assert (done.exit_code, f"'{wrong}' is no MODULE:FUNCTION" in done.stderr) == (2, True)
    done = CliRunner().invoke(main, ["record", "--calls", "shop:*"])
    assert done.exit_code == 2
    assert "add -- PROGRAM" in done.output
