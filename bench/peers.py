"""One event of ours beside the same event of every peer, in one run: `./dev bench peers`.

Each peer is a process of its own, set up as its users set it up. In every round each process has its turn with every
case (about `SLICE_NS` each), so that what slows the machine slows all; a round's time of a case is that less the empty
loop's in the same process and round. Printed are ratios of ours to theirs, with their spread over the rounds; single
times mean nothing on a shared machine. A peer that is not installed is named and left out.
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

BENCH = Path(__file__).resolve().parent
WORKERS = BENCH / "workers"
CACHE = BENCH.parent / ".cache" / "bench"
ROUNDS = 15
SLICE_NS = 10_000_000
MAX_CALLS = 20_000
SETTLE_S = 0.01

ON, PURE_ON, OFF = "ours, recorded", "ours in pure Python, recorded", "ours, nobody listens"


class Goal(NamedTuple):
    """`case` shall take at most `ratio` times what `peer` takes."""

    case: tuple[str, str]
    peer: tuple[str, str]
    ratio: float | None


DEBUG = (OFF, "debug")
CALL = (ON, "call")
GOALS = [
    Goal((OFF, "guard"), DEBUG, 1 / 15),
    Goal((OFF, "call"), DEBUG, 1 / 6),
    Goal((OFF, "write"), DEBUG, None),
    Goal((OFF, "guard"), (OFF, "debug guard"), None),
    Goal((OFF, "call"), ("structlog", "below level"), None),
    Goal((OFF, "call"), ("loguru", "below level"), None),
    Goal(CALL, ("LTTng-UST from C", "tracepoint"), 0.75),
    Goal(CALL, ("trace_marker from C", "trace_marker_raw"), 1 / 3),
    Goal(CALL, ("trace_marker from C", "trace_marker"), None),
    Goal(CALL, ("trace_marker from Python", "trace_marker_raw"), None),
    Goal(CALL, ("trace_marker from Python", "trace_marker"), None),
    Goal(CALL, ("viztracer", "log_instant"), 1 / 6),
    Goal(CALL, ("viztracer", "log_event"), None),
    Goal(CALL, ("viztracer", "log_var"), None),
    Goal(CALL, ("logging", "file"), 1 / 90),
    Goal(CALL, ("logging", "file with time, pid, tid"), None),
    Goal(CALL, ("logging, queue", "queue"), None),
    Goal(CALL, ("structlog", "JSON file"), None),
    Goal(CALL, ("loguru", "file"), None),
    Goal(CALL, ("OpenTelemetry SDK", "span"), 1 / 220),
    Goal(CALL, ("OpenTelemetry SDK", "log"), None),
    Goal(CALL, ("LTTng-UST agent for Python", "logging handler"), None),
    Goal(CALL, (PURE_ON, "call"), None),
    Goal((PURE_ON, "call"), ("logging", "file"), 1 / 8),
]


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
        self.calls = dict.fromkeys(self.cases, 200)
        self.times: dict[str, list[float]] = {case: [] for case in self.cases if case != "empty"}

    def _ask(self, case: str, count: int) -> str:
        self._in.write(f"{case}\t{count}\n")
        self._in.flush()
        answer = self._out.readline()
        if not answer:
            raise RuntimeError(f"'{case}' ended: {self._process.communicate()[1].strip()[-500:]}")
        return answer.strip()

    def measure(self, case: str) -> float:
        """Return nanoseconds per call."""
        count = self.calls[case]
        spent = int(self._ask(case, count))
        self.calls[case] = max(50, min(MAX_CALLS, int(count * SLICE_NS / max(spent, 1))))
        return spent / count

    def turn(self, *, keep: bool) -> None:
        """Run every case once; remember the times, less the empty loop's, if they are to be kept."""
        loop = self.measure("empty")
        for case, times in self.times.items():
            found = self.measure(case) - loop
            if keep:
                times.append(max(found, 0.1))
            time.sleep(SETTLE_S)  # whoever reads the events catches up

    def end(self) -> str:
        """End the process and return what it has to tell."""
        try:
            return self._ask("facts", 0)
        finally:
            self._in.close()
            self._process.wait(10)


def main() -> None:
    """Start all, measure in rounds, print."""
    with (
        tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm") as directory,
        contextlib.ExitStack() as stack,
    ):
        workers: dict[str, Worker] = {}
        for name, start in peers(Path(directory), stack).items():
            try:
                workers[name] = start()
            except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
                print(f"left out: {name}: {error}")
        wait_until_quiet()
        for number in range(ROUNDS + 3):
            for worker in workers.values():
                worker.turn(keep=number >= 3)
        facts = {name: worker.end() for name, worker in workers.items()}
    show(workers, facts)


