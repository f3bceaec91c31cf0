"""Two programs writing at the same time against one alone: thread CPU time of an enabled call. `./dev bench producers`.

Both are recorded. A round measures the one alone, then both at once; every program has a ring of its own, so what is
left is the machine's: caches, the memory bus, and whoever drains. Goal: at most 1.4 times.
"""

import contextlib
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))
from driver import WORKERS, Worker, recorder, runtime
from results import Row, keep, print_rows

ROUNDS = 25
WARM_UP = 3
SETTLE_S = 0.02
GOAL = 1.4


def call(worker: Worker) -> float:
    """Return nanoseconds of one enabled call."""
    return worker.measure("call")


def main() -> None:
    """Measure in rounds and print the ratio."""
    began = time.monotonic()
    alone: list[float] = []
    both: list[float] = []
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm")))
        env = runtime(directory, "runtime")
        stack.enter_context(recorder(directory, env))
        workers = [Worker([sys.executable, str(WORKERS / "ours.py")], env) for _ in range(2)]
        pool = stack.enter_context(ThreadPoolExecutor(2))
        for number in range(ROUNDS + WARM_UP):
            first = call(workers[0])
            time.sleep(SETTLE_S)
            pair = list(pool.map(call, workers))
            time.sleep(SETTLE_S)
            if number >= WARM_UP:
                alone.append(first)
                both.append(statistics.mean(pair))
        facts = [worker.end() for worker in workers]
    ratios = [two / one for one, two in zip(alone, both, strict=True)]
    best = min(both) / min(alone)
    row = Row("two programs at once", "one alone", best, statistics.median(ratios), min(ratios), max(ratios), GOAL)
    print_rows([row])
    print("; ".join(facts))
    keep("producers", [row], notes=facts, seconds=time.monotonic() - began)


if __name__ == "__main__":
    main()
