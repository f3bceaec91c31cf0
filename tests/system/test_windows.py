"""A program dies at each window of its life: before it has a session, a name, a ring, between two rings, in a fork.

Each program emits once more in the window and is gone, while its tracer looks on, is stopped, or is dead and replaced
afterwards. All of a table die under one tracer, so that a run takes seconds. The witness is what each process saw begun
and done; the ledgers must have all of it, and the files what they say is delivered.
"""

import mmap
import os
import signal
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from userevents.formats.trace import open_trace

from .attempts import is_stopped
from .conftest import TICK, Userevents

Wait = Callable[[Callable[[], bool]], None]


class Window(NamedTuple):
    """Where a process dies, `depth` forks down: the so-manieth time there that `audit` names `path`."""

    audit: str
    path: str
    nth: int = 1
    depth: int = 0
    rings: str = ""
    is_off: bool = False
    """Whether events are off there: a child's, between the fork and its session."""


WINDOWS = {
    "before its session has its name": Window("os.link", ".session"),
    "before anything is declared": Window("open", ".session"),
    "before it enters its ring": Window("open", "/rings/", 1),
    "before it forks": Window("os.fork", ""),
    "before a child's session has its name": Window("os.link", ".session", 1, 1, is_off=True),
    "before a child is heard of": Window("open", ".session", 1, 1, is_off=True),
    "before a child has its ring": Window("open", "/rings/", 1, 1),
    "before a child's ring has its name": Window("os.link", "/rings/", 1, 1),
    "before a child enters its ring": Window("open", "/rings/", 2, 1),
    "before a child forks": Window("os.fork", "", 1, 1),
    "before a grandchild's session has its name": Window("os.link", ".session", 1, 2, is_off=True),
    "before a grandchild has its ring": Window("open", "/rings/", 1, 2),
    "before a grandchild enters its ring": Window("open", "/rings/", 2, 2),
    "before a thread's session has its name": Window("os.link", ".session", 2, 0, "thread"),
    "before a thread's lane is heard of": Window("open", ".session", 2, 0, "thread"),
    "before a thread's lane has its ring": Window("open", "/rings/", 2, 0, "thread"),
    "before a thread's lane enters its ring": Window("open", "/rings/", 3, 0, "thread"),
}
DEATHS = ("kill", "_exit", "exec")
SLOTS = 3
"""Processes of one program: itself, its child, its grandchild. Of each: its pid, calls begun, calls done."""
REACHED, ASKED = 3 * SLOTS, 3 * SLOTS + 1
"""The cells that say whether it came to its window, and how often it asked in vain whether its event is on."""
SIZE = 3 * SLOTS + 2
"""Cells of one program."""

PROGRAM = """
    import mmap, os, signal, sys, threading, time

    audit, path, nth, depth, death, at, witness, gate = sys.argv[1:]
    with open(witness, "r+b") as file:
        cells = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
    known, seen, lock = [os.getpid()], 0, threading.RLock()

    def call():
        with lock:
            cell = int(at) + 3 * known.index(os.getpid())
            n = cells[cell + 1]
            cells[cell], cells[cell + 1] = os.getpid(), n + 1
            tick(n, n << 20, f"n{n}")
            cells[cell + 2] += 1

    def hook(name, arguments):
        global seen
        if os.getpid() not in known:
            known.append(os.getpid())
            seen = 0
        if name != audit or known.index(os.getpid()) != int(depth) or path not in str(arguments):
            return
        seen += 1
        if seen == int(nth):
            cells[int(at) + 9] = 1
            if "tick" in globals():
                call()
            if death == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif death == "exec":
                os.execv("/bin/true", ["true"])
            os._exit(0)

    sys.addaudithook(hook)
    TICK
    while not tick:
        time.sleep(0.01)
    cells[int(at) + 10] = tick.stats["tracer_gone"]
    for _ in range(3):
        call()
    while not os.path.exists(gate):
        time.sleep(0.002)
    call()
    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    for _ in range(2):
        if (pid := os.fork()):
            os.waitpid(pid, 0)
            break
        hook("", ())
        call()
        call()
    call()
"""


