"""What a benchmark found: rows that are printed, and kept as JSON for docs/performance.md if a file is asked for.

`./dev bench --json FILE` sets USEREVENTS_BENCH_JSON; each benchmark puts its part into that file.
"""

import json
import os
import platform
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FILE = "USEREVENTS_BENCH_JSON"
_QUIET = 0.08
_LOOKS = 15


class Row(NamedTuple):
    """One measured thing: a ratio of `case` to what stands `beside` it, or (`unit`) a number by itself.

    `best` is of the least times (or the best of the numbers), `median` with its range from `low` to `high`. The goal is
    a limit, from below if `at_least`; the median has to keep it.
    """

    case: str
    beside: str
    best: float
    median: float
    low: float
    high: float
    goal: float | None = None
    at_least: bool = False
    unit: str = ""

    @property
    def verdict(self) -> str:
        """Whether the goal is met, nothing where there is none."""
        if self.goal is None:
            return ""
        return "met" if (self.median >= self.goal) is self.at_least or self.median == self.goal else "NOT MET"


def shown(value: float) -> str:
    """A ratio as people say it: 1/16.2 below a half, else 0.97."""
    return f"1/{1 / value:.1f}" if 0 < value < 0.5 else f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def goal_of(row: Row) -> str:
    """The goal as it is shown."""
    if row.goal is None:
        return ""
    value = f"{row.goal:g} {row.unit}".strip() if row.unit else _ratio(row.goal)
    return f"{'>=' if row.at_least else '<='} {value}"


def _ratio(goal: float) -> str:
    return f"1/{round(1 / goal)}" if goal < 0.5 else f"{goal:g}"


def print_rows(rows: Sequence[Row]) -> None:
    """Print a table."""
    first, second = (max(10, *map(len, words)) + 2 for words in zip(*map(_names, rows), strict=True))
    print(f"{'case':<{first}}{'beside':<{second}}{'best':>9}{'median':>9}  {'range':<18}{'goal':<17}")
    for row in rows:
        cells = [f"{value:.3g}" if row.unit else shown(value) for value in (row.best, row.median, row.low, row.high)]
        spread = f"{cells[2]} to {cells[3]}"
        print(
            f"{row.case:<{first}}{_names(row)[1]:<{second}}{cells[0]:>9}{cells[1]:>9}  {spread:<18}"
            f"{goal_of(row):<17}{row.verdict}".rstrip()
        )


def _names(row: Row) -> tuple[str, str]:
    return row.case, row.beside or f"({row.unit})"


def keep(name: str, rows: Sequence[Row], *, notes: Sequence[str] = (), seconds: float = 0.0) -> None:
    """Put what a benchmark found into the JSON file, if one is asked for."""
    if not (asked := os.environ.get(FILE)):
        return
    path = Path(asked)
    found = json.loads(path.read_text()) if path.exists() else {"benchmarks": {}}
    found |= {"date": time.strftime("%Y-%m-%d", time.gmtime()), "machine": machine()}
    found["benchmarks"][name] = {
        "seconds": round(seconds),
        "rows": [row._asdict() for row in rows],
        "notes": list(notes),
    }
    path.write_text(json.dumps(found, indent=1) + "\n")


def machine() -> str:
    """Say what kind of machine this is."""
    text = Path("/proc/cpuinfo").read_text()
    kind = "virtual machine" if re.search(r"^flags.*\bhypervisor\b", text, re.M) else "machine"
    release = ".".join(platform.release().split(".")[:2])
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()}-CPU {platform.machine()} {kind}, {memory:.0f} GiB, Linux {release}, "
        f"{platform.python_implementation()} {platform.python_version()} ({platform.python_compiler()})"
    )


def wait_until_quiet() -> str:
    """Wait up to half a minute for two seconds in which the machine is less than 8 % busy; say how busy it was."""
    share = 1.0
    for _ in range(_LOOKS):
        before = _busy()
        time.sleep(2)
        busy, total = (after - then for after, then in zip(_busy(), before, strict=True))
        share = busy / max(total, 1)
        if share < _QUIET:
            return "the machine was quiet before it began"
    return (
        f"the machine was busy with other things ({share:.0%} of its CPU time before it began): expect a wider spread"
    )


def _busy() -> tuple[int, int]:
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return sum(fields) - fields[3] - fields[4], sum(fields)
