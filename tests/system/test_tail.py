"""`userevents tail` beside real programs: what comes, how soon, what is left out, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import COMMAND, Userevents

Wait = Callable[[Callable[[], bool]], None]
ON_DEMAND = """
print("go", flush=True)
for line in iter(input, ""):
    emit(*map(int, line.split()))
    print("done", flush=True)
"""


def ask(program: "subprocess.Popen[str]", words: str) -> None:
    """Have the program emit from one number to another, or end for no words, and wait until it has."""
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(f"{words}\n")
    program.stdin.flush()
    if words:
        assert program.stdout.readline() == "done\n"
    else:
        assert program.wait(20) == 0


def on(userevents: Userevents) -> bool:
    """Whether the program's event is on."""
    listed = [json.loads(line) for line in userevents("list", "--json").stdout.splitlines()]
    return any(item["event"] == "tick" and item["state"] == "on" for item in listed)


@pytest.fixture
def program(userevents: Userevents) -> "subprocess.Popen[str]":
    """A program that emits when it is told to."""
    process = userevents.python(ON_DEMAND)
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    return process


@pytest.mark.parametrize("beside", [True, False], ids=["beside a tracer", "as the tracer"])
def test_events_are_shown_as_they_happen(
    userevents: Userevents, program: "subprocess.Popen[str]", wait_until: Wait, beside: bool
) -> None:
    """Exact, filtered, in order, within a second; -n ends it."""
    recorder = userevents.record("-e", "nothing", "--provider", "none", "-o", "n.dat") if beside else None
    tail = userevents.start("tail", "tick", "--where", "a >= 50 && a != 60", "--json", "-n", "100")
    wait_until(lambda: on(userevents))
    since = time.monotonic()
    ask(program, "0 100")
    assert tail.stdout is not None
    records: list[dict[str, Any]] = [json.loads(tail.stdout.readline()) for _ in range(49)]
    assert time.monotonic() - since < 1.0 or os.getloadavg()[0] > 2
    wanted = [a for a in range(50, 100) if a != 60]
    assert [record["fields"] for record in records] == [{"a": a, "b": a << 20, "s": f"n{a}"} for a in wanted]
    assert {(record["pid"], record["event"]) for record in records} == {(program.pid, "tick")}
    assert [record["ts_ns"] for record in records] == sorted(record["ts_ns"] for record in records)
    ask(program, "100 200")
    rest, said = tail.communicate(timeout=20)
    assert [json.loads(line)["fields"]["a"] for line in rest.splitlines()] == list(range(100, 151))
    assert (tail.returncode, "Traceback" in said) == (0, False)
    ask(program, "")
    if recorder:
        userevents.end(recorder)


def test_an_event_that_comes_later_is_taken_up(userevents: Userevents, wait_until: Wait) -> None:
    """It says that it waits; Ctrl-C ends it with exit code 0."""
    tail = userevents.start("tail", "ti*")
    assert tail.stderr is not None
    assert "no event matches 'ti*' yet" in tail.stderr.readline()
    program = userevents.python(ON_DEMAND)
    assert program.stdout is not None
    assert program.stdout.readline() == "go\n"
    wait_until(lambda: on(userevents))
    ask(program, "7 8")
    assert tail.stdout is not None
    assert tail.stdout.readline().split()[-4:] == ["tick:", "a=7", "b=7340032", "s=n7"]
    tail.send_signal(signal.SIGINT)
    tail.communicate(timeout=20)
    assert tail.returncode == 0
    ask(program, "")


