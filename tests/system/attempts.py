"""A program that emits as its plan says, with a witness: how often it began a call of each kind, and came back.

The witness is a file of u64 cells that the program shares with the test, so that SIGKILL takes nothing of it along.
Each process of a plan has a slot in it, each thread of a process a lane of the slot. A plan is what JSON makes of

    {"slot": 0, "end": "exit", "steps": [["fit", 20], ["fork", {...}], ...]}

`end` is how the process ends once it is told to, by sys.exit or os._exit; or, for "kill", it goes on with its steps.
"""

import json
import mmap
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, Final

EVENTS: Final = ("tick", "inner", "big")
KINDS: Final = ("fit", "cut", "too_large", "invalid", "reentry", "loose")
"""What is to become of a call. `fit` may find a full ring; `loose`, such as of a handler, may be a re-entry as well."""
LANES: Final = 4
LANE_SHIFT: Final = 28
KIND_SHIFT: Final = 24
"""Of a record's number: which lane and which kind it is of; below that the how manieth of these."""
SLOTS: Final = 24

RELEASE: Final = 0
"""The cell that tells all who stand to end."""
PID: Final = 0
STATE: Final = 1
RUNNING, STANDING = 1, 2
STATS: Final = 2
STATS_SIZE: Final = 7
CALLS: Final = STATS + STATS_SIZE * len(EVENTS)
SLOT_SIZE: Final = CALLS + 2 * LANES * len(EVENTS) * len(KINDS)
SIZE: Final = 8 * (1 + SLOTS * SLOT_SIZE)


def call_cell(slot: int, lane: int, event: str, kind: str) -> int:
    """Return the cell of how many such calls began; the next one is of how many came back."""
    return slot_cell(slot) + CALLS + 2 * ((lane * len(EVENTS) + EVENTS.index(event)) * len(KINDS) + KINDS.index(kind))


def slot_cell(slot: int) -> int:
    """Return a slot's first cell."""
    return 1 + slot * SLOT_SIZE


def number_of(lane: int, kind: str, count: int) -> int:
    """Return the number of a record."""
    return lane << LANE_SHIFT | KINDS.index(kind) << KIND_SHIFT | count


def is_stopped(pid: int) -> bool:
    """Whether every thread of a process has stopped."""
    states = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/stat", encoding="ascii") as stat:
            states.append(stat.read().rpartition(") ")[2][0])
    return set(states) == {"T"}


class Emits:
    """A number whose conversion emits another event."""

    def __init__(self, number: int, emit: Callable[[], None]) -> None:
        self.number, self.emit = number, emit

    def __index__(self) -> int:
        self.emit()
        return self.number


