"""Instructions per event, counted by callgrind: `./dev bench instructions`. Immune to what else the machine does.

A case is counted between two marks in one process, less the empty loop's. The budget is bench/instructions.json; the
exit code is 1 where a case exceeds it by more than builds of Python differ. `--write` makes what was found the budget.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))
from results import Row, keep

from userevents.client.native import native

BENCH = Path(__file__).resolve().parent
BUDGET = BENCH / "instructions.json"
CALLS = 4000
"""Few enough for a ring of 2 MiB: under callgrind nobody hurries to empty it."""
TOLERANCE, SLACK = 1.15, 30
"""How far builds of the same Python are apart: in proportion, and by the odd instruction of a short case."""
KINDS = ("empty", "guard", "call", "write")


def instructions(state: str, *, pure: bool) -> dict[str, float]:
    """Return the instructions per call of every kind, while nobody listens ("off") or recorded ("on")."""
    with tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm") as directory:
        marks = f"{directory}/marks.so"
        subprocess.run(
            ["gcc", "-O1", "-shared", "-fPIC", "-o", marks, str(BENCH / "workers" / "callgrind.c")], check=True
        )
        env = {**os.environ, "USEREVENTS_DIR": directory, "PYTHONHASHSEED": "0"}
        if pure:
            env["USEREVENTS_NATIVE"] = "0"
        out = f"{directory}/callgrind.out"
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}", sys.executable]
        command += [str(BENCH / "workers" / "count.py"), marks, str(CALLS), *(f"{kind} {state}" for kind in KINDS)]
        if state == "on":
            record = [sys.executable, "-m", "userevents", "record", "-q", "--provider", "none"]
            command = [*record, "-o", f"{directory}/trace.dat", "--", *command]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        dumps = [path.read_text() for path in sorted(Path(directory).glob("callgrind.out.*"))]
    found = {}
    for dump in dumps:
        case = re.search(r"^desc: Trigger: Client Request: (\w+) \w+$", dump, re.M)
        total = re.search(r"^(?:summary|totals): (\d+)", dump, re.M)
        if case and total:
            found[case[1]] = int(total[1]) / CALLS
    if done.returncode or set(found) != set(KINDS):
        raise RuntimeError(f"callgrind ended with {done.returncode} after {sorted(found)}: {done.stderr[-2000:]}")
    return found


def measure(*, makes: tuple[bool, ...] = (False, True)) -> dict[str, int]:
    """Return the instructions per call of every case; `makes`: the native writer (False), pure Python (True)."""
    found = {}
    for pure in makes:
        for state in ("off", "on"):
            counts = instructions(state, pure=pure)
            for kind in KINDS[1:]:
                name = f"{kind} {state}{', pure Python' if pure else ''}"
                found[name] = round(counts[kind] - counts["empty"])
    return found


def excess(found: dict[str, int]) -> list[str]:
    """Return a line for every case over its budget."""
    budget = json.loads(BUDGET.read_text())
    return [
        f"{case}: {count} instructions, budget {budget[case]}"
        for case, count in found.items()
        if count > budget[case] * TOLERANCE + SLACK
    ]


def main() -> int:
    """Count, compare, print; return the exit code."""
    began = time.monotonic()
    if not native:
        print("the native writer is not built: only the pure-Python one is counted")
    found = measure(makes=(False, True) if native else (True,))
    if sys.argv[1:] == ["--write"]:
        BUDGET.write_text(json.dumps(found, indent=1) + "\n")
    rows = [Row(case, "", count, count, count, count, None, unit="instructions") for case, count in found.items()]
    keep("instructions", rows, seconds=time.monotonic() - began)
    budget = json.loads(BUDGET.read_text())
    print(f"{'instructions per event':<28}{'found':>8}{'budget':>8}")
    for case, count in found.items():
        print(f"{case:<28}{count:>8}{budget[case]:>8}")
    over = excess(found)
    print("\n".join(f"OVER: {line}" for line in over) or "within the budget")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