class Table:
    """Every window's program, by the same death, at work under a tracer."""

    def __init__(self, userevents: Userevents, native: str, death: str) -> None:
        self.rings = Path(os.environ["USEREVENTS_DIR"]) / "rings"
        self.gate, witness = userevents.directory / "gate", userevents.directory / "witness"
        size = 8 * SIZE * len(WINDOWS)
        with witness.open("w+b") as file:
            file.truncate(size)
            self.cells = memoryview(mmap.mmap(file.fileno(), size)).cast("Q")
        code = textwrap.dedent(PROGRAM).replace("TICK", TICK)
        self.programs = []
        for number, window in enumerate(WINDOWS.values()):
            variables = [f"USEREVENTS_NATIVE={native}", f"USEREVENTS_RINGS={window.rings}"]
            words = [window.audit, window.path, str(window.nth), str(window.depth), death, str(SIZE * number)]
            command = ["/usr/bin/env", *variables, sys.executable, "-c", code, *words, str(witness), str(self.gate)]
            self.programs.append(userevents.popen(command))

    def has_begun(self) -> bool:
        """Whether each program is at the gate, or gone."""
        done = [self.cells[SIZE * number + 2] for number in range(len(WINDOWS))]
        return all(count >= 3 or each.poll() is not None for count, each in zip(done, self.programs, strict=True))

    def go_on(self) -> None:
        """Let them come to their windows, and wait for their ends."""
        self.gate.touch()
        for program, name in zip(self.programs, WINDOWS, strict=True):
            _, said = program.communicate(timeout=40)
            assert program.returncode in (0, -signal.SIGKILL), (name, said)

    def has_missed(self) -> list[str]:
        """Return the windows in which nothing died."""
        return [name for number, name in enumerate(WINDOWS) if not self.cells[SIZE * number + REACHED]]

    def is_told(self) -> bool:
        """Whether the recorder has come back since it has had the drops that were counted before the gate."""
        for number, program in enumerate(self.programs):
            asked = self.cells[SIZE * number + ASKED]
            found = list(self.rings.glob(f"{program.pid}-*.told"))
            if asked and program.poll() is None:
                told = sum(sum(memoryview(path.read_bytes()).cast("Q")) for path in found)
                if told != asked:
                    return False
        return True

    def examine(self, *paths: Path) -> None:
        """Hold the files to what each process saw."""
        read: dict[int, list[object]] = {}
        attempts, delivered, dropped = Counter[int](), Counter[int](), Counter[int]()
        for number, path in enumerate(paths):
            with open_trace(str(path)) as trace:
                for record in trace.records():
                    read.setdefault(record.pid or 0, []).append(record.values["a"])
                assert trace.ledger is not None
                for process in trace.ledger.processes:
                    dropped[process.pid] += sum(process.dropped.values())
                    attempts[process.pid] += process.attempts
                    delivered[process.pid] += process.delivered
                    assert process.is_balanced or number < len(paths) - 1, str(process)
        wrong = []
        for number, (name, window) in enumerate(WINDOWS.items()):
            for depth in range(SLOTS):
                at = SIZE * number + 3 * depth
                pid, begun, done = self.cells[at : at + 3]
                if not depth:
                    begun, done = begun + self.cells[at + ASKED], done + self.cells[at + ASKED]
                if window.is_off and depth == window.depth:
                    begun = done = done - 1
                numbers = sorted(read.get(pid, []))  # type: ignore[type-var]
                counted = delivered[pid] + dropped[pid]
                if not (done <= counted <= begun and len(numbers) == len(set(numbers)) == delivered[pid]):
                    shown = f"{done} done, {begun} begun, {numbers} read, {dropped[pid]} dropped"
                    wrong.append(f"{name}, {depth} forks down: {shown}")
        assert not wrong, "\n".join(wrong)


TRACERS = ("looks on", "is stopped", "is replaced")


@pytest.mark.leaves_files("processes that are killed leave theirs to the next tracer's start")
@pytest.mark.parametrize(
    ("tracer", "native", "death"),
    [
        (tracer, native, death)
        for tracer in TRACERS
        for native in "01"
        for death in DEATHS
        if os.environ.get("USEREVENTS_WINDOWS") or (native, death) == ("1", "kill")
    ],
)
def test_a_program_that_dies_in_a_window_of_its_life_is_in_the_ledger(
    userevents: Userevents, wait_until: Wait, tracer: str, native: str, death: str
) -> None:
    """Whoever looks, and whatever is not there yet or not there any more."""
    recorder = userevents.record("--provider", "none", "-o", "first.dat")
    table = Table(userevents, native, death)
    wait_until(table.has_begun)
    if tracer == "is stopped":
        os.kill(recorder.pid, signal.SIGSTOP)
        wait_until(lambda: is_stopped(recorder.pid))
    elif tracer == "is replaced":
        wait_until(table.is_told)
        recorder.kill()
        recorder.wait()
    table.go_on()
    if tracer == "is stopped":
        os.kill(recorder.pid, signal.SIGCONT)
    if tracer != "looks on":  # which may be quicker to make a ring than who needs it
        assert not table.has_missed()
    paths = [userevents.directory / "first.dat"]
    if tracer == "is replaced":
        recorder = userevents.record("--provider", "none", "-o", "second.dat")
        assert userevents("recover", "first.dat.part").returncode == 0
        paths.append(userevents.directory / "second.dat")
    userevents.end(recorder)
    table.examine(*paths)
