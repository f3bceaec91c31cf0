"""The rings of one instance: one a CPU, their clock and size, whether they record, and the snapshot beside them.

Source: user_events contract, tracefs.md sections 4, 7 and 8.
"""

import errno
import itertools
from collections.abc import Iterator
from heapq import merge
from typing import Final

from ..buffer import CpuRing, Record, pages_for, ring_kib
from ..errors import Refused
from .machine import CLOCKS, Machine

DEFAULT_KIB: Final = 1408
DEFAULT_WAKE_PERCENT: Final = 50

Rings = list[CpuRing]


class Recorder:
    """Where an instance's records go. `all_cpus` (-1) stands for every CPU together."""

    all_cpus: Final = -1

    def __init__(self, machine: Machine, *, expanded: bool) -> None:
        self.machine = machine
        self.tracing_on = True
        self.overwrite = True
        self.clock = next(iter(CLOCKS))
        self.expanded = expanded
        """Whether the rings have their full size; before the first use they have only their fewest pages."""
        self._ticks = itertools.count(1)
        pages = pages_for(DEFAULT_KIB << 10) if expanded else pages_for(1)
        self.rings: Rings = [CpuRing(pages) for _ in range(machine.cpus)]
        self.snapshot_rings: Rings | None = None
        self.cpus = set(range(machine.cpus))
        """The CPUs that are recorded."""
        self.wake_percent = DEFAULT_WAKE_PERCENT
        self.max_latency_us = 0
        self.pauses = 0
        """How many readers of ``trace`` have recording stopped while they read."""
        self.pipe_readers: set[int] = set()
        """The CPUs whose ``trace_pipe`` somebody reads."""

    @property
    def records(self) -> bool:
        """Whether records are taken now."""
        return self.tracing_on and not self.pauses

    def now(self) -> int:
        """The time of the chosen clock."""
        return next(self._ticks) if self.clock == "counter" else self.machine.clock(self.clock)

    def chosen(self, cpu: int, *, snapshot: bool = False) -> list[tuple[int, CpuRing]]:
        """The rings of one CPU, or of all, with their numbers."""
        rings = (self.snapshot_rings or []) if snapshot else self.rings
        return [(number, ring) for number, ring in enumerate(rings) if cpu in (number, self.all_cpus)]

    def merged(self, cpu: int, *, snapshot: bool = False) -> Iterator[tuple[int, Record]]:
        """Every record with its CPU, in order of time; nothing is consumed."""
        streams = [zip(itertools.repeat(n), ring) for n, ring in self.chosen(cpu, snapshot=snapshot)]
        return merge(*streams, key=lambda found: found[1].ts_ns)

    def peek(self, cpu: int) -> tuple[int, Record] | None:
        """The oldest record and its CPU."""
        found = [(n, first) for n, ring in self.chosen(cpu) if (first := ring.peek()) is not None]
        return min(found, key=lambda one: one[1].ts_ns) if found else None

    def reset(self, cpu: int = all_cpus) -> None:
        """Forget every record."""
        for _, ring in self.chosen(cpu):
            ring.reset()

    def set_clock(self, name: str) -> None:
        """Take the time from another clock from now on; what was recorded goes. EINVAL for an unknown one."""
        if name not in CLOCKS:
            raise Refused(errno.EINVAL, f"there is no clock '{name}'; there are {' '.join(CLOCKS)}")
        self.clock = name
        self.reset()
        for ring in self.snapshot_rings or ():
            ring.reset()

    def expand(self) -> None:
        """Give the rings their full size, at the first use of the instance."""
        if not self.expanded:
            self.set_size(DEFAULT_KIB, self.all_cpus)

    def set_size(self, kib: int, cpu: int) -> None:
        """Give the rings of one CPU, or of all, a size."""
        self.expanded = True
        for _, ring in self.chosen(cpu):
            ring.resize(pages_for(kib << 10))

    def size_text(self, cpu: int) -> str:
        """What ``buffer_size_kb`` shows: a number, or ``X`` where CPUs differ."""
        sizes = {ring_kib(ring.pages) for _, ring in self.chosen(cpu)}
        return self._sized("X" if len(sizes) > 1 else str(sizes.pop()), DEFAULT_KIB)

    def total_text(self) -> str:
        """What ``buffer_total_size_kb`` shows."""
        total = sum(ring_kib(ring.pages) for ring in self.rings)
        return self._sized(str(total), DEFAULT_KIB * len(self.rings))

    def take_snapshot(self) -> None:
        """Swap the rings with those of the snapshot, which are made where there are none."""
        if self.snapshot_rings is None:
            self.snapshot_rings = [CpuRing(ring.pages) for ring in self.rings]
        self.rings, self.snapshot_rings = self.snapshot_rings, self.rings

    def clear_snapshot(self, cpu: int = all_cpus) -> None:
        """Empty the snapshot, if there is one."""
        for _, ring in self.chosen(cpu, snapshot=True):
            ring.reset()

    def free_snapshot(self) -> None:
        """Give the snapshot's rings up."""
        self.snapshot_rings = None

    def _sized(self, text: str, full: int) -> str:
        return f"{text}\n" if self.expanded else f"{text} (expanded: {full})\n"
