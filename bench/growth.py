"""How the cost of one event grows with the number of events, from 1,024 to the kernel's default limit of 32,768.

Every event is registered by an ioctl on `user_events_data`, enabled, written once, disabled and let go of, all through
the tree, as a native program and a shell would. The cost is CPU time; every phase is timed with Python's cyclic
collector off, since the collector's own passes depend on what else lives in the process; the last row has it on. Sizes
take turns, and each figure is the smallest of the rounds. Then 1,000 processes with 32 events each die at once.
"""

import gc
import struct
import sys
import time
from collections.abc import Callable

from userevents.abi import tracefs as abi
from userevents.abi import user_events as uapi
from userevents.engine import Caller, Fault, Group, UserEventMm, Writer
from userevents.tracefs import OpenNode, PlainSystem, Tree, WriteCall

SIZES = [1024 << doubling for doubling in range(6)]
ROUNDS = 4
GOAL = 2.0
PROCESSES = 1000
EVENTS_EACH = 32
ROOT = Caller(0, 0, perfmon=True)
WORDS = 0x10000
STRUCT_AT = 0x1000
TEXT_AT = 0x2000
_REG = struct.Struct(uapi.USER_REG)
_UNREG = struct.Struct(uapi.USER_UNREG)


class Memory:
    """One address space: a flat piece of memory from 0, of which the first page is not mapped."""

    def __init__(self, words: int) -> None:
        self.data = bytearray(WORDS + 8 * words)

    def read(self, addr: int, size: int) -> bytes:
        if addr < STRUCT_AT or addr + size > len(self.data):
            raise Fault
        return bytes(self.data[addr : addr + size])

    def write(self, addr: int, data: bytes) -> None:
        if addr < STRUCT_AT or addr + len(data) > len(self.data):
            raise Fault
        self.data[addr : addr + len(data)] = data

    def write_bit(self, addr: int, bit: int, size: int, on: bool) -> None:
        at, mask = addr + bit // 8, 1 << bit % 8
        self.data[at] = self.data[at] | mask if on else self.data[at] & ~mask


class Program:
    """A process with one thread, one open `user_events_data`, and its own events."""

    def __init__(self, tree: Tree, pid: int, events: int) -> None:
        self.memory = Memory(events)
        self.mm: UserEventMm | None = None
        self.caller = ROOT
        self.writer = Writer(pid, pid, "bench", 0)
        self.names = [f"event_{pid}_{number}" for number in range(events)]
        self.node: OpenNode = tree.open(abi.USER_EVENTS_DATA, abi.O_RDWR, ROOT, self)
        self.call = WriteCall(self)

    def register(self, number: int) -> None:
        self.memory.write(TEXT_AT, f"{self.names[number]} u32 number; u64 total\0".encode())
        self.memory.write(STRUCT_AT, _REG.pack(28, 0, 4, 0, WORDS + 8 * number, TEXT_AT, 0))
        self.node.ioctl(uapi.DIAG_IOCSREG, STRUCT_AT, self)

    def write(self, number: int) -> None:
        self.node.write(struct.pack("<IIQ", number, number, number), self.call)

    def unregister(self, number: int) -> None:
        self.memory.write(STRUCT_AT, _UNREG.pack(16, 0, 0, 0, WORDS + 8 * number))
        self.node.ioctl(uapi.DIAG_IOCSUNREG, STRUCT_AT, self)

    def die(self) -> None:
        """As the kernel ends a process: memory first, then files."""
        if self.mm is not None:
            self.mm.exit()
            self.mm = None
        self.node.close()


class Ground:
    """A fresh tree, and what is done to it."""

    def __init__(self, events: int) -> None:
        self.group = Group()
        self.system = PlainSystem(self.group)
        self.tree = Tree(self.system)
        self.count = events
        self.files = sorted(self.tree.listdir(abi.EVENTS))

    def put(self, path: str, text: str) -> None:
        node = self.tree.open(path, abi.O_WRONLY, ROOT)
        node.write(text.encode())
        node.close()

    def get(self, path: str) -> int:
        """Read a file as cat does; returns its size."""
        node = self.tree.open(path, abi.O_RDONLY, ROOT)
        size = 0
        while data := node.read(1 << 16):
            size += len(data)
        node.close()
        return size

    def require_empty(self) -> None:
        """Nothing is left of any event, anywhere."""
        top = self.system.instances[""]
        assert not self.group.events
        assert not self.group.pending
        assert not top.enabled
        assert not self.group.events.systems()
        assert sorted(self.tree.listdir(abi.EVENTS)) == self.files
        for path in (abi.DYNAMIC_EVENTS, abi.SET_EVENT, abi.AVAILABLE_EVENTS):
            assert self.get(path) == 0
        assert self.group.ids.allocate() == uapi.FIRST_EVENT_ID


class Timer:
    """CPU time since the last look, in nanoseconds."""

    def __init__(self) -> None:
        self._last = time.thread_time_ns()

    def lap(self) -> int:
        now = time.thread_time_ns()
        spent, self._last = now - self._last, now
        return spent


