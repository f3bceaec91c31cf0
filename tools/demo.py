"""`./dev demo`: record two real programs at work, show what they did, and say what to try next.

It starts in a temporary directory, as a user's programs do: nothing here needs the checkout as the current one.
Runs with `.venv`'s Python, and talks to userevents only through its command line.
"""

import contextlib
import fcntl
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.environment import ROOT
from tools.progress import paint

COMMAND: Final = str(Path(sys.executable).with_name("userevents"))
PLACE: Final = ROOT / ".cache" / "demo"
TRACE: Final = PLACE / "trace.dat"


def main() -> int:
    """Record, report, and tell what to try; return the first exit code that is not 0."""
    PLACE.mkdir(parents=True, exist_ok=True)
    workload = [sys.executable, str(ROOT / "examples" / "demo_workload.py")]
    with _alone(), tempfile.TemporaryDirectory(prefix="userevents-demo-") as elsewhere:
        began = time.monotonic()
        _say("Recording `python -m http.server` and, beside it, a shop that makes 300 requests to it:")
        status = _run([COMMAND, "record", "-o", str(TRACE), "--", *workload], elsewhere)
        if status:
            print(f"./dev demo: recording ended with status {status}", file=sys.stderr)
            return status
        _say("What they did, the slowest requests, and whether anything was lost:")
        status = _run([COMMAND, "report", str(TRACE), "--summary", "--top", "request.latency_ns"], elsewhere)
        if status:
            print(f"./dev demo: the report ended with status {status}", file=sys.stderr)
            return status
    _say(
        f"That took {time.monotonic() - began:.1f} s. The trace is {TRACE} ({TRACE.stat().st_size / 1e6:.1f} MB). Next:"
    )
    command, trace = (shlex.quote(min(path, os.path.relpath(path), key=len)) for path in (COMMAND, str(TRACE)))
    for line, meaning in (
        (f"{command} report {trace}", "every event, in time order over both programs"),
        (f"trace-cmd report {trace}", "the same, read by the stock tool (Debian: apt-get install trace-cmd)"),
        (f"{command} record -o my.dat -- python3 YOUR_PROGRAM.py", "your own program, unchanged"),
    ):
        print(f"    {line}\n        {meaning}")
    return 0


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let one demo at a time write the trace."""
    with open(PLACE / "lock", "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another demo is running; waiting for it", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str], directory: str) -> int:
    """Show a command as one would type it, and run it in `directory`; return its exit code."""
    shown = shlex.join(
        ["userevents" if part == COMMAND else part.replace(sys.executable, "python") for part in command]
    )
    print(paint(f"$ {shown}", 2, sys.stdout), flush=True)
    with subprocess.Popen(command, cwd=directory) as process:
        while True:
            with contextlib.suppress(KeyboardInterrupt):  # it got the same Ctrl-C, and finishes its file first
                return process.wait()


def _say(text: str) -> None:
    print(f"\n{paint(text, 1, sys.stdout)}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
