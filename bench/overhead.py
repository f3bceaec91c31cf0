"""What recording costs a service that emits 10,000 events a second: `./dev bench overhead`.

One process of bench/workers/service.py serves all the time; a recorder comes and goes beside it. Phases alternate, not
recorded and recorded; measured is the CPU time that the service's process takes for the same requests, system calls
and all. A machine's own speed changes by more than what is looked for: so each recorded phase is set against the mean
of the two around it, and how far phases that are not recorded differ from their own kind is told beside. Goal: at most
1.02 times, of the median; the interval is a bootstrap's, 95 %. How much of a core the recorder takes is told too.
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


def beside_neighbours(phases: Sequence[int], first: int, away: int) -> list[float]:
    """Return the ratio of every second phase, from `first` on, to the mean of those `away` before and behind it."""
    middle = range(first, len(phases) - away, 2)
    return [2 * phases[at] / (phases[at - away] + phases[at + away]) for at in middle]


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Return between what the median lies, if other phases of the same kind had been measured: 95 %."""
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return medians[RESAMPLES // 40], medians[-RESAMPLES // 40]


def measure(directory: Path) -> tuple[list[int], float]:
    """Serve in turns; return the CPU time of each phase, every second one recorded, and the recorder's."""
    env = runtime(directory, "runtime")
    service = Service(env)
    phases, recorder_s = [], 0.0
    for number in range(2 * PAIRS + 3):
        recorded = number % 2 == 1
        with recorder(directory, env) if recorded else contextlib.nullcontext(0) as pid:
            before = cpu_s(pid) if pid else 0.0
            phases.append(service.serve(recorded=recorded))
            recorder_s += cpu_s(pid) - before if pid and number > 1 else 0.0
    service.end()
    return phases[2:], recorder_s  # the first two warm up


def main() -> None:
    """Measure in turns and print the ratios."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm") as place:
        phases, recorder_s = measure(Path(place))
    rows = []
    for name, peer, first, away, goal in (
        ("service at 10,000 events/s, recorded", "not recorded", 1, 1, GOAL),
        ("service, not recorded", "not recorded, before and after", 2, 2, None),
    ):
        ratios = beside_neighbours(phases, first, away)
        least = min(phases[first::2]) / min(phases[::2])
        rows.append(Row(name, peer, least, statistics.median(ratios), *interval(ratios), goal))
    share = recorder_s / (PAIRS * SECONDS)
    notes = [f"the recorder beside it took {share:.1%} of a core; {PAIRS} pairs of {SECONDS} s"]
    print_rows(rows)
    print(*notes, sep="\n")
    keep("overhead", rows, notes=notes, seconds=time.monotonic() - began)


if __name__ == "__main__":
    main()
