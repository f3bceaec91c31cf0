"""How a peer is measured: a process of its own that runs `CASE COUNT` whenever it is told, and answers with its time.

The driver (bench/peers.py) gives every process its turn in every round, so that what slows the machine slows all.
"""

import gc
import sys
import time
from collections.abc import Callable

Case = Callable[[int], None]


def empty(count: int) -> None:
    """Run the loop that every case has around its call."""
    for _number in range(count):
        pass


def serve(
    cases: dict[str, Case], clock: Callable[[], int] = time.thread_time_ns, facts: Callable[[], str] = str
) -> None:
    """Answer the driver until it closes the pipe: each line `CASE COUNT CHUNKS` with the nanoseconds that COUNT calls
    took above the empty loop right before them, for each of CHUNKS times.

    `clock` is the thread's CPU time, or the process's for peers that work in the background. `facts` is asked
    at the end: what was lost, for instance.
    """
    known = {"empty": empty, **cases}
    gc.collect()
    gc.disable()
    answer = sys.__stdout__
    assert answer is not None
    print("ready", *known, sep="\t", file=answer, flush=True)
    for line in sys.stdin:
        name, count, *chunks = line.split("\t")
        if name == "facts":
            print(facts(), file=answer, flush=True)
            continue
        run, calls = known[name], int(count)
        found = []
        for _ in range(int(chunks[0]) if chunks else 1):
            start = clock()
            empty(calls)
            middle = clock()
            run(calls)
            found.append((clock() - middle) - (middle - start))
        print(*found, file=answer, flush=True)
