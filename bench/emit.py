"""What one event costs, off and on, in C and in pure Python, beside stdlib logging in the same process.

The script runs itself as a child: alone and under `userevents record`, each with the C writer and without. A child
runs every case once a round, all in turn, by its thread's CPU time above an empty loop's. Prints how many times the
event's cost the peer's is: of the minima, the median, and the range over the rounds. Times by themselves mean nothing.
"""

import gc
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from userevents.client.native import native

sys.path.insert(0, str(Path(__file__).resolve().parent / "workers"))
from cases import bench_event, call, empty, guard, write

ROUNDS = 15
CALLS = 4000
GOALS = {
    ("off", "C", "if event:"): 15,
    ("off", "C", "event(...)"): 6,
    ("on", "C", "event(...)"): 90,
    ("on", "Python", "event(...)"): 8,
}
LOGGED = "logging"


def cases(log: logging.Logger, on: bool) -> dict[str, Callable[[int], None]]:
    """Return the loops to measure, the empty one first."""

    def keywords(count: int) -> None:
        for number in range(count):
            bench_event(number=number, total=number, text="hello world!")

    def debug(count: int) -> None:
        for number in range(count):
            log.debug("%d %d %s", number, number, "hello world!")

    def to_file(count: int) -> None:
        for number in range(count):
            log.info("%d %d %s", number, number, "hello world!")

    ours = {"if event:": guard, "event(...)": call, "event.write(...)": write, "event(a=..., ...)": keywords}
    return {"empty": empty, **ours, LOGGED: to_file if on else debug}


def measure(loops: dict[str, Callable[[int], None]]) -> dict[str, list[float]]:
    """Return each case's CPU times per call above the fastest empty loop, in nanoseconds, one a round."""
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(ROUNDS):
        for name, run in loops.items():
            start = time.thread_time_ns()
            run(CALLS)
            times[name].append((time.thread_time_ns() - start) / CALLS)
    empty = min(times.pop("empty"))
    return {name: [time - empty for time in found] for name, found in times.items()}


def child() -> None:
    """Measure in this process, recorded or not, and print the ratios."""
    with tempfile.TemporaryDirectory() as directory:
        log = logging.getLogger("bench")
        log.propagate = False
        log.setLevel(logging.INFO)
        log.addHandler(logging.FileHandler(Path(directory) / "log.txt"))
        on = bool(bench_event)
        gc.disable()
        times = measure(cases(log, on))
    theirs = times.pop(LOGGED)
    word, made = "on" if on else "off", "C" if native else "Python"
    print(f"{made}, {word}; the peer is logging {'to a file' if on else 'below its level'}: {min(theirs):.0f} ns")
    for case, mine in times.items():
        ratios = sorted(peer / own for own, peer in zip(mine, theirs, strict=True))
        goal = GOALS.get((word, made, case))
        print(
            f"  {case:<18}1/{min(theirs) / min(mine):<7.1f}median 1/{statistics.median(ratios):<7.1f}"
            f"(1/{ratios[0]:.1f} to 1/{ratios[-1]:.1f}){f'   goal 1/{goal}' if goal else ''}"
        )
    stats = bench_event.stats
    if stats["attempts"]:
        print(f"  {stats['attempts']} written or dropped, {stats['ring_full']} of them for a full ring")


def main() -> None:
    """Run the child off, then on, in C, then in Python."""
    if sys.argv[1:] == ["child"]:
        child()
        return
    with tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm") as directory:
        command = [sys.executable, __file__, "child"]
        record = [sys.executable, "-m", "userevents", "record", "-q", "--provider", "none", "-o", f"{directory}/t.dat"]
        for chosen in ("1", "0"):
            env = {**os.environ, "USEREVENTS_DIR": directory, "USEREVENTS_NATIVE": chosen}
            subprocess.run(command, env=env, check=True)
            subprocess.run([*record, "--", *command], env=env, check=True)


if __name__ == "__main__":
    main()
