"""What a command takes as a whole process: CPU time, time, and its peak of memory."""

import json
import subprocess
import sys
from typing import Final, NamedTuple

_LAUNCHER: Final = """
import json, os, sys, time
nothing = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
began = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=nothing)
_, status, usage = os.wait4(pid, 0)
took = time.perf_counter() - began
code = os.waitstatus_to_exitcode(status)
print(json.dumps([usage.ru_utime + usage.ru_stime, took, usage.ru_maxrss / 1024, code]))
"""
"""A process takes over the peak of the one that starts it, so a small one starts it, not a benchmark with its data."""


class Spent(NamedTuple):
    """What one process took."""

    cpu_s: float
    wall_s: float
    peak_mib: float


def spent(command: list[str]) -> Spent:
    """Run a command to its end, its output thrown away. Ends the benchmark if the command fails."""
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command]
    cpu_s, wall_s, peak_mib, code = json.loads(subprocess.run(launcher, stdout=subprocess.PIPE, check=True).stdout)
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    return Spent(cpu_s, wall_s, peak_mib)
