"""Running the real command line on real programs."""

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "userevents"]

TICK = """
from userevents import event, u32, u64

@event
def tick(a: u32, b: u64, s: str) -> None:
    "Fields that check each other."

def emit(start, stop):
    for a in range(start, stop):
        tick(a, a << 20, f"n{a}")
"""


class Userevents:
    """The command line, in a directory of its own. Whatever it started is killed at the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[subprocess.Popen[str]] = []

    def __call__(
        self, *words: str, timeout: float = 50, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*COMMAND, *words],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=env,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command."""
        return self.popen([*COMMAND, *words])

    def record(self, *words: str) -> subprocess.Popen[str]:
        """Start a recorder of every program, and wait until it records."""
        recorder = self.start("record", *words)
        assert recorder.stderr is not None
        said = [recorder.stderr.readline()]
        while said[-1] and "recording;" not in said[-1]:
            said.append(recorder.stderr.readline())
        assert said[-1], said
        return recorder

    def python(self, code: str) -> subprocess.Popen[str]:
        """Start a program with the event `tick` and the function `emit`."""
        return self.popen([sys.executable, "-c", self.code(code)])

    def code(self, code: str) -> str:
        """Return the text of a program with the event `tick` and the function `emit`."""
        return TICK + textwrap.dedent(code)

    def popen(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """Start any program."""
        process = subprocess.Popen(
            words, cwd=self.directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen[str], number: int = signal.SIGINT, timeout: float = 50) -> str:
        """End a recorder by a signal and return what it said."""
        process.send_signal(number)
        _, said = process.communicate(timeout=timeout)
        return said


@pytest.fixture
def userevents(runtime_dir: Path, tmp_path: Path) -> Iterator[Userevents]:
    """The command line, with a runtime directory of its own."""
    made = Userevents(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Wait for a condition, at most 20 seconds."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come about in 20 s"
            time.sleep(0.01)

    return wait
