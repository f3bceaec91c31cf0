"""One event of ours beside the same event of every peer, in one run: `./dev bench peers`.

Each peer is a process of its own, set up as its users set it up. In every round each process has its turn with every
case, so that what slows the machine slows all: a few short runs, each right after an equal run of the empty loop, and
of the differences the median. Printed are ratios of ours to theirs, with their spread over the rounds (a tenth left out
at either end); single times mean nothing on a shared machine. A peer that is not installed is named and left out.

Times are CPU time of the calling thread, of the whole process for peers that work in the background, and wall time for
the native program, whose write waits for the server of the file system.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))
from driver import CACHE, WORKERS, Worker, peer_python, recorder, runtime
from results import Row, keep, print_rows, wait_until_quiet

ROUNDS = 25
WARM_UP = 3

ON, PURE_ON, OFF = "ours, recorded", "ours in pure Python, recorded", "ours, nobody listens"


class Goal(NamedTuple):
    """`case` shall take at most `ratio` times what `peer` takes."""

    case: tuple[str, str]
    peer: tuple[str, str]
    ratio: float | None


NATIVE = "C user_events program, our FUSE door"
DEBUG = (OFF, "debug")
CALL = (ON, "call")
GOALS = [
    Goal((OFF, "guard"), DEBUG, 1 / 15),
    Goal((OFF, "call"), DEBUG, 1 / 6),
    Goal((OFF, "write"), DEBUG, None),
    Goal((OFF, "truth of 0.0"), DEBUG, None),
    Goal((OFF, "guard"), (OFF, "truth of 0.0"), None),
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
    Goal(CALL, (NATIVE, "write"), None),
    Goal(CALL, (PURE_ON, "call"), None),
    Goal((PURE_ON, "call"), ("logging", "file"), 1 / 8),
]


def main() -> None:
    """Start all, measure in rounds, print."""
    began = time.monotonic()
    notes = []
    with (
        tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm") as directory,
        contextlib.ExitStack() as stack,
    ):
        workers: dict[str, Worker] = {}
        for name, start in peers(Path(directory), stack).items():
            try:
                workers[name] = start()
            except subprocess.CalledProcessError as error:
                notes.append(f"left out: {name}: '{error.cmd[0]}' failed")
            except (RuntimeError, OSError) as error:
                notes.append(f"left out: {name}: {error}")
        notes.append(wait_until_quiet())
        for number in range(ROUNDS + WARM_UP):
            for worker in workers.values():
                worker.turn(keep=number >= WARM_UP)
        notes += [f"{name}: {said}" for name, worker in workers.items() if (said := worker.end())]
    rows = list(compare(workers))
    print_rows(rows)
    print("\n".join(notes))
    keep("peers", rows, notes=notes, seconds=time.monotonic() - began)
    CACHE.mkdir(parents=True, exist_ok=True)
    times = {name: worker.times for name, worker in workers.items()}
    (CACHE / "peers.json").write_text(json.dumps(times, indent=1))


def peers(directory: Path, stack: contextlib.ExitStack) -> dict[str, Callable[[], Worker]]:
    """Return how to start each peer."""
    ours = [sys.executable, str(WORKERS / "ours.py")]
    base, off = runtime(directory, "runtime"), runtime(directory, "quiet")
    logs = str(directory)
    others = peer_python()

    def recorded(env: dict[str, str]) -> Worker:
        stack.enter_context(recorder(directory, base))
        return Worker(ours, env)

    def built(source: str) -> str:
        made = str(directory / f"{source}-worker")
        flags = ["-llttng-ust", "-ldl"] if source == "lttng" else []
        command = ["gcc", "-O2", "-I", str(WORKERS), "-o", made, str(WORKERS / f"{source}.c"), *flags]
        subprocess.run(command, check=True)
        return made

    def compiled(source: str, *arguments: str, env: dict[str, str] | None = None) -> Worker:
        return Worker([built(source), *arguments], env)

    def native() -> Worker:
        run = [sys.executable, "-m", "userevents", "run", "-q", "--", built("native")]
        return Worker(run, runtime(directory, "native"))

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
        NATIVE: native,
        "trace_marker from C": lambda: compiled("marker", tracefs),
        "trace_marker from Python": lambda: python("marker", tracefs),
    }


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


def compare(workers: dict[str, Worker]) -> Iterator[Row]:
    """Yield the ratios that were asked for, of those that came up."""
    for goal in GOALS:
        if goal.case[0] in workers and goal.peer[0] in workers:
            mine = workers[goal.case[0]].times[goal.case[1]]
            theirs = workers[goal.peer[0]].times[goal.peer[1]]
            ratios = sorted(one / other for one, other in zip(mine, theirs, strict=True))
            edge = len(ratios) // 10
            names = ", ".join(goal.case), ", ".join(goal.peer)
            best = min(mine) / min(theirs)
            yield Row(*names, best, statistics.median(ratios), ratios[edge], ratios[-edge - 1], goal.ratio)


if __name__ == "__main__":
    main()