def test_a_wrong_filter_is_shown_with_its_caret(userevents: Userevents, program: "subprocess.Popen[str]") -> None:
    """As `set-filter` shows it; exit code 1."""
    recorder = userevents.record("-e", "nothing", "--provider", "none", "-o", "n.dat")
    done = userevents("tail", "tick", "--where", "zz == 1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Field not found" in done.stderr
    assert "    Command: zz == 1" in done.stderr.replace("      Command", "    Command")
    ask(program, "")
    userevents.end(recorder)


def test_a_pipe_that_ends_early_ends_it(
    userevents: Userevents, program: "subprocess.Popen[str]", wait_until: Wait
) -> None:
    """Also while nothing comes; the event is off again, and no instance is left."""
    recorder = userevents.record("-e", "nothing", "--provider", "none", "-o", "n.dat")
    read, write = os.pipe()
    tail = subprocess.Popen([*COMMAND, "tail", "tick"], stdout=write, stderr=subprocess.PIPE, cwd=userevents.directory)
    os.close(write)
    wait_until(lambda: on(userevents))
    ask(program, "0 3")
    assert os.read(read, 1)
    os.close(read)
    _, said = tail.communicate(timeout=20)
    assert (tail.returncode, said) == (0, b"")
    assert [name for name in userevents("cat", "instances").stdout.split() if name.startswith("live")] == []
    wait_until(lambda: not on(userevents))
    ask(program, "")
    userevents.end(recorder)


def test_what_comes_too_fast_is_counted_and_told(
    userevents: Userevents, program: "subprocess.Popen[str]", wait_until: Wait
) -> None:
    """Shown and lost make up what was written."""
    recorder = userevents.record("-e", "nothing", "--provider", "none", "-o", "n.dat")
    with open(userevents.directory / "out", "w", encoding="utf-8") as out:
        tail = subprocess.Popen([*COMMAND, "tail", "tick"], stdout=out, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: on(userevents))
    ask(program, "0 10")
    tail.send_signal(signal.SIGSTOP)
    ask(program, "0 120000")
    wait_until(lambda: _fed(userevents) >= 120_000)
    ask(program, "120000 120001")  # which no ring is too full for any more
    tail.send_signal(signal.SIGCONT)
    wait_until(lambda: (userevents.directory / "out").read_bytes().endswith(b"s=n120000\n"))
    tail.send_signal(signal.SIGINT)
    _, said = tail.communicate(timeout=20)
    numbers = re.findall(r"s=n(\d+)\n", (userevents.directory / "out").read_text(encoding="utf-8"))
    assert sorted(numbers[10:], key=int) == numbers[10:]
    shown = len(numbers)
    lost = sum(int(line.split()[1].replace(",", "")) for line in said.splitlines() if "lost" in line or "never" in line)
    assert lost > 0, said
    assert shown + lost == 120_011, said
    ask(program, "")
    userevents.end(recorder)


def _fed(userevents: Userevents) -> int:
    """Return how many records of the program the tracer has taken into rings or lost, by the rings' own counts."""
    total: int = 0
    for instance in userevents("cat", "instances").stdout.split():
        if not instance.startswith("live"):
            continue
        for cpu in userevents("cat", f"instances/{instance}/per_cpu").stdout.split():
            text = userevents("cat", f"instances/{instance}/per_cpu/{cpu}/stats").stdout
            counts = dict(line.split(": ") for line in text.splitlines())
            total += sum(int(counts[what]) for what in ("entries", "overrun", "read events"))
    listed = [json.loads(line) for line in userevents("list", "--json").stdout.splitlines()]
    return total + sum(int(item["dropped"]) for item in listed)


@pytest.mark.leaves_files("the program is killed, and nobody is there to clean up after it")
def test_text_that_would_steer_the_terminal_is_escaped(userevents: Userevents) -> None:
    """As in a report."""
    code = (
        "from userevents import event\n"
        "@event\ndef evil(s: str) -> None: 'x'\n"
        "import time\n"
        "while True: evil('\\x1b[31m\\n\\u202e'); time.sleep(0.01)\n"
    )
    program = userevents.popen([sys.executable, "-c", code])
    done = userevents("tail", "evil", "-n", "1", "-q")
    assert done.stdout.rstrip("\n").endswith("s=\\e[31m\\n\\u202e")
    program.kill()


@pytest.mark.leaves_files
def test_a_tail_whose_tracer_is_killed_ends_and_says_so(
    userevents: Userevents, program: "subprocess.Popen[str]", wait_until: Wait
) -> None:
    """What it says is why it ended, not what putting away its instance then came to."""
    recorder = userevents.record("-e", "nothing", "--provider", "none", "-o", "n.dat")
    tail = userevents.start("tail", "tick")
    wait_until(lambda: on(userevents))
    recorder.kill()
    said = tail.communicate(timeout=20)[1]
    assert (tail.returncode, said.count("the tracer at ")) == (1, 1), said
    assert "Bad file descriptor" not in said
    ask(program, "")
