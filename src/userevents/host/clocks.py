"""The trace clocks, read from the system's own.

Source: user_events contract, tracefs.md section 8.
"""

import os
import time
from typing import Final

from ..instance import Machine

_TICK_NS: Final = 10_000_000
_SYSTEM: Final = {
    "mono_raw": time.CLOCK_MONOTONIC_RAW,
    "boot": time.CLOCK_BOOTTIME,
    "tai": time.CLOCK_TAI,
}


def now(clock: str) -> int:
    """The time of a trace clock; those of the kernel alone (local, perf, the TSC) are the monotonic one here."""
    if clock == "uptime":
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _TICK_NS
    return time.clock_gettime_ns(_SYSTEM.get(clock, time.CLOCK_MONOTONIC))


def machine() -> Machine:
    """This computer, as trace instances see it."""
    return Machine(clock=now, cpus=os.cpu_count() or 1, release=os.uname().release)
