"""SIGKILL at random instants: no half record, no committed event lost, and every ledger balances.

Each world is one way of writing: in C or in pure Python, into rings that discard or that overwrite. A killed program
leaves a witness beside the ledger: after each call that returned it stores how many there were in memory that it shares
with its killer. `./dev soak` asks for more kills (USEREVENTS_KILLS).
"""

import os
import signal
import sys
from pathlib import Path

import pytest

from userevents.formats.ledger import ProcessLedger
from userevents.formats.trace import open_trace

from .conftest import Userevents

KILLS = int(os.environ.get("USEREVENTS_KILLS", "500"))
"""How many programs are killed in all worlds together."""
WORLDS = 5
"""Of which the last is threads, once in C and once in Python."""
SLICE = 125
THREADS = 3
APART = 1 << 24
"""Each thread's numbers begin so far behind those of the one before."""
"""How many of them one recorder sees."""

KILLER = """
    import mmap, os, random, signal, struct, sys, time
    import threading
    count, seed, pause, threads = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    random.seed(seed)
    witness = memoryview(mmap.mmap(-1, 8 * count * threads)).cast("Q")
    def write_on(place, apart):
        a = 0
        while True:
            for _ in range(100):
                n = apart + a
                tick(n, n << 20, f"n{n}")
                a += 1
                witness[place] = a
            if pause:
                time.sleep(pause)
    def write_all(number):
        for thread in range(1, threads):
            threading.Thread(target=write_on, args=(number * threads + thread, thread << 24)).start()
        write_on(number * threads, 0)
    for number in range(count):
        seen = lambda: witness[number * threads : (number + 1) * threads]
        pid = os.fork()
        if pid == 0:
            write_all(number)
        patience = time.monotonic() + 1
        while number % 3 and not all(seen()) and time.monotonic() < patience:
            time.sleep(0.0005)  # of every three programs two have begun; of the third nobody knows
        time.sleep(random.uniform(0.001, 0.015))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        print(pid, *seen())
"""


@pytest.mark.parametrize("ring", ["discard", "overwrite"])
@pytest.mark.parametrize("writer", ["c", "python"])
@pytest.mark.time_limit(120 + KILLS)
def test_kills_at_random_instants_lose_nothing_that_was_committed(
    userevents: Userevents, monkeypatch: pytest.MonkeyPatch, writer: str, ring: str
) -> None:
    """Whatever instant the kill strikes, records are whole, and those not in the file are counted, to the last."""
    monkeypatch.setenv("USEREVENTS_NATIVE", "1" if writer == "c" else "0")
    flight = ("--flight", "--buffer-size", "64K") if ring == "overwrite" else ()
    kill_all(userevents, f"{writer}, {ring}", KILLS // WORLDS, 1, *flight)


@pytest.mark.parametrize("writer", ["c", "python"])
@pytest.mark.time_limit(120 + KILLS)
def test_kills_of_threads_that_have_a_ring_each_lose_nothing_either(
    userevents: Userevents, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    """Each thread has one record in flight at most, and a ledger of its own."""
    monkeypatch.setenv("USEREVENTS_NATIVE", "1" if writer == "c" else "0")
    monkeypatch.setenv("USEREVENTS_RINGS", "thread")
    kill_all(userevents, f"{writer}, {THREADS} threads", KILLS // WORLDS // 2, THREADS)


def kill_all(userevents: Userevents, world: str, kills: int, threads: int, *flight: str) -> None:
    """Kill so many programs, slice by slice, and say how far it is."""
    wrote = events = 0
    left = kills
    while left:
        count = min(left, SLICE)
        left -= count
        begun, delivered = one_slice(userevents, count, threads, flight, seed=left)
        wrote, events = wrote + begun, events + delivered
        print(f"{world}: {kills - left} kills, of them {wrote} of programs that wrote; {events:,} events read")
    assert wrote > kills // 2, "many of the programs had begun to write when they were killed"


def one_slice(userevents: Userevents, count: int, threads: int, flight: tuple[str, ...], seed: int) -> tuple[int, int]:
    """Kill `count` programs under one recorder; return how many had written, and how many events are in the file."""
    pause = "0" if flight else "0.0002"
    program = [sys.executable, "-c", userevents.code(KILLER), str(count), str(seed), pause, str(threads)]
    recorder = userevents.record("--provider", "none", *flight)
    killer = userevents.popen(program)
    out, err = killer.communicate(timeout=60 + count)
    assert killer.returncode == 0, err
    said = userevents.end(recorder, signal.SIGINT, timeout=60 + count)
    path = userevents.directory / "trace.dat"
    found, ledgers = read(path)
    path.unlink()
    begun = 0
    for line in out.splitlines():
        pid, *returned = map(int, line.split())
        numbers = found.pop(pid, [])
        begun += any(returned)
        assert not any(returned) or pid in ledgers, (pid, returned, said)
        if pid in ledgers:
            examine(ledgers[pid], numbers, returned, overwrites=bool(flight))
    assert not found, f"events of programs that nobody killed: {list(found)}"
    return begun, sum(process.delivered for lanes in ledgers.values() for process in lanes)


def examine(lanes: list[ProcessLedger], numbers: list[int], returned: list[int], *, overwrites: bool) -> None:
    """Hold one killed program's records and counts to each other, and to what its threads had themselves seen done."""
    shown = f"{lanes}; they saw {returned} done; {len(numbers)} read"
    dropped = sum(sum(lane.dropped.values()) for lane in lanes)
    committed, delivered = sum(lane.committed for lane in lanes), sum(lane.delivered for lane in lanes)
    assert all(lane.is_balanced for lane in lanes), shown
    assert delivered == len(numbers), shown
    in_flight = len(returned)
    assert 0 <= sum(lane.attempts for lane in lanes) - sum(returned) <= in_flight, shown
    assert sum(returned) <= committed + dropped <= sum(returned) + in_flight, shown
    assert all(lane.missed == lane.other == 0 for lane in lanes), shown
    missing = 0
    for thread, done in enumerate(returned):
        own = [number % APART for number in numbers if number // APART == thread]
        assert own == sorted(set(own)), shown
        if own:
            missing += own[-1] + 1 - own[0] - len(own)
            assert own[-1] < done + 1, shown
    assert missing <= dropped, shown
    if not overwrites:
        assert all(lane.overwritten == 0 and lane.delivered == lane.committed for lane in lanes), shown
    elif not dropped:
        assert numbers == list(range(committed - len(numbers), committed)), shown
        assert bool(numbers) == bool(committed), shown


def read(path: Path) -> tuple[dict[int, list[int]], dict[int, list[ProcessLedger]]]:
    """Return each process's numbers in order, whose fields must agree, and its ledgers, one for each ring's writer."""
    found: dict[int, list[int]] = {}
    ledgers: dict[int, list[ProcessLedger]] = {}
    with open_trace(str(path)) as trace:
        for record in trace.records():
            a = record.values["a"]
            assert isinstance(a, int)
            assert (record.values["b"], record.values["s"]) == (a << 20, f"n{a}")
            found.setdefault(record.pid or 0, []).append(a)
        assert trace.ledger is not None
        assert not trace.notes, trace.notes
        for process in trace.ledger.processes:
            ledgers.setdefault(process.pid, []).append(process)
        return found, ledgers
