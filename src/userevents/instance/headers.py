"""What ``trace`` begins with, as the trace options say: the columns of the usual lines, or those of ``latency-format``.

Source: user_events contract, tracefs.md section 4; recordings of a real kernel.
"""

from typing import Final

from .machine import Machine
from .options import Options

_TRACER: Final = "# tracer: nop\n#\n"
_COLUMNS: Final = (
    "#           TASK-PID     CPU#     TIMESTAMP  FUNCTION\n#              | |         |         |         |\n"
)
_COLUMNS_TGID: Final = (
    "#           TASK-PID       TGID    CPU#     TIMESTAMP  FUNCTION\n"
    "#              | |           |       |         |         |\n"
)
_FLAGS: Final = (
    "_-----=> irqs-off/BH-disabled",
    "/ _----=> need-resched",
    "| / _---=> hardirq/softirq",
    "|| / _--=> preempt-depth",
    "||| / _-=> migrate-disable",
    "|||| /     delay",
)
_FLAG_COLUMNS: Final = (
    "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n#              | |         |   |||||     |         |\n"
)
_FLAG_COLUMNS_TGID: Final = (
    "#           TASK-PID       TGID    CPU#  |||||  TIMESTAMP  FUNCTION\n"
    "#              | |           |       |   |||||     |         |\n"
)
_LATENCY_FACTS: Final = (
    "# nop latency trace v1.1.5 on {release}\n"
    "# --------------------------------------------------------------------\n"
    "# latency: 0 us, #{entries}/{written}, CPU#0 | (M:server VP:0, KP:0, SP:0 HP:0 #P:{cpus})\n"
    "#    -----------------\n"
    "#    | task: -0 (uid:0 nice:0 policy:0 rt_prio:0)\n"
    "#    -----------------\n"
    "#\n"
)
_LATENCY_COLUMNS: Final = (
    "#                    _------=> CPU#            \n"
    "#                   / _-----=> irqs-off/BH-disabled\n"
    "#                  | / _----=> need-resched    \n"
    "#                  || / _---=> hardirq/softirq \n"
    "#                  ||| / _--=> preempt-depth   \n"
    "#                  |||| / _-=> migrate-disable \n"
    "#                  ||||| /     delay           \n"
    "#  cmd     pid     |||||| time  |   caller     \n"
    "#     \\   /        ||||||  \\    |    /       \n"
)


def header(options: Options, machine: Machine, entries: int, written: int) -> str:
    """Return what ``trace`` begins with: `entries` of the `written` records are in the rings."""
    if not options["context-info"] or options["verbose"]:
        return _TRACER
    text = f"{_TRACER}# entries-in-buffer/entries-written: {entries}/{written}   #P:{machine.cpus}\n#\n"
    tgid = options["record-tgid"]
    if not options["irq-info"]:
        return text + (_COLUMNS_TGID if tgid else _COLUMNS)
    first = 42 if tgid else 32
    text += "".join(f"#{' ' * (first - min(number, 2))}{flag}\n" for number, flag in enumerate(_FLAGS))
    return text + (_FLAG_COLUMNS_TGID if tgid else _FLAG_COLUMNS)


def latency_header(options: Options, machine: Machine, entries: int, written: int, *, has_records: bool) -> str:
    """Return what it begins with in ``latency-format``; less where no line follows."""
    if not options["context-info"] or not has_records:
        return _TRACER
    facts = _LATENCY_FACTS.format(release=machine.release, entries=entries, written=written, cpus=machine.cpus)
    return _TRACER + (facts if options["verbose"] else facts + _LATENCY_COLUMNS)
