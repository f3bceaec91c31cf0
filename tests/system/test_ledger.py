"""The ledger beside witnesses: random workloads of real processes, and every count equal to what each says of itself.

One workload is some programs and their forked children under one recorder. Each emits what its plan says (attempts.py):
events that fit, that are cut, too large or invalid, from inside other calls, from signal handlers and threads, while
nobody reads; and ends in order, by os._exit, or by SIGKILL at a random instant.

`USEREVENTS_LEDGERS=300 ./dev test tests/system/test_ledger.py -rP` runs more, and says what they counted. The number of
a test is the seed of its workload.
"""

import json
import mmap
import os
import random
import select
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from userevents.formats.ledger import EventLedger, ProcessLedger
from userevents.formats.trace import open_trace
from userevents.session.layout import COUNTER_NAMES

from . import attempts as a
from .conftest import Userevents

WORKLOADS = int(os.environ.get("USEREVENTS_LEDGERS", "12"))
STEPS = {"fit": 300, "cut": 8, "large": 20, "invalid": 20, "nested": 40, "signals": 30, "threads": 150, "pause": 20}
"""What a process may do, and how often at most."""
BURST = 4000
"""More than a small ring holds."""


@dataclass
class Workload:
    """What one seed gives: how it is recorded, and what each program does, by which writer."""

    is_flight: bool
    plans: list[dict[str, Any]]
    environments: list[dict[str, str]]
    slots: dict[int, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, seed: int) -> "Workload":
        """Draw a workload: of four seeds two have rings that discard, two rings that overwrite."""
        luck = random.Random(seed)
        made = cls(seed % 4 >= 2, [], [])
        for number in range(luck.randint(2, 3)):
            made.plans.append(made.plan(luck, 2))
            native = str((seed + number) % 2)
            made.environments.append({"USEREVENTS_NATIVE": native, "USEREVENTS_RINGS": luck.choice(["", "", "thread"])})
        if not any(plan["end"] == "kill" for plan in made.slots.values()):
            luck.choice(list(made.slots.values()))["end"] = "kill"
        luck.choice(made.plans)["steps"].append(["fit" if made.is_flight else "deaf", BURST])
        return made

    def plan(self, luck: random.Random, depth: int) -> dict[str, Any]:
        """Draw what one process does, and its children."""
        plan: dict[str, Any] = {"slot": len(self.slots), "end": luck.choice(["exit", "_exit", "kill"])}
        self.slots[plan["slot"]] = plan
        names = [luck.choice(list(STEPS)) for _ in range(luck.randint(2, 6))]
        steps: list[list[Any]] = [[name, luck.randint(1, STEPS[name])] for name in names]
        for _ in range(luck.choice([0, 0, 1, 2]) if depth else 0):
            steps.insert(luck.randint(0, len(steps)), ["fork", self.plan(luck, depth - 1)])
        plan["steps"] = steps
        return plan

    def does(self) -> set[str]:
        """Name all that happens in it."""
        steps = {name for plan in self.slots.values() for name, _ in plan["steps"]}
        return steps | {plan["end"] for plan in self.slots.values()} | {"flight" if self.is_flight else "discard"}


class Witness:
    """The cells that the processes of a workload share with us."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "w+b") as file:
            file.truncate(a.SIZE)
            self.cells = memoryview(mmap.mmap(file.fileno(), a.SIZE)).cast("Q")

    def of_slot(self, slot: int, place: int) -> int:
        """Return one of a slot's first cells."""
        return self.cells[a.slot_cell(slot) + place]

    def calls(self, slot: int, event: str, *kinds: str) -> tuple[int, int]:
        """Return how many calls of an event came back, and how many were begun."""
        begun = [a.call_cell(slot, lane, event, kind) for lane in range(a.LANES) for kind in kinds or a.KINDS]
        return sum(self.cells[cell + 1] for cell in begun), sum(self.cells[cell] for cell in begun)

    def stats(self, slot: int, event: str) -> dict[str, int]:
        """Return what `event.stats` told at the end."""
        at = a.STATS + a.STATS_SIZE * a.EVENTS.index(event)
        return {name: self.of_slot(slot, at + number) for number, name in enumerate(COUNTER_NAMES)}


def test_the_workloads_have_everything_in_them() -> None:
    """Whatever a process may do occurs in those that always run."""
    seen = set[str]().union(*(Workload.of(seed).does() for seed in range(12)))
    assert seen == {*STEPS, "fork", "deaf", "exit", "_exit", "kill", "flight", "discard"}


