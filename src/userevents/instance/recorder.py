"""The rings of one instance: one a CPU, their clock and size, whether they record, and the snapshot beside them.

Source: user_events contract, tracefs.md sections 4, 7 and 8.
"""

import errno
import itertools
from collections.abc import Callable, Iterator
from heapq import merge
from typing import Final

from ..abi.ring_buffer import PAGE_SIZE
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
        self.page_size = PAGE_SIZE
        """Bytes a page of the rings."""
        self._kib = [ring_kib(pages)] * machine.cpus
        """The rings' sizes as they were last set."""
        self.started = 0
        """When the rings were last emptied."""
        self.trace_readers: list[int] = []
        """The CPUs whose ``trace`` somebody reads: their rings must not change their size meanwhile."""
        self.snapshot_rings: Rings | None = None
        self.cpus = set(range(machine.cpus))
        """The CPUs that are recorded."""
        self.wake_percent = DEFAULT_WAKE_PERCENT
        self.max_latency_ns = 0
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

    def source(self) -> Callable[[], int]:
        """What tells the time of the chosen clock, for those who ask often; good until another one is chosen."""
        return self.now if self.clock == "counter" else self.machine.source(self.clock)

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
        if cpu == self.all_cpus:
            self.started = self.now()

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
        """Give the rings of one CPU, or of all, a size; EBUSY while somebody reads ``trace``."""
        self._require_no_reader(cpu)
        self.expanded = True
        pages = pages_for(kib << 10, self.page_size)
        for number, ring in self.chosen(cpu):
            ring.resize(pages)
            self._kib[number] = ring_kib(pages, self.page_size)

    def set_page_size(self, size: int) -> None:
        """Give the rings pages of another size, which drops what they hold; EBUSY while somebody reads ``trace``."""
        if size == self.page_size:
            return
        self._require_no_reader(self.all_cpus)
        self.page_size = size
        for ring in (*self.rings, *(self.snapshot_rings or ())):
            ring.change_pages(size)

    def size_text(self, cpu: int) -> str:
        """What ``buffer_size_kb`` shows: a number, or ``X`` where CPUs differ."""
        sizes = {self._kib[number] for number, _ in self.chosen(cpu)}
        text = "X" if len(sizes) > 1 else str(sizes.pop())
        return f"{text}\n" if cpu != self.all_cpus else self._sized(text, DEFAULT_KIB)

    def total_text(self) -> str:
        """What ``buffer_total_size_kb`` shows."""
        return self._sized(str(sum(self._kib)), DEFAULT_KIB * len(self.rings))

    def is_readable(self, cpu: int) -> bool:
        """What poll says to readers of one CPU's records, who wait for `wake_percent`, or to readers of all."""
        found = self.chosen(cpu)
        if cpu == self.all_cpus:
            return any(not ring.is_empty for _, ring in found)
        return any(ring.fills(self.wake_percent) for _, ring in found)

    def _require_no_reader(self, cpu: int) -> None:
        if any(self.all_cpus in (cpu, reader) or reader == cpu for reader in self.trace_readers):
            raise Refused(errno.EBUSY, "somebody has 'trace' open; close it first")

    def make_snapshot(self) -> Rings:
        """The rings of the snapshot, which are made where there are none."""
        if self.snapshot_rings is None:
            self.snapshot_rings = [CpuRing(ring.pages, self.page_size) for ring in self.rings]
        return self.snapshot_rings

    def take_snapshot(self) -> None:
        """Swap the rings with those of the snapshot."""
        self.rings, self.snapshot_rings = self.make_snapshot(), self.rings

    def clear_snapshot(self, cpu: int = all_cpus) -> None:
        """Empty the snapshot, if there is one."""
        for _, ring in self.chosen(cpu, snapshot=True):
            ring.reset()

    def free_snapshot(self) -> None:
        """Give the snapshot's rings up."""
        self.snapshot_rings = None

    def _sized(self, text: str, full: int) -> str:
        return f"{text}\n" if self.expanded else f"{text} (expanded: {full})\n"