def life(count: int) -> dict[str, float]:
    """Let `count` events of one process live and die; returns the nanoseconds an event of each phase."""
    ground = Ground(count)
    program = Program(ground.tree, 1, count)
    paths = [f"events/user_events/{name}" for name in program.names]
    phases: dict[str, Callable[[], object]] = {
        "register": lambda: [program.register(number) for number in range(count)],
        "register again": lambda: [other.register(number) for number in range(count)],
        "enable": lambda: [ground.put(f"{path}/enable", "1") for path in paths],
        "write": lambda: [program.write(number) for number in range(count)],
        "read format": lambda: [ground.get(f"{path}/format") for path in paths],
        "read status": lambda: ground.get(abi.USER_EVENTS_STATUS),
        "read dynamic_events": lambda: ground.get(abi.DYNAMIC_EVENTS),
        "read set_event": lambda: ground.get(abi.SET_EVENT),
        "list events": lambda: ground.tree.listdir("events/user_events"),
        "disable": lambda: [ground.put(f"{path}/enable", "0") for path in paths],
        "enable by set_event": lambda: [ground.put(abi.SET_EVENT, f"user_events:{name}") for name in program.names],
        "disable all": lambda: ground.put("events/enable", "0"),
        "unregister": lambda: [program.unregister(number) for number in range(count)],
        "close, exit, work": lambda: (program.die(), other.die(), ground.group.run_work()),
    }
    other = Program(ground.tree, 1, count)
    timer = Timer()
    spent = {}
    for name, run in phases.items():
        timer.lap()
        run()
        spent[name] = timer.lap() / count
    ground.require_empty()
    return spent


def massacre(processes: int) -> tuple[float, float]:
    """Let processes with 32 events each die at once; returns the nanoseconds an event to live and to die."""
    ground = Ground(processes * EVENTS_EACH)
    timer = Timer()
    programs = [Program(ground.tree, pid, EVENTS_EACH) for pid in range(processes)]
    for program in programs:
        for number in range(EVENTS_EACH):
            program.register(number)
    ground.put("events/user_events/enable", "1")
    for program in programs:
        for number in range(EVENTS_EACH):
            program.write(number)
    ground.put("events/user_events/enable", "0")
    assert len(ground.group.events) == ground.count
    lived = timer.lap()
    for program in programs:
        program.die()
    ground.group.run_work()
    died = timer.lap()
    ground.require_empty()
    return lived / ground.count, died / ground.count


def without_collector(run: Callable[[], None]) -> None:
    """Run with the collector off."""
    gc.collect()
    gc.disable()
    try:
        run()
    finally:
        gc.enable()


def best(times: dict[int, dict[str, float]], size: int, found: dict[str, float]) -> None:
    """Keep the smallest of each phase."""
    known = times.setdefault(size, found)
    for name, spent in found.items():
        known[name] = min(known[name], spent)


def measure(rounds: int) -> tuple[dict[int, dict[str, float]], dict[int, dict[str, float]]]:
    """Every size in turn, `rounds` times: with the collector off, and in the last two rounds also on."""
    off: dict[int, dict[str, float]] = {}
    on: dict[int, dict[str, float]] = {}
    for turn in range(rounds):
        for size in SIZES:
            without_collector(lambda size=size: best(off, size, life(size)))
            if turn >= rounds - 2:
                gc.collect()
                best(on, size, life(size))
    return off, on


def row(name: str, spent: list[float]) -> str:
    """A line: the first size's cost in microseconds, then the ratio of each size to it."""
    ratios = "".join(f"{value / spent[0]:>8.2f}" for value in spent[1:])
    return f"{name:<22}{spent[0] / 1000:>9.2f} us{ratios}"


def main() -> int:
    """Print the curve, and the end of many processes; returns 1 where the goal is missed."""
    off, on = measure(ROUNDS)
    print(f"{'CPU time an event':<22}{SIZES[0]:>12,}" + "".join(f"{size:>8,}" for size in SIZES[1:]))
    for name in off[SIZES[0]]:
        print(row(name, [off[size][name] for size in SIZES]))
    totals = [sum(off[size].values()) for size in SIZES]
    print(row("all of it", totals))
    print(row("with the collector on", [sum(on[size].values()) for size in SIZES]))
    ratio = totals[-1] / totals[0]
    print(f"goal: at most {GOAL:g}x at {SIZES[-1]:,} events: {'met' if ratio <= GOAL else 'missed'} ({ratio:.2f}x)")

    ends: dict[int, dict[str, float]] = {}
    for _ in range(ROUNDS):
        for processes in (1, PROCESSES):
            without_collector(
                lambda count=processes: best(ends, count, dict(zip(("live", "die"), massacre(count), strict=True)))
            )
    print(
        f"{PROCESSES:,} processes with {EVENTS_EACH} events each die at once; all is gone, and the tree is as it was:"
    )
    for name in ("live", "die"):
        one, many = ends[1][name], ends[PROCESSES][name]
        print(f"    to {name:<6}{one / 1000:>7.2f} us with one process, {many / one:.2f} times that with {PROCESSES:,}")
    return int(ratio > GOAL)


if __name__ == "__main__":
    sys.exit(main())