@pytest.mark.leaves_files("processes that are killed or forked leave theirs to the next tracer's start")
@pytest.mark.parametrize("seed", range(WORKLOADS))
def test_every_count_is_what_the_processes_say_of_themselves(userevents: Userevents, seed: int) -> None:
    """Per process, event and reason: in the file, in `event.stats`, in `list` and in the report."""
    workload = Workload.of(seed)
    options = ("--flight",) if workload.is_flight else ()
    recorder = userevents.record("--provider", "none", "--buffer-size", "64K", *options)
    witness = Witness(userevents.directory / "witness")
    try:
        run(userevents, workload, witness, recorder.pid, random.Random(seed))
        examine_list(userevents, workload, witness)
    finally:
        witness.cells[a.RELEASE] = 1
        os.kill(recorder.pid, signal.SIGCONT)
    for slot in workload.slots:
        wait_for_end(witness.of_slot(slot, a.PID))
    said = userevents.end(recorder)
    trace = userevents.directory / "trace.dat"
    numbers, ledgers = read(trace)
    assert {pid for pid, _ in numbers} <= set(ledgers)
    assert set(ledgers) == {witness.of_slot(slot, a.PID) for slot in workload.slots}, said
    for plan in workload.slots.values():
        examine(Examined(plan, witness, ledgers, numbers, is_flight=workload.is_flight))
    examine_report(userevents, trace, [lane for lanes in ledgers.values() for lane in lanes])


@pytest.mark.parametrize("native", ["0", "1"])
def test_what_is_attempted_before_a_late_answer_counts(userevents: Userevents, native: str) -> None:
    """A recorder that was busy when a program came takes in what that program had to drop meanwhile."""
    recorder = userevents.record("--provider", "none")
    os.kill(recorder.pid, signal.SIGSTOP)
    code = "emit(0, 8)\nprint('gave up waiting', flush=True)\ninput()\nemit(8, 11)"
    command = ["/usr/bin/env", f"USEREVENTS_NATIVE={native}", sys.executable, "-c", userevents.code(code)]
    program = userevents.popen(command)
    assert program.stdout is not None
    assert program.stdin is not None
    assert program.stdout.readline()
    os.kill(recorder.pid, signal.SIGCONT)
    while not (listed := userevents("list", "--json").stdout):
        time.sleep(0.01)
    assert json.loads(listed)["late_answers"] == 1
    print(file=program.stdin, flush=True)
    assert program.wait(20) == 0
    userevents.end(recorder)
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        assert trace.ledger is not None
        [ledger] = trace.ledger.processes
        kept = [record.values["a"] for record in trace.records()]
    [tick] = ledger.events
    assert (tick.attempts, tick.dropped["tracer_gone"], tick.delivered) == (11, 8, 3), str(ledger)
    assert kept == [8, 9, 10]


@pytest.mark.leaves_files("a process that is killed leaves its session to the next tracer's start")
@pytest.mark.parametrize("native", ["0", "1"])
def test_what_a_child_drops_before_it_has_a_ring_counts(userevents: Userevents, native: str) -> None:
    """A forked child that is killed while it makes its first ring, and is found dead, leaves its counts."""
    recorder = userevents.record("--provider", "none")
    code = f"""
    import os, signal, sys

    def audit(name, arguments):
        if name == "open" and "/rings/" in str(arguments[0]):
            tick(8, 8 << 20, "n8")
            os.kill(os.getpid(), signal.SIGKILL)

    emit(0, 1)
    os.kill({recorder.pid}, signal.SIGSTOP)
    if os.fork() == 0:
        sys.addaudithook(audit)
        emit(1, 2)
    os.wait()
    os.kill({recorder.pid}, signal.SIGCONT)
    """
    words = ["/usr/bin/env", f"USEREVENTS_NATIVE={native}", sys.executable, "-c", userevents.code(code)]
    program = userevents.popen(words)
    assert program.wait(20) == 0
    userevents.end(recorder)
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        assert trace.ledger is not None
        ledgers = {process.pid: process.events[0] for process in trace.ledger.processes}
    assert ledgers.pop(program.pid).delivered == 1
    [child] = ledgers.values()
    assert (child.attempts, child.dropped["reentry"]) == (1, 1), str(child)


