"""Our event, by whichever writer is in use; recorded if the driver records this process."""

import logging

from cases import bench_event, call, guard, write
from loop import serve

ZERO = 0.0
log = logging.getLogger("bench")
log.setLevel(logging.INFO)


def debug(count: int) -> None:
    """Call the standard library's logger below its level."""
    for number in range(count):
        log.debug("%d %d %s", number, number, "hello world!")


def debug_guard(count: int) -> None:
    """Ask the standard library's logger for its level."""
    for _number in range(count):
        if log.isEnabledFor(logging.DEBUG):
            pass


def floor(count: int) -> None:
    """Test an object of Python's own: what the interpreter takes for any `if object:`."""
    for _number in range(count):
        if ZERO:
            pass


def facts() -> str:
    """Return what was lost."""
    found = bench_event.stats
    lost = sum(value for name, value in found.items() if name not in ("attempts", "cut"))
    return f"{lost:,} of {found['attempts']:,} dropped"


serve(
    {
        "call": call,
        "write": write,
        "guard": guard,
        "truth of 0.0": floor,
        "debug": debug,
        "debug guard": debug_guard,
    },
    facts=facts,
)
