"""What all instances of one system share: its CPUs, its clocks, and the names of threads that recorded something.

Source: user_events contract, tracefs.md sections 4 and 8.
"""

import itertools
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final

from ..engine import Writer
from .hist_names import HistNames
from .options import Destination

Clock = Callable[[str], int]
"""Gives the time of the named trace clock now; in ns but for the clocks that `CLOCKS` says count otherwise.

One that has a method `source` gives with it, for a name, what tells only that clock's time, and does so sooner.
"""

CLOCKS: Final = {
    "local": True,
    "global": True,
    "counter": False,
    "uptime": False,
    "perf": True,
    "mono": True,
    "mono_raw": True,
    "boot": True,
    "tai": True,
    "x86-tsc": False,
}
"""Every trace clock, in the order of the file, and whether it counts nanoseconds."""

_TABLE_SIZE: Final = 131_096
_NAME_SIZE: Final = 20
"""Bytes that a kernel needs for the names of threads: whatever their number, and for each. It takes a power of two."""
UNKNOWN: Final = "<...>"
_STEP_NS: Final = 1000


class Machine:
    """CPUs, clocks and saved names. Without a `clock`, time is a counter that goes on by 1 us a look.

    `has_other_events` says that events of other kinds share the tree, as a kernel's own do: they are not
    shown, but ``events/enable`` counts them.
    """

    def __init__(
        self, *, clock: Clock | None = None, cpus: int = 1, release: str = "userevents", has_other_events: bool = False
    ) -> None:
        self.cpus = cpus
        self.release = release
        self.has_other_events = has_other_events
        self.clock = clock if clock is not None else _stepping_clock()
        self.commands = SavedCommands()
        self.hist_names = HistNames()
        self.printk = Destination()
        self.threshold_ns = 0
        """What ``tracing_thresh`` says, to tracers that measure latency, of which there is none."""

    def source(self, clock: str) -> Callable[[], int]:
        """What tells the time of one clock, for those who ask often."""
        source = getattr(self.clock, "source", None)
        return partial(self.clock, clock) if source is None else source(clock)


class SavedCommands:
    """The names and process ids of the threads that recorded last.

    Source: user_events contract, tracefs.md section 8 (saved_cmdlines, saved_tgids).
    """

    def __init__(self) -> None:
        self._names: OrderedDict[int, str] = OrderedDict()
        self._tgids: dict[int, int] = {}
        self._limit = names_for(1)

    @property
    def limit(self) -> int:
        """How many names are kept; setting it keeps at least so many."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = names_for(limit)
        self._shorten()

    def note_name(self, writer: Writer) -> None:
        """Remember the name of a thread."""
        self._names[writer.tid] = writer.comm
        self._names.move_to_end(writer.tid)
        self._shorten()

    def note_process(self, writer: Writer) -> None:
        """Remember which process a thread belongs to."""
        self._tgids[writer.tid] = writer.pid

    def name(self, tid: int) -> str:
        """The name of a thread, ``<...>`` if it is not known."""
        return "<idle>" if tid == 0 else self._names.get(tid, UNKNOWN)

    def process(self, tid: int) -> int | None:
        """The process of a thread, None if it is not known."""
        return self._tgids.get(tid)

    def names_text(self) -> str:
        """What ``saved_cmdlines`` shows."""
        return "".join(f"{tid} {name}\n" for tid, name in self._names.items())

    def processes_text(self) -> str:
        """What ``saved_tgids`` shows."""
        return "".join(f"{tid} {pid}\n" for tid, pid in sorted(self._tgids.items()))

    def _shorten(self) -> None:
        while len(self._names) > self._limit:
            self._names.popitem(last=False)


def names_for(number: int) -> int:
    """How many names a kernel makes room for that is to keep `number` of them.

    >>> names_for(1), names_for(6552), names_for(6553)
    (6552, 6552, 19659)
    """
    return ((1 << (_TABLE_SIZE + number * _NAME_SIZE - 1).bit_length()) - _TABLE_SIZE) // _NAME_SIZE


def _stepping_clock() -> Clock:
    times = itertools.count(_STEP_NS, _STEP_NS)
    return lambda name: next(times)
