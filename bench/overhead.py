"""What recording costs a service that emits 10,000 events a second: `./dev bench overhead`.

Pairs of runs of bench/workers/service.py, recorded and not, in changing order; CPU time of the service's process. Goal:
at most 1.02 times, by the median of the pairs.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from peers import WORKERS, recorder

PAIRS = 40
SECONDS = 0.5
GOAL = 1.02


def run(env: dict[str, str]) -> tuple[int, int]:
    """Return the CPU time of one run, and how many events were written."""
    command = [sys.executable, str(WORKERS / "service.py"), str(SECONDS)]
    spent, written, _ = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.split()
    return int(spent), int(written)


def main() -> None:
    """Measure in pairs and print the ratio."""
    times: dict[str, list[int]] = {"off": [], "on": []}
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm")))
        envs = {}
        for name, place in (("on", directory / "runtime"), ("off", directory / "quiet")):
            place.mkdir(mode=0o700)
            envs[name] = {**os.environ, "USEREVENTS_DIR": str(place)}
        stack.enter_context(recorder(directory, envs["on"]))
        for number in range(PAIRS):
            for name in ("off", "on") if number % 2 else ("on", "off"):
                spent, written = run(envs[name])
                if bool(written) != (name == "on"):
                    raise RuntimeError(f"a run that should be {name} wrote {written} events")
                times[name].append(spent)
    ratios = sorted(on / off for on, off in zip(times["on"], times["off"], strict=True))
    quarter = len(ratios) // 4
    print(
        f"on / off over {PAIRS} pairs: {statistics.median(ratios):.3f} median (middle half {ratios[quarter]:.3f} to "
        f"{ratios[-quarter - 1]:.3f}), {min(times['on']) / min(times['off']):.3f} of minima; goal {GOAL}"
    )


if __name__ == "__main__":
    main()
