"""What starting costs: `import userevents`, the injected providers and `--help`, beside a bare `python -c pass`.

Whole processes, alternating, so that what slows the machine slows all of them. Prints ratios of the minima and
of the medians; a single time means nothing on a shared machine.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from userevents.providers import DEFAULT
from userevents.providers.environment import child_environment

ROUNDS = 25
GOALS = {"import userevents": 3.0, "userevents --help": 8.0}


def main() -> None:
    """Run every case once a round and print the table."""
    directory = tempfile.mkdtemp(prefix="userevents-bench-", dir="/dev/shm")
    plain = {**os.environ, "USEREVENTS_DIR": directory}
    injected = child_environment(plain, DEFAULT, "bench")
    python = sys.executable
    cases = {
        "python -c pass": ([python, "-c", "pass"], plain),
        "import typing": ([python, "-c", "import typing"], plain),
        "import userevents": ([python, "-c", "import userevents"], plain),
        "providers injected": ([python, "-c", "pass"], injected),
        "userevents --help": ([str(Path(python).parent / "userevents"), "--help"], plain),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, (command, env) in cases.items():
            start = time.perf_counter()
            subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)
            times[name].append(time.perf_counter() - start)
    base = times["python -c pass"]
    print(f"{'start-up, ' + str(ROUNDS) + ' rounds':<24}{'of minima':>10}{'of medians':>12}{'goal':>6}")
    for name, found in times.items():
        goal = f"{GOALS[name]:g}" if name in GOALS else ""
        ratio, median = min(found) / min(base), statistics.median(found) / statistics.median(base)
        print(f"{name:<24}{ratio:>9.2f}x{median:>11.2f}x{goal:>6}")
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
