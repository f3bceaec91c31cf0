"""The trace clocks, read from the system's own.

Source: user_events contract, tracefs.md section 8.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from ..instance import Machine, Reading

_TICK_NS: Final = 10_000_000
_LOOKS: Final = 3
_SYSTEM: Final = {
    "mono_raw": time.CLOCK_MONOTONIC_RAW,
    "boot": time.CLOCK_BOOTTIME,
    "tai": time.CLOCK_TAI,
    "uptime": time.CLOCK_BOOTTIME,
}


class TraceClocks:
    """Every trace clock; those of the kernel alone (local, perf, the TSC) are the monotonic one here.

    They tell the time of now, or, while they are held, of the moment at which something was done elsewhere.
    """

    def __init__(self) -> None:
        self._moment_ns: int | None = None

    def __call__(self, clock: str) -> int:
        """The time of a trace clock."""
        if self._moment_ns is None:
            unit_ns = _TICK_NS if clock == "uptime" else 1
            return time.clock_gettime_ns(_SYSTEM.get(clock, time.CLOCK_MONOTONIC)) // unit_ns
        reading = self.reading(clock)
        return self._moment_ns if reading is None else reading(self._moment_ns)

    def source(self, clock: str) -> Callable[[], int]:
        """What tells the time of a trace clock, by the shortest way; it knows nothing of `hold`."""
        if clock in _SYSTEM:
            return partial(self, clock)
        return time.monotonic_ns

    def hold(self, moment_ns: int | None) -> None:
        """Let every clock show a moment (CLOCK_MONOTONIC, ns) from now on; None lets them go on."""
        self._moment_ns = moment_ns

    def reading(self, clock: str) -> Reading | None:
        """How a clock showed moments of the last while; None where it shows the moments themselves."""
        system = _SYSTEM.get(clock)
        if system is None:
            return None
        return partial(_read, _ahead_ns(system), _TICK_NS if clock == "uptime" else 1)


def _ahead_ns(system: int) -> int:
    """How far a clock is ahead of the monotonic one: of some looks, the one that took the shortest time."""
    looks = [(time.monotonic_ns(), time.clock_gettime_ns(system), time.monotonic_ns()) for _ in range(_LOOKS)]
    before, there, after = min(looks, key=lambda look: look[2] - look[0])
    return there - (before + after) // 2


def _read(ahead_ns: int, unit_ns: int, moment_ns: int) -> int:
    return (moment_ns + ahead_ns) // unit_ns


def machine(clocks: TraceClocks) -> Machine:
    """This computer, as trace instances see it."""
    return Machine(clock=clocks, cpus=os.cpu_count() or 1, release=os.uname().release)
