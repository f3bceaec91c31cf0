"""A recorder outlives its tracer, and the next tracer comes: each event is in one of the two files, in none twice.

The recorder stands still at one instant of taking in a batch, which is chosen by what the batch holds, while its tracer
is killed. Then the recorder and the next tracer go on, or die, in every order.

`USEREVENTS_SUCCESSORS=300 ./dev test tests/system/test_successors.py -rP` has all cases, and so many random rounds.
"""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from userevents.formats.trace import open_trace

from .conftest import Userevents

ROUNDS = int(os.environ.get("USEREVENTS_SUCCESSORS", "0"))
Wait = Callable[[Callable[[], bool]], None]

WRITER = """
    import sys
    bool(tick)
    print("go", flush=True)
    for line in sys.stdin:
        first, last, text = line.split()
        for a in range(int(first), int(last)):
            tick(a, a << 20, text)
        print(last, flush=True)
"""
"""Emits what it is told to, and says when it has."""

PAUSED = """
    import os, signal, sys
    from userevents import cli
    from userevents.control import recorder

    def paused(function, before, after):
        def call(self, data):
            is_due = b"PAUSE" in bytes(data)
            for number, is_here in ((0, before), (1, after)):
                if number == 1:
                    result = function(self, data)
                if is_here and is_due:
                    os.kill(os.getpid(), signal.SIGSTOP)
            return result
        return call

    where = sys.argv.pop(1)
    recorder.RawFile.write = paused(recorder.RawFile.write, where == "writing", where == "written")
    recorder.StreamWriter.write = paused(recorder.StreamWriter.write, where == "taken", where == "kept")
    cli.main()
"""
"""A recorder that stops itself once, where it is told, at the batch with the word in it."""


