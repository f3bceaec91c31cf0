"""Two programs writing at the same time against one alone: thread CPU time of an enabled call. `./dev bench producers`.

Both are recorded. A round measures the one alone, then both at once; every program has a ring of its own, so what is
left is the machine's: caches, the memory bus, and whoever drains. Goal: at most 1.4 times.
"""

import contextlib
import os
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from peers import WORKERS, Worker, recorder

ROUNDS = 15
GOAL = 1.4


def call(worker: Worker) -> float:
    """Return nanoseconds of one enabled call."""
    return worker.measure("call")


def main() -> None:
    """Measure in rounds and print the ratio."""
    alone: list[float] = []
    both: list[float] = []
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm")))
        (directory / "runtime").mkdir(mode=0o700)
        env = {**os.environ, "USEREVENTS_DIR": str(directory / "runtime")}
        stack.enter_context(recorder(directory, env))
        workers = [Worker([sys.executable, str(WORKERS / "ours.py")], env) for _ in range(2)]
        pool = stack.enter_context(ThreadPoolExecutor(2))
        for number in range(ROUNDS + 3):
            first = call(workers[0])
            pair = list(pool.map(call, workers))
            if number >= 3:
                alone.append(first)
                both.append(statistics.mean(pair))
        facts = [worker.end() for worker in workers]
    ratios = [two / one for one, two in zip(alone, both, strict=True)]
    print(
        f"two programs / one: {min(both) / min(alone):.2f} of minima, {statistics.median(ratios):.2f} median "
        f"({min(ratios):.2f} to {max(ratios):.2f}); goal {GOAL}"
    )
    print("; ".join(facts))


if __name__ == "__main__":
    main()