class Attempts:
    """The program."""

    def __init__(self, cells: "memoryview[int]", recorder: int) -> None:
        from userevents import event, register, u32, u64

        @event
        def tick(n: u32, b: u64, s: str) -> None:
            "Fields that check each other."

        texts = "; ".join(f"char[1024] {name}" for name in "abcd")
        self.events: dict[str, Any] = {
            "tick": tick,
            "inner": register("inner u32 n"),
            "big": register(f"big u32 n; {texts}"),
        }
        self.cells = cells
        self.recorder = recorder
        self.slot = 0
        self.here = threading.local()
        sys.addaudithook(self.audit)

    def call(self, event: str, kind: str, arguments: Callable[[int], tuple[object, ...]]) -> None:
        """Make one call, between two entries in the witness."""
        lane = getattr(self.here, "lane", 0)
        cell = call_cell(self.slot, lane, event, kind)
        number = number_of(lane, kind, self.cells[cell])
        self.cells[cell] += 1
        self.events[event](*arguments(number))
        self.cells[cell + 1] += 1

    def audit(self, name: str, arguments: tuple[object, ...]) -> None:
        """Emit where a ring is about to be entered: in the middle of a record's write.

        With no ring before it that is a re-entry; else this record may fit the page for which the other is too large.
        """
        if name == "open" and "/rings/" in str(arguments[0]):
            is_first = str(arguments[0]).endswith(".1")
            self.call("inner", "reentry" if is_first else "loose", lambda n: (n,))

    def fit(self, count: int) -> None:
        """Usual calls."""
        for _ in range(count):
            self.call("tick", "fit", lambda n: (n, n << 20, f"n{n}"))

    def cut(self, count: int) -> None:
        """Strings that are shortened."""
        for _ in range(count):
            self.call("tick", "cut", lambda n: (n, n << 20, f"n{n}" * 1000))

    def large(self, count: int) -> None:
        """Records that fit no page."""
        for _ in range(count):
            self.call("big", "too_large", lambda n: (n, "a", "b", "c", "d"))

    def invalid(self, count: int) -> None:
        """Values of a wrong type or number, by position and by name."""
        for turn in range(count):
            wrong = [("x", 1, "s"), (1, None, "s"), (1, 2), (1, 2, "s", 4), (1, 2, 3.5)][turn % 5]
            self.call("tick", "invalid", lambda n: wrong)  # noqa: B023  (called before the loop goes on)

    def nested(self, count: int) -> None:
        """Values whose conversion emits another event, which is written first."""
        for _ in range(count):
            self.call("tick", "fit", lambda n: (Emits(n, self.inner), n << 20, f"n{n}"))

    def inner(self) -> None:
        """Emit the other event."""
        self.call("inner", "fit", lambda n: (n,))

    def signals(self, count: int) -> None:
        """Usual calls under a handler that emits, 5000 times a second."""

        def handler(_number: int, _frame: object) -> None:
            self.call("inner", "loose", lambda n: (n,))
            left[0] -= 1
            if left[0] > 0:
                signal.setitimer(signal.ITIMER_REAL, 0.0002)

        left = [count]
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0002)
        while left[0] > 0:
            self.fit(5)
            time.sleep(0)

    def deaf(self, count: int) -> None:
        """A burst that nobody reads meanwhile."""
        os.kill(self.recorder, signal.SIGSTOP)
        while not is_stopped(self.recorder):  # until then it reads, and may give us a larger ring
            time.sleep(0.0005)
        self.fit(count)
        os.kill(self.recorder, signal.SIGCONT)

    def threads(self, count: int) -> None:
        """Usual calls of some threads at once."""

        def work(lane: int) -> None:
            self.here.lane = lane
            self.fit(count)

        made = [threading.Thread(target=work, args=(lane,)) for lane in range(1, LANES)]
        for thread in made:
            thread.start()
        for thread in made:
            thread.join()

    def fork(self, plan: dict[str, Any]) -> None:
        """Let a child go its own way."""
        if os.fork() == 0:
            self.run(plan)

    def pause(self, milliseconds: int) -> None:
        """Let the tracer come to it."""
        time.sleep(milliseconds / 1000)

    def run(self, plan: dict[str, Any]) -> None:
        """Be the process of this plan. Does not return."""
        self.slot = plan["slot"]
        cell = slot_cell(self.slot)
        self.cells[cell + PID], self.cells[cell + STATE] = os.getpid(), RUNNING
        steps = plan["steps"]
        for name, argument in steps:
            getattr(self, name)(argument)
        while plan["end"] == "kill":
            for name, argument in steps:
                if name not in ("fork", "deaf"):
                    getattr(self, name)(min(argument, 20))
            time.sleep(0.001)
        for place, event in enumerate(self.events.values()):
            at = cell + STATS + STATS_SIZE * place
            for offset, value in enumerate(event.stats.values()):
                self.cells[at + offset] = value
        self.cells[cell + STATE] = STANDING
        while not self.cells[RELEASE]:
            time.sleep(0.002)
        if plan["end"] == "_exit":
            os._exit(0)
        sys.exit(0)


def main() -> None:
    """Run the plan of the first argument, with the witness and the recorder's pid that follow."""
    plan, witness, recorder = sys.argv[1:]
    warnings.simplefilter("ignore")
    with open(witness, "r+b") as file:
        cells = memoryview(mmap.mmap(file.fileno(), SIZE)).cast("Q")
    Attempts(cells, int(recorder)).run(json.loads(plan))


if __name__ == "__main__":
    main()