def run(userevents: Userevents, workload: Workload, witness: Witness, recorder: int, luck: random.Random) -> None:
    """Start all programs, kill whom the plan wants killed, and wait until the others stand."""
    program = Path(a.__file__)
    started = []
    for plan, environment in zip(workload.plans, workload.environments, strict=True):
        words = [f"{name}={value}" for name, value in environment.items()]
        command = ["/usr/bin/env", *words, sys.executable, str(program), json.dumps(plan), str(witness.path)]
        started.append(userevents.popen([*command, str(recorder)]))
    deadline = time.monotonic() + 40
    left = dict(workload.slots)
    while left:
        for slot, plan in list(left.items()):
            state = witness.of_slot(slot, a.STATE)
            if plan["end"] != "kill":
                if state == a.STANDING:
                    del left[slot]
            elif state and has_forked(plan, witness):
                time.sleep(luck.choice([0, luck.uniform(0, 0.01), luck.uniform(0, 0.1)]))
                os.kill(witness.of_slot(slot, a.PID), signal.SIGKILL)
                if is_deaf(plan):
                    os.kill(recorder, signal.SIGCONT)
                del left[slot]
        ended = [process.communicate()[1] for process in started if process.poll() not in (None, -signal.SIGKILL)]
        assert not ended, ended
        assert time.monotonic() < deadline, f"processes {list(left)} do not come to an end: {workload}"
        time.sleep(0.001)


def has_forked(plan: dict[str, Any], witness: Witness) -> bool:
    """Whether all children of a process have begun."""
    return all(witness.of_slot(child["slot"], a.STATE) for name, child in plan["steps"] if name == "fork")


def is_deaf(plan: dict[str, Any]) -> bool:
    """Whether a process stops the recorder for a while."""
    return any(name == "deaf" for name, _ in plan["steps"])


def wait_for_end(pid: int) -> None:
    """Wait until a process, whosever child, is no more."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([process], [], [], 20)[0], f"process {pid} does not end"
    finally:
        os.close(process)


def read(path: Path) -> tuple[dict[tuple[int, str], list[int]], dict[int, list[ProcessLedger]]]:
    """Return the numbers of each process and event in order, and each process's ledgers, one for each ring."""
    numbers: dict[tuple[int, str], list[int]] = {}
    ledgers: dict[int, list[ProcessLedger]] = {}
    with open_trace(str(path)) as trace:
        for record in trace.records():
            assert record.event is not None
            n = record.values["n"]
            assert isinstance(n, int)
            if record.event.name == "tick":
                assert record.values["b"] == n << 20
                assert str(record.values["s"]).startswith(f"n{n}")
            numbers.setdefault((record.pid or 0, record.event.name), []).append(n)
        assert trace.ledger is not None
        assert not trace.notes, trace.notes
        for process in trace.ledger.processes:
            ledgers.setdefault(process.pid, []).append(process)
    return numbers, ledgers


class Examined:
    """One process: what it attempted, and what the trace says of it."""

    def __init__(
        self,
        plan: dict[str, Any],
        witness: Witness,
        ledgers: dict[int, list[ProcessLedger]],
        numbers: dict[tuple[int, str], list[int]],
        *,
        is_flight: bool,
    ) -> None:
        self.plan, self.witness, self.is_flight = plan, witness, is_flight
        self.slot: int = plan["slot"]
        self.pid = witness.of_slot(self.slot, a.PID)
        self.lanes = ledgers[self.pid]
        self.numbers = {event: numbers.get((self.pid, event), []) for event in a.EVENTS}
        self.was_killed = plan["end"] == "kill"
        events = [event for lane in self.lanes for event in lane.events]
        self.counts = {name: count_up([event for event in events if event.name == name]) for name in a.EVENTS}

    def __str__(self) -> str:
        calls = {
            f"{event} {kind}": self.witness.calls(self.slot, event, kind) for event in a.EVENTS for kind in a.KINDS
        }
        told = {name: pair for name, pair in calls.items() if pair[1]}
        read = {event: len(numbers) for event, numbers in self.numbers.items()}
        return f"{self.plan}\nwitness (done, begun): {told}\nread: {read}\nledger: {self.lanes}"

    def agrees(self, event: str, counted: int, *kinds: str, less: int = 0, more: int = 0) -> bool:
        """Whether a count is that of the calls of these kinds; of a killed process, but for the one not done.

        So many `less` or `more` may have been counted otherwise, whatever their kind.
        """
        done, begun = self.witness.calls(self.slot, event, *kinds)
        return (self.was_killed or done == begun) and done - less <= counted <= begun + more


def count_up(events: list[EventLedger]) -> Counter[str]:
    """Return an event's counts in all rings of a process."""
    total: Counter[str] = Counter()
    for event in events:
        total += Counter(attempts=event.attempts, delivered=event.delivered, cut=event.cut) + Counter(event.dropped)
    return total


