"""Run cases of an event under callgrind, each between two marks: `count.py LIBRARY CALLS CASE...`."""

import ctypes
import gc
import sys
from collections.abc import Callable

from cases import bench_event, call, empty, guard, write

CASES: dict[str, Callable[[int], None]] = {"empty": empty, "guard": guard, "call": call, "write": write}


def main() -> None:
    """Run the cases."""
    marks = ctypes.CDLL(sys.argv[1])
    calls = int(sys.argv[2])
    listening = bool(bench_event)
    gc.disable()
    for name in sys.argv[3:]:
        kind, state = name.split()
        assert listening == (state == "on"), f"'{name}', but somebody listens: {listening}"
        run = CASES[kind]
        run(100)  # what the first calls prepare is not counted
        marks.begin()
        run(calls)
        marks.end(name.encode())
    found = bench_event.stats
    lost = {reason: count for reason, count in found.items() if count and reason not in ("attempts", "cut")}
    assert not lost, f"calls that were dropped cost something else: {lost}"


main()
