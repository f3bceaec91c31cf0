"""What recording costs a service that emits 10,000 events a second: `./dev bench overhead`.

One process of bench/workers/service.py serves all the time; a recorder comes and goes beside it. Pairs of phases,
recorded and not, in changing order; measured is the CPU time that the service's process takes for the same requests,
system calls and all. Goal: at most 1.02 times, of the medians; the interval is a bootstrap's, 95 %. How much of a core
the recorder itself takes is told too.
"""

import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))
from driver import WORKERS, recorder, runtime
from results import Row, keep, print_rows

PAIRS = 40
SECONDS = 0.5
GOAL = 1.02
RESAMPLES = 4000


class Service:
    """The service's process."""

    def __init__(self, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(WORKERS / "service.py")],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def serve(self, *, recorded: bool) -> int:
        """Serve for a phase; return its CPU time in nanoseconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(SECONDS, "on" if recorded else "off", file=self._process.stdin, flush=True)
        spent, attempts, lost = map(int, self._process.stdout.readline().split())
        if bool(attempts) != recorded or lost:
            raise RuntimeError(f"a phase, recorded: {recorded}, made {attempts} events and lost {lost}")
        return spent

    def end(self) -> None:
        """End it."""
        self._process.communicate()


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def interval(on: Sequence[int], off: Sequence[int]) -> tuple[float, float]:
    """Return between what the ratio of medians lies, if other pairs of the same kind had been measured: 95 %."""
    chance = random.Random(1)
    pairs = list(zip(on, off, strict=True))
    ratios = []
    for _ in range(RESAMPLES):
        drawn = chance.choices(pairs, k=len(pairs))
        ratios.append(statistics.median(one for one, _ in drawn) / statistics.median(other for _, other in drawn))
    ratios.sort()
    return ratios[RESAMPLES // 40], ratios[-RESAMPLES // 40]


def main() -> None:
    """Measure in pairs and print the ratio."""
    began = time.monotonic()
    times: dict[bool, list[int]] = {True: [], False: []}
    recorder_s = 0.0
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm")))
        env = runtime(directory, "runtime")
        service = Service(env)
        for number in range(PAIRS + 1):
            for recorded in (True, False) if number % 2 else (False, True):
                with recorder(directory, env) if recorded else contextlib.nullcontext(0) as pid:
                    before = cpu_s(pid) if pid else 0.0
                    spent = service.serve(recorded=recorded)
                    recorder_s += cpu_s(pid) - before if pid and number else 0.0
                if number:  # the first pair warms up
                    times[recorded].append(spent)
        service.end()
    on, off = times[True], times[False]
    low, high = interval(on, off)
    ratio = statistics.median(on) / statistics.median(off)
    rows = [
        Row("service at 10,000 events/s, recorded", "not recorded", min(on) / min(off), ratio, low, high, GOAL),
    ]
    share = recorder_s / (PAIRS * SECONDS)
    notes = [f"the recorder beside it took {share:.1%} of a core; {PAIRS} pairs of {SECONDS} s"]
    print_rows(rows)
    print(*notes, sep="\n")
    keep("overhead", rows, notes=notes, seconds=time.monotonic() - began)


if __name__ == "__main__":
    main()
