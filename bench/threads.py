"""What an event costs when several threads write at once: off and on, against one thread.

Each round runs the cases in turn at 1, 2 and 4 threads: an empty loop, an event that is off, tested and called, and one
that is on and overwrites its ring. The time is the threads' own CPU time, all of it divided by all calls: what threads
take from each other (a shared count, a lock, a cache line) shows as more of it; 1.00 is nothing. Prints the minimum and
the median of the rounds in nanoseconds, and what share of one thread's minimum each minimum is.
"""

import gc
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable

ROUNDS = 9
CALLS = 100_000
THREADS = (1, 2, 4)
RING_PAGES = 512


def prepared() -> dict[str, Callable[[int], None]]:
    """Declare one event that is off and one that writes to overwriting rings; return the loops to measure."""
    from userevents import event, u32, u64
    from userevents.client.runtime import runtime
    from userevents.session import layout
    from userevents.session.ring import make

    @event
    def quiet(number: u32, total: u64, text: str) -> None:
        """Nobody listens."""

    @event
    def loud(number: u32, total: u64, text: str) -> None:
        """Written, and overwritten."""

    (writer,) = runtime._writers
    session = writer.session
    path = f"{session.directory}/{layout.ring_name(session.name, 1)}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    make(path, pages=RING_PAGES, generation=1, nonce=session.nonce, mode=layout.MODE_OVERWRITE)
    session.lines[layout.RING_MODE // 4] = layout.MODE_OVERWRITE
    session.lines[layout.RING_PAGES // 4] = RING_PAGES
    session.lines[layout.RING_GENERATION // 4] = 1
    session.words[1] = layout.WORD_ENABLED | 20 << layout.WORD_ID_SHIFT

    def empty(count: int) -> None:
        for _ in range(count):
            pass

    def guard(count: int) -> None:
        for _ in range(count):
            if quiet:
                pass

    def off(count: int) -> None:
        for number in range(count):
            quiet(7, number, "hello world!")

    def on(count: int) -> None:
        for number in range(count):
            loud(7, number, "hello world!")

    return {"empty loop": empty, "off: if event:": guard, "off: event(...)": off, "on: event(...)": on}


def timed(run: Callable[[int], None], threads: int) -> float:
    """Return nanoseconds of CPU time per call, of so many threads that begin together."""
    together = threading.Barrier(threads)
    took: list[int] = []

    def work() -> None:
        together.wait()
        start = time.thread_time_ns()
        run(CALLS)
        took.append(time.thread_time_ns() - start)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(took) / (CALLS * threads)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        os.environ |= {"USEREVENTS_DIR": directory, "USEREVENTS_BACKEND": "session"}
        loops = prepared()
        gc.disable()
        times: dict[tuple[str, int], list[float]] = {}
        for _ in range(ROUNDS):
            for name, run in loops.items():
                for threads in THREADS:
                    times.setdefault((name, threads), []).append(timed(run, threads))
        from userevents.client.native import native, ring_per_thread
        from userevents.client.runtime import runtime

        stats = runtime._writers[0].stats(1)
        assert stats["attempts"] == ROUNDS * CALLS * sum(THREADS), stats
        assert not any(list(stats.values())[1:]), stats

        gil = getattr(sys, "_is_gil_enabled", lambda: True)()
        makes = f"{'C' if native else 'pure Python'}, {'a ring for each thread' if ring_per_thread else 'one ring'}"
        print(f"Python {sys.version.split()[0]}, {'with' if gil else 'without'} a GIL; {makes}; {os.cpu_count()} cores")
        print(f"{'CPU ns per call: min / median (of 1 thread)':<24}" + "".join(f"{n:>24}" for n in THREADS))
        for name in loops:
            one = min(times[name, 1])
            cells = [(min(times[name, n]), statistics.median(times[name, n])) for n in THREADS]
            print(f"{name:<44}" + "".join(f"{low:>10.1f} / {mid:<5.1f}({low / one:4.2f})" for low, mid in cells))


if __name__ == "__main__":
    main()