def examine(process: Examined) -> None:
    """Hold one process's ledger to its witness."""
    assert all(lane.is_balanced and not lane.missed and not lane.other for lane in process.lanes), str(process)
    gone = 0
    for event in a.EVENTS:
        counts, read = process.counts[event], process.numbers[event]
        shown = f"{event}: {dict(counts)} of\n{process}"
        assert counts["delivered"] == len(read) == len(set(read)), shown
        assert process.agrees(event, counts["attempts"]), shown
        late = counts["tracer_gone"]  # the tracer was too busy to answer in time
        for kind in ("too_large", "invalid", "cut"):
            assert process.agrees(event, counts[kind], kind, less=late), shown
        reentered, loose = (process.witness.calls(process.slot, event, kind) for kind in ("reentry", "loose"))
        assert reentered[0] <= counts["reentry"] <= reentered[1] + loose[1], shown
        kept_or_full = [counts[name] for name in ("delivered", "ring_full", "tracer_gone", "reentry")]
        missing = process.witness.calls(process.slot, event, "fit", "cut", "reentry", "loose")
        gone += counts["attempts"] - counts["too_large"] - counts["invalid"] - sum(kept_or_full)
        if not process.is_flight:
            fits = process.agrees(event, sum(kept_or_full), "fit", "cut", "reentry", "loose", more=late)
            assert fits, (missing, shown)
        examine_numbers(process, event, shown)
        if not process.was_killed:
            stats = process.witness.stats(process.slot, event)
            assert stats == {name: counts[name] for name in COUNTER_NAMES}, (stats, shown)
    overwritten = sum(lane.overwritten for lane in process.lanes)
    assert overwritten == gone - sum(lane.in_flight for lane in process.lanes), str(process)
    has_grown = process.witness.calls(process.slot, "inner", "loose")[
        1
    ]  # or had signals; then the burst may have fitted
    was_full = process.counts["tick"]["ring_full"]
    assert not is_deaf(process.plan) or process.was_killed or was_full or has_grown, str(process)


def examine_numbers(process: Examined, event: str, shown: str) -> None:
    """Hold the records that were read to those that were attempted: nothing made up, nothing out of order."""
    kept: dict[int, list[int]] = {}
    for number in process.numbers[event]:
        kept.setdefault(number >> a.KIND_SHIFT, []).append(number & (1 << a.KIND_SHIFT) - 1)
    for place, counts in kept.items():
        kind = a.KINDS[place & 15]
        begun = process.witness.cells[a.call_cell(process.slot, place >> 4, event, kind)]
        assert kind in ("fit", "cut", "loose"), shown
        assert counts == sorted(counts), shown
        assert counts[-1] < begun, shown
        dropped = sum(process.counts[event][reason] for reason in ("ring_full", "tracer_gone", "reentry"))
        if process.is_flight and not dropped and len(process.lanes) == 1:  # each ring has overwritten its own oldest
            assert counts == list(range(counts[0], counts[0] + len(counts))), shown
            assert counts[-1] == begun - 1 or process.was_killed, shown


def examine_list(userevents: Userevents, workload: Workload, witness: Witness) -> None:
    """Hold what `list` tells of those that live to what they tell themselves."""
    told = userevents("list", "--json")
    assert told.returncode == 0, told.stderr
    found = {(item["pid"], item["event"]): item for item in map(json.loads, told.stdout.splitlines())}
    alive = {witness.of_slot(slot, a.PID): slot for slot, plan in workload.slots.items() if plan["end"] != "kill"}
    assert {pid for pid, _ in found} == set(alive), told.stdout
    for (pid, event), item in found.items():
        stats = witness.stats(alive[pid], event)
        reasons = {name: count for name, count in stats.items() if count and name not in ("attempts", "cut")}
        assert item["attempts"] == stats["attempts"], (item, stats)
        assert (item["dropped_by"], item["dropped"]) == (reasons, sum(reasons.values())), (item, stats)


def examine_report(userevents: Userevents, trace: Path, lanes: list[ProcessLedger]) -> None:
    """Hold the summary to the ledger: the table begins with what was lost, the JSON has every figure."""
    table = userevents("report", "--summary", str(trace)).stdout
    told = json.loads(userevents("report", "--summary", "--format", "json", str(trace)).stdout)["ledger"]
    lost = Counter[str]()
    for lane in lanes:
        lost += Counter(lane.dropped) + Counter(overwritten=lane.overwritten)
    first = table.splitlines()[0]
    assert first.startswith(f"LOSSES: {lost.total():,} records were lost: ") == bool(lost), first
    assert told["balanced"], told
    figures = {name: sum(int(getattr(lane, name)) for lane in lanes) for name in ("attempts", "committed", "delivered")}
    assert {name: told["figures"][name] for name in figures} == figures
    assert told["figures"]["lost"] == lost.total()
    print(f"{len(lanes)} rings of {len({lane.pid for lane in lanes})} processes: {figures}, lost: {dict(lost)}")