class Writer:
    """A program that emits numbers as it is asked to."""

    def __init__(self, userevents: Userevents) -> None:
        self.process = userevents.python(WRITER)
        self.count = 0
        self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def emit(self, count: int, text: str = "x") -> None:
        """Have it emit so many more."""
        assert self.process.stdin is not None
        print(self.count, self.count + count, text, file=self.process.stdin, flush=True)
        self.count += count
        assert int(self._line()) == self.count

    def kill(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def values(path: Path) -> list[int]:
    """Return field `a` of every event, in order."""
    with open_trace(str(path)) as trace:
        return [record.values["a"] for record in trace.records()]  # type: ignore[misc]


def state(pid: int) -> str:
    """Return the state letter of a process, as /proc tells it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def size_of(path: Path) -> int:
    """Return the size of a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


class Succession:
    """A tracer, a recorder in a process of its own, a program; and the files that come of it."""

    def __init__(self, userevents: Userevents, wait_until: Wait, where: str) -> None:
        self.userevents, self.wait_until = userevents, wait_until
        self.tracer = userevents.start("serve")
        assert self.tracer.stderr is not None
        self.tracer.stderr.readline()
        self.writer = Writer(userevents)
        words = ["record", "--provider", "none", "-o", "first.dat"]
        self.recorder = userevents.popen([sys.executable, "-c", textwrap.dedent(PAUSED), where, *words])
        assert self.recorder.stderr is not None
        assert "recording;" in self.recorder.stderr.readline()
        self.raw = userevents.directory / "first.dat.part"
        self.writer.emit(20)
        self.wait_until(lambda: b"x\0\0" in self.raw.read_bytes())

    def stop(self, where: str) -> None:
        """Have the recorder stand still where it shall, with ten events on their way."""
        if where == "asking":
            os.kill(self.recorder.pid, signal.SIGSTOP)
            self.wait_until(lambda: state(self.recorder.pid) == "T")
            self.writer.emit(10)
            time.sleep(0.3)  # the tracer hands them on; if it has not by then, there is nothing to double
        else:
            self.writer.emit(10, "PAUSE")
            self.wait_until(lambda: state(self.recorder.pid) == "T")

    def kill_tracer(self) -> None:
        """Kill it, and have the program emit what nobody takes for now."""
        self.tracer.kill()
        self.tracer.wait()
        self.writer.emit(10)

    def go_on(self) -> None:
        """Have the recorder go on, and wait for its end."""
        os.kill(self.recorder.pid, signal.SIGCONT)
        _, said = self.recorder.communicate(timeout=30)
        assert self.recorder.returncode == 0, said
        assert "tracer" in said

    def kill_recorder(self) -> None:
        """Kill it as it stands."""
        self.recorder.kill()
        self.recorder.wait()

    def successor(self, output: str = "second.dat") -> "subprocess.Popen[str]":
        """Start the next tracer, which records, too."""
        return self.userevents.record("--provider", "none", "-o", output)

    def end(self, successor: "subprocess.Popen[str]") -> None:
        """End the next tracer, once it has what is emitted now."""
        self.writer.emit(10)
        self.userevents.end(successor)
        self.writer.kill()

    def examine(self, *names: str) -> None:
        """Hold the union of both files to what was emitted."""
        found = [number for name in names for number in values(self.userevents.directory / name)]
        assert found == list(range(self.writer.count))


WHERE = ("asking", "taken", "writing", "written", "kept")
ORDERS = ("ends, successor", "successor, ends", "dies, successor", "successor, dies")
"""What happens to the recorder before or after the next tracer begins."""
TELLING = {("asking", ORDERS[1]), ("writing", ORDERS[1]), ("written", ORDERS[3]), ("kept", ORDERS[0])}
"""The cases that every run has: one for each of what the mending is made of."""
CASES = [(where, order) for where in WHERE for order in ORDERS if ROUNDS or (where, order) in TELLING]


@pytest.mark.leaves_files("a killed program leaves its files to the next tracer's start")
@pytest.mark.parametrize(("where", "order"), CASES)
def test_no_event_is_in_two_recordings_or_in_none(
    userevents: Userevents, wait_until: Wait, where: str, order: str
) -> None:
    """Whatever instant the tracer dies at, and whoever goes on first."""
    both = Succession(userevents, wait_until, where)
    both.stop(where)
    both.kill_tracer()
    recorder = both.go_on if "ends" in order else both.kill_recorder
    if order.endswith("successor"):
        recorder()
        successor = both.successor()
    else:
        successor = both.successor()
        recorder()
    both.end(successor)
    if "dies" in order:
        assert userevents("recover", "first.dat.part").returncode == 0
    both.examine("first.dat", "second.dat")


@pytest.mark.leaves_files("a killed program leaves its files to the next tracer's start")
def test_a_killed_recorder_that_is_started_again_with_the_same_output_doubles_nothing(
    userevents: Userevents, wait_until: Wait
) -> None:
    """It moves the file of the killed one aside, before it becomes the tracer and reads what that one has."""
    both = Succession(userevents, wait_until, "kept")
    both.stop("kept")
    both.kill_tracer()
    both.kill_recorder()
    successor = both.successor("first.dat")
    both.end(successor)
    assert userevents("recover", "first.dat.killed-1.part").returncode == 0
    both.examine("first.dat.killed-1", "first.dat")


@pytest.mark.skipif(not ROUNDS, reason="USEREVENTS_SUCCESSORS=300 asks for so many rounds")
@pytest.mark.leaves_files("a killed program leaves its files to the next tracer's start")
@pytest.mark.time_limit(60 + 12 * ROUNDS)
def test_random_deaths_of_tracers_and_recorders_double_nothing_and_lose_nothing(userevents: Userevents) -> None:
    """A program writes on; all the files of a long line of recorders have each event once, and each ledger says so."""
    program = userevents.python(
        """
        import sys, time
        bool(tick)
        print("go", flush=True)
        for a in range(0, 1 << 40, 10):
            emit(a, a + 10)
            time.sleep(0.001)
        """
    )
    assert program.stdout is not None
    program.stdout.readline()
    luck = random.Random(ROUNDS)
    tracer, recorder, names = serve(userevents), recording(userevents, "0.dat"), ["0.dat"]
    found: list[int] = []
    for number in range(1, ROUNDS + 1):
        time.sleep(luck.uniform(0.05, 0.3))
        if luck.random() < 0.5:
            os.kill(recorder.pid, signal.SIGSTOP)
            time.sleep(luck.uniform(0, 0.02))
        tracer.kill()
        tracer.wait()
        output = luck.choice(["0.dat", f"{number}.dat"])
        dies, is_first = luck.random() < 0.5, luck.random() < 0.5 or output == names[-1]
        part, done = userevents.directory / f"{names[-1]}.part", userevents.directory / f"{number - 1}.done"
        if is_first:
            end(recorder, dies=dies)
            is_left = part.exists()  # it may have been quicker than its killer
            if not is_left:
                (userevents.directory / names[-1]).rename(done)
        tracer, successor = serve(userevents), recording(userevents, output)
        if not is_first:
            end(recorder, dies=dies)
            is_left = part.exists()
            if not is_left:
                (userevents.directory / names[-1]).rename(done)
        if is_left:
            part = userevents.directory / "0.dat.killed-1.part" if output == names[-1] else part
            assert userevents("recover", part.name, "-o", done.name).returncode == 0
            part.unlink()
        names[-1] = done.name
        found += examined(userevents.directory / names[-1], found)
        recorder = successor
        names.append(output)
        print(f"round {number}: {dies=} {is_first=} {output}: {len(found)} events", flush=True)
    recorder.send_signal(signal.SIGINT)
    recorder.communicate(timeout=30)
    found += examined(userevents.directory / names[-1], found, is_whole=True)
    program.kill()
    program.wait()


def serve(userevents: Userevents) -> "subprocess.Popen[str]":
    """Start a tracer that records nothing itself."""
    tracer = userevents.start("serve")
    assert tracer.stderr is not None
    assert tracer.stderr.readline()
    return tracer


def recording(userevents: Userevents, output: str) -> "subprocess.Popen[str]":
    """Start a recorder that uses it."""
    return userevents.record("--provider", "none", "--buffer-size", "16M", "-o", output)


def end(recorder: "subprocess.Popen[str]", *, dies: bool) -> None:
    """Kill a recorder whose tracer is dead, or let it come to its end."""
    if dies:
        recorder.kill()
        recorder.wait()
        return
    recorder.send_signal(signal.SIGCONT)
    _, said = recorder.communicate(timeout=30)
    assert recorder.returncode == 0, said


def examined(path: Path, before: list[int], *, is_whole: bool = False) -> list[int]:
    """Return the numbers in a recording, which go on where those before end, and are what its ledger says."""
    numbers = values(path)
    with open_trace(str(path)) as trace:
        assert trace.ledger is not None
        [process] = trace.ledger.processes
    first = before[-1] + 1 if before else numbers[0]
    assert numbers == list(range(first, first + len(numbers))), (path, first, numbers[:3], numbers[-3:])
    assert process.lost == 0, str(process)
    assert not is_whole or process.is_balanced, str(process)
    return numbers
