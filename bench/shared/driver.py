"""Driving what is measured: workers that run a case when they are told, and the recorder beside them."""

import contextlib
import os
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

from userevents.session.locks import tracer_lives

BENCH = Path(__file__).resolve().parent.parent
WORKERS = BENCH / "workers"
CACHE = BENCH.parent / ".cache" / "bench"
SLICE_NS = 12_000_000
CHUNKS = 9
MAX_CALLS = 18_000
"""Of all chunks together: fewer events than a ring holds."""
_SETTLE_S = 0.01


class Worker:
    """A peer's process. Raises `RuntimeError` with what it said if it does not come up."""

    def __init__(self, command: list[str], env: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        word, *self.cases = self._out.readline().rstrip("\n").split("\t")
        if word != "ready":
            _, said = self._process.communicate()
            raise RuntimeError(said.strip().rpartition("\n")[2] or "it ended at once")
        self.cases.remove("empty")
        self.calls = dict.fromkeys(self.cases, 10)
        self.times: dict[str, list[float]] = {case: [] for case in self.cases}

    def _ask(self, question: str) -> str:
        self._in.write(f"{question}\n")
        self._in.flush()
        answer = self._out.readline()
        if not answer:
            raise RuntimeError(f"'{question}' ended: {self._process.communicate()[1].strip()[-500:]}")
        return answer.strip()

    def measure(self, case: str) -> float:
        """Return the nanoseconds of a call above the empty loop's: of several short runs the median."""
        count = self.calls[case]
        spent = [int(word) for word in self._ask(f"{case}\t{count}\t{CHUNKS}").split()]
        found = statistics.median(spent) / count
        self.calls[case] = max(10, min(MAX_CALLS, int(SLICE_NS / max(found, 1))) // CHUNKS)
        return max(found, 0.1)

    def turn(self, *, keep: bool) -> None:
        """Run every case once; remember the times if they are to be kept."""
        for case, times in self.times.items():
            found = self.measure(case)
            if keep:
                times.append(found)
            time.sleep(_SETTLE_S)  # whoever reads the events catches up

    def end(self) -> str:
        """End the process and return what it has to tell."""
        try:
            return self._ask("facts\t0")
        finally:
            self._in.close()
            self._process.wait(10)


def runtime(directory: Path, name: str) -> dict[str, str]:
    """Make a runtime directory, and return the environment of programs in it."""
    place = directory / name
    place.mkdir(mode=0o700)
    return {**os.environ, "USEREVENTS_DIR": str(place)}


@contextlib.contextmanager
def recorder(directory: Path, env: dict[str, str]) -> Iterator[int]:
    """Record every program of a runtime directory; give the recorder's pid."""
    command = [sys.executable, "-m", "userevents", "record", "-q", "-o", str(directory / "trace.dat")]
    process = subprocess.Popen(command, env=env)
    try:
        while not tracer_lives(env["USEREVENTS_DIR"]) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.3)
        yield process.pid
    finally:
        process.send_signal(2)
        process.wait(60)


def peer_python() -> str:
    """Return an interpreter that has the peers of PyPI, setting it up the first time."""
    requirements = WORKERS / "requirements.txt"
    place = CACHE / f"python{sys.version_info.major}.{sys.version_info.minor}"
    done = place / "requirements.txt"
    python = str(place / "bin" / "python")
    if not done.exists() or done.read_text() != requirements.read_text():
        print("setting up the peers ...", file=sys.stderr)
        venv.create(place, symlinks=True, clear=True)
        base = getattr(sys, "_base_executable", sys.executable)
        subprocess.run([base, "-m", "pip", "--python", python, "install", "-q", "-r", str(requirements)], check=True)
        done.write_text(requirements.read_text())
    return python
