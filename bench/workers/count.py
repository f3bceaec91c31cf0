"""Run cases of an event under callgrind, each between two marks: `count.py LIBRARY CALLS CASE...`."""

import ctypes
import gc
import sys
from collections.abc import Callable

from userevents import event, u32, u64


@event
def bench_event(number: u32, total: u64, text: str) -> None:
    "Three fields: u32, u64 and a string of 12 characters."


def empty(count: int) -> None:
    """Run the loop that every case has around its call."""
    for _number in range(count):
        pass


def guard(count: int) -> None:
    """Test the event."""
    for _number in range(count):
        if bench_event:
            pass


def call(count: int) -> None:
    """Call it."""
    for number in range(count):
        bench_event(number, number, "hello world!")


def write(count: int) -> None:
    """Call its `write`."""
    for number in range(count):
        bench_event.write(number, number, "hello world!")


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
