"""Instructions per event, counted by callgrind: `./dev bench instructions`. Immune to what else the machine does.

Each case runs twice, with CALLS and 3 * CALLS calls; the difference is what 2 * CALLS calls take, less the same of the
empty loop. The budget is bench/instructions.json; the exit code is 1 where a case exceeds it by more than builds
differ. `--write` makes what was measured the new budget.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from userevents.client.native import native

BENCH = Path(__file__).resolve().parent
BUDGET = BENCH / "instructions.json"
CALLS = 3000
"""The larger run must fit in a ring (2 MiB): under callgrind nobody is in a hurry to empty it."""
TOLERANCE = 1.10
NATIVE = ("guard off", "call off", "write off", "call on", "write on")
PURE = ("guard off", "call off", "call on")


def instructions(case: str, count: int, *, pure: bool) -> int:
    """Return how many instructions a process takes that runs a case `count` times."""
    with tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm") as directory:
        env = {**os.environ, "USEREVENTS_DIR": directory, "PYTHONHASHSEED": "0"}
        if pure:
            env["USEREVENTS_NATIVE"] = "0"
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable]
        command += [str(BENCH / "workers" / "count.py"), case, str(count)]
        if case.endswith(" on"):
            record = [sys.executable, "-m", "userevents", "record", "-q", "--provider", "none"]
            command = [*record, "-o", f"{directory}/trace.dat", "--", *command]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        raise RuntimeError(f"'{case}' under callgrind ended with {done.returncode}: {done.stderr[-2000:]}")
    return int(found[1])


def per_call(case: str, *, pure: bool) -> float:
    """Return the instructions of one call, the loop's included."""
    return (instructions(case, 3 * CALLS, pure=pure) - instructions(case, CALLS, pure=pure)) / (2 * CALLS)


def measure() -> dict[str, int]:
    """Return the instructions per call of every case."""
    found = {}
    for pure in (False, True):
        if not pure and not native:
            print("the native writer is not built: only the pure-Python one is counted")
            continue
        loops = {kind: per_call(f"empty {kind}", pure=pure) for kind in ("off", "on")}
        for case in PURE if pure else NATIVE:
            name = f"{case}, pure Python" if pure else case
            found[name] = round(per_call(case, pure=pure) - loops[case.rpartition(" ")[2]])
    return found


def main() -> int:
    """Count, compare, print; return the exit code."""
    found = measure()
    if sys.argv[1:] == ["--write"]:
        BUDGET.write_text(json.dumps(found, indent=1) + "\n")
        return 0
    budget = json.loads(BUDGET.read_text())
    over = 0
    print(f"{'instructions per event':<28}{'found':>8}{'budget':>8}")
    for case, count in found.items():
        exceeds = count > budget[case] * TOLERANCE
        over += exceeds
        print(f"{case:<28}{count:>8}{budget[case]:>8}{'  OVER' if exceeds else ''}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