def peers(directory: Path, stack: contextlib.ExitStack) -> dict[str, Callable[[], Worker]]:
    """Return how to start each peer."""
    ours = [sys.executable, str(WORKERS / "ours.py")]
    runtime = directory / "runtime"
    quiet = directory / "quiet"
    for made in (runtime, quiet):
        made.mkdir(mode=0o700)
    base = {**os.environ, "USEREVENTS_DIR": str(runtime)}
    off = {**os.environ, "USEREVENTS_DIR": str(quiet)}
    logs = str(directory)
    others = peer_python()

    def recorded(env: dict[str, str]) -> Worker:
        stack.enter_context(recorder(directory, base))
        return Worker(ours, env)

    def compiled(source: str, *arguments: str, env: dict[str, str] | None = None) -> Worker:
        built = directory / f"{source}-worker"
        flags = ["-llttng-ust", "-ldl"] if source == "lttng" else []
        command = ["gcc", "-O2", "-I", str(WORKERS), "-o", str(built), str(WORKERS / f"{source}.c"), *flags]
        subprocess.run(command, check=True)
        return Worker([str(built), *arguments], env)

    def python(script: str, *arguments: str, env: dict[str, str] | None = None) -> Worker:
        return Worker([others, str(WORKERS / f"{script}.py"), *arguments], env)

    lttng = None
    if shutil.which("lttng"):
        lttng = stack.enter_context(lttng_session(directory))
    tracefs = stack.enter_context(marker_instance())
    return {
        OFF: lambda: Worker(ours, off),
        ON: lambda: recorded(base),
        PURE_ON: lambda: Worker(ours, {**base, "USEREVENTS_NATIVE": "0"}),
        "logging": lambda: python("stdlib", logs),
        "logging, queue": lambda: python("stdlib", logs, "queue"),
        "structlog": lambda: python("with_structlog", logs),
        "loguru": lambda: python("with_loguru", logs),
        "OpenTelemetry SDK": lambda: python("with_otel"),
        "viztracer": lambda: python("with_viztracer"),
        "LTTng-UST from C": lambda: compiled("lttng", env=lttng),
        "LTTng-UST agent for Python": lambda: python(
            "with_lttngust", env={**(lttng or os.environ), "PYTHONPATH": "/usr/lib/python3/dist-packages"}
        ),
        "trace_marker from C": lambda: compiled("marker", tracefs),
        "trace_marker from Python": lambda: python("marker", tracefs),
    }


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


@contextlib.contextmanager
def recorder(directory: Path, env: dict[str, str]) -> Iterator[None]:
    """Record every program of a runtime directory."""
    command = [sys.executable, "-m", "userevents", "record", "-q", "-o", str(directory / "trace.dat")]
    process = subprocess.Popen(command, env=env)
    try:
        while not (directory / "runtime" / "tracer.lock").exists():
            time.sleep(0.01)
        time.sleep(0.3)
        yield
    finally:
        process.send_signal(2)
        process.wait(60)


@contextlib.contextmanager
def lttng_session(directory: Path) -> Iterator[dict[str, str]]:
    """Run a session daemon and a session that records the tracepoint and Python's loggers; give its environment."""
    env = {**os.environ, "LTTNG_HOME": str(directory), "LTTNG_UST_REGISTER_TIMEOUT": "5000"}

    def lttng(*words: str) -> None:
        subprocess.run(["lttng", "--no-sessiond", *words], env=env, check=True, stdout=subprocess.DEVNULL)

    daemon = subprocess.Popen(["lttng-sessiond", "--no-kernel", "--quiet"], env=env, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            time.sleep(0.05)
            if not subprocess.run(["lttng", "--no-sessiond", "list"], env=env, capture_output=True).returncode:
                break
        lttng("create", "bench", f"--output={directory / 'lttng'}")
        lttng("enable-channel", "--userspace", "--subbuf-size=2M", "--num-subbuf=8", "channel")
        lttng("enable-event", "--userspace", "--channel=channel", "bench:event")
        lttng("enable-event", "--python", "bench")
        lttng("start")
        yield env
        lttng("destroy", "bench")
    finally:
        daemon.terminate()
        daemon.wait(10)


@contextlib.contextmanager
def marker_instance() -> Iterator[str]:
    """Make a trace instance of the kernel for the markers, where that is allowed."""
    place = Path("/sys/kernel/tracing/instances") / f"userevents-bench-{os.getpid()}"
    try:
        place.mkdir()
    except OSError:
        yield "/sys/kernel/tracing"
        return
    try:
        yield str(place)
    finally:
        for _ in range(50):
            try:
                place.rmdir()
                break
            except OSError:
                time.sleep(0.1)


def wait_until_quiet() -> None:
    """Wait up to half a minute for two seconds in which the machine is less than 8 % busy; say so if there are none."""
    for _ in range(15):
        before = _busy()
        time.sleep(2)
        busy, total = (after - then for after, then in zip(_busy(), before, strict=True))
        if busy < 0.08 * total:
            return
    print("the machine was never quiet: expect a wider spread")


def _busy() -> tuple[int, int]:
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def show(workers: dict[str, Worker], facts: dict[str, str]) -> None:
    """Print the table of goals and what each worker had to tell; keep all times for whoever wants more."""
    print(f"{'case':<44}{'beside':<46}{'minima':>9}{'median':>9}{'range':>17}{'goal':>8}")
    for goal in GOALS:
        if goal.case[0] not in workers or goal.peer[0] not in workers:
            continue
        mine = workers[goal.case[0]].times[goal.case[1]]
        theirs = workers[goal.peer[0]].times[goal.peer[1]]
        ratios = [one / other for one, other in zip(mine, theirs, strict=True)]
        best = min(mine) / min(theirs)
        wish = "" if goal.ratio is None else f"{goal.ratio:.4f}"
        verdict = "" if goal.ratio is None else ("  met" if statistics.median(ratios) <= goal.ratio else "  NOT MET")
        print(
            f"{', '.join(goal.case):<44}{', '.join(goal.peer):<46}{best:>9.4f}{statistics.median(ratios):>9.4f}"
            f"{f'{min(ratios):.4f}-{max(ratios):.4f}':>17}{wish:>8}{verdict}"
        )
    for name, said in facts.items():
        if said:
            print(f"{name}: {said}")
    CACHE.mkdir(parents=True, exist_ok=True)
    times = {name: worker.times for name, worker in workers.items()}
    (CACHE / "peers.json").write_text(json.dumps(times, indent=1))


if __name__ == "__main__":
    main()
