"""What the fixture `user_events` costs a test: `./dev bench testkit`. Goal: at most 50 ms a test.

One pytest run whose tests alternate: with the fixture and without. Each emits 100 events; those with it count them.
Time of setup, call and teardown together, by pytest's own reports.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = 40
GOAL_MS = 50.0

PROGRAM = f"""
import pytest
from userevents import event, u32

@event
def request(id: u32, path: str) -> None: ...

def emit():
    for id in range(100):
        request(id, "/")

def on(user_events):
    emit()
    assert user_events["request"].count == 100

def off():
    emit()

for number in range({TESTS}):
    globals()[f"test_{{number:03}}_{{'on' if number % 2 else 'off'}}"] = on if number % 2 else off
"""
PLUGIN = """
import atexit, json

spent = {}

def pytest_runtest_logreport(report):
    spent[report.nodeid] = spent.get(report.nodeid, 0.0) + report.duration

def pytest_sessionfinish():
    with open("spent.json", "w") as file:
        json.dump(spent, file)
"""


def main() -> None:
    """Run, and print the difference."""
    with tempfile.TemporaryDirectory(prefix="userevents-bench-") as name:
        directory = Path(name)
        (directory / "test_all.py").write_text(PROGRAM, encoding="utf-8")
        (directory / "conftest.py").write_text(PLUGIN, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(directory)]
        subprocess.run(command, cwd=directory, check=True, stdout=subprocess.DEVNULL)
        spent = json.loads((directory / "spent.json").read_text(encoding="utf-8"))
    ms = {
        kind: sorted(1000 * seconds for test, seconds in spent.items() if test.endswith(f"_{kind}"))
        for kind in ("on", "off")
    }
    median, off = statistics.median(ms["on"]), statistics.median(ms["off"])
    result = {
        "tests": TESTS,
        "with_ms": {"min": ms["on"][0], "median": median, "max": ms["on"][-1]},
        "without_ms": {"min": ms["off"][0], "median": off, "max": ms["off"][-1]},
        "overhead_ms": median - off,
        "goal_ms": GOAL_MS,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
