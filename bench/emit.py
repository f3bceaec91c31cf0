"""What one event costs, off and on, beside stdlib logging in the same process.

The script records itself: it runs `userevents record` on a child that measures every case in alternating rounds of
its thread's CPU time, once with nobody listening and once recorded. Prints ratios to the peer; times mean nothing.
"""

import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from userevents import event, u32, u64

ROUNDS = 11
CALLS = 4000


@event
def bench_event(number: u32, total: u64, text: str) -> None:
    "Three fields: u32, u64 and a string of 12 characters."


def measure(cases: dict[str, Callable[[int], None]]) -> dict[str, list[float]]:
    """Return each case's CPU times per call, in nanoseconds, one a round."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, run in cases.items():
            start = time.thread_time_ns()
            run(CALLS)
            times[name].append((time.thread_time_ns() - start) / CALLS)
    return times


def child() -> None:
    """Measure in this process, recorded or not, and print the ratios."""
    with tempfile.TemporaryDirectory() as directory:
        log = logging.getLogger("bench")
        log.propagate = False
        log.setLevel(logging.INFO)
        log.addHandler(logging.FileHandler(Path(directory) / "log.txt"))

        def call(count: int) -> None:
            for number in range(count):
                bench_event(number, number, "hello world!")

        def guard(count: int) -> None:
            for _ in range(count):
                if bench_event:
                    pass

        def debug(count: int) -> None:
            for number in range(count):
                log.debug("%d %d %s", number, number, "hello world!")

        def to_file(count: int) -> None:
            for number in range(count):
                log.info("%d %d %s", number, number, "hello world!")

        on = bool(bench_event)
        times = measure(
            {"event(...)": call, "if event:": guard, "logging.debug below level": debug, "logging": to_file}
        )
    peer = "logging" if on else "logging.debug below level"
    word = "on" if on else "off"
    name = "logging to a file" if on else peer
    for case in ("event(...)", "if event:"):
        ratios = [mine / theirs for mine, theirs in zip(times[case], times[peer], strict=True)]
        print(
            f"{case:<12}{word:>4} / {name:<28}{min(times[case]) / min(times[peer]):>8.2f} of minima"
            f"{statistics.median(ratios):>8.2f} median  ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def main() -> None:
    """Run the child off, then on."""
    if sys.argv[1:] == ["child"]:
        child()
        return
    with tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm") as directory:
        env = {**os.environ, "USEREVENTS_DIR": directory}
        command = [sys.executable, __file__, "child"]
        subprocess.run(command, env=env, check=True)
        record = [sys.executable, "-m", "userevents", "record", "-q", "--provider", "none", "-o", f"{directory}/t.dat"]
        subprocess.run([*record, "--", *command], env=env, check=True)


if __name__ == "__main__":
    main()
