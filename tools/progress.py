"""Steps of a longer job, shown while they run: what, for how long, and the last word of the command behind it.

On a terminal one line is redrawn; elsewhere a step says that it still runs every few seconds, and that it is
done. All of it goes to standard error, so that a verb's own output stays clean.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

_REDRAW = 0.1
_HEARTBEAT = 5.0
_PATIENCE = 5.0
_TAIL = 3000


class StepFailed(Exception):
    """The command of a step ended badly; `tail` is the end of what it printed."""

    def __init__(self, what: str, status: int, tail: str) -> None:
        super().__init__(f"{what}: exit status {status}")
        self.what = what
        self.status = status
        self.tail = tail


def terminal(stream: TextIO) -> bool:
    """Whether `stream` is a terminal on which a line can be drawn again."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def paint(text: str, code: int, stream: TextIO) -> str:
    """Return `text` in terminal colour `code`, or unchanged where no colours are wanted (NO_COLOR)."""
    return f"\x1b[{code}m{text}\x1b[0m" if terminal(stream) and not os.environ.get("NO_COLOR") else text


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and all it started: politely, so that it removes its temporary files, then for certain."""
    os.killpg(process.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Steps:
    """The steps of one job. Each line says the job, the seconds since it began, and the step."""

    def __init__(self, job: str, log: Path, environment: Mapping[str, str], stream: TextIO | None = None) -> None:
        self.log = log
        self._job = job
        self._environment = environment
        self._stream = stream or sys.stderr
        self._terminal = terminal(self._stream)
        self._began = time.monotonic()
        self._held: tuple[int, ...] = ()

    def begin(self, *held: int) -> None:
        """Empty the log; the commands to come inherit the descriptors `held`."""
        self._held = held
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")

    def say(self, text: str) -> None:
        """Print one line that stays."""
        clear = "\r\x1b[K" if self._terminal else ""
        print(f"{clear}{self._job} {paint(self._clock(), 36, self._stream)}  {text}", file=self._stream, flush=True)

    def run(self, what: str, command: Sequence[str]) -> None:
        """Run a command as the step `what`; its output goes to the log.

        Raises `StepFailed` with the end of that output unless the command exits with 0.
        """
        began = time.monotonic()
        with self.log.open("ab+") as log:
            log.write(f"$ {' '.join(command)}\n".encode())
            log.flush()
            start = log.tell()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                pass_fds=self._held,
                process_group=0,
            )
            try:
                self._watch(what, process, start)
            except BaseException:
                _end(process)
                raise
        if process.returncode:
            raise StepFailed(what, process.returncode, self._output(start)[-_TAIL:])
        self.say(f"{what} ({time.monotonic() - began:.1f} s)")

    def _watch(self, what: str, process: subprocess.Popen[bytes], start: int) -> None:
        """Show the last line of the command's output until it ends."""
        spoken = time.monotonic()
        while True:
            try:
                process.wait(_REDRAW)
                return
            except subprocess.TimeoutExpired:
                pass
            lines = self._output(start).split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "")
            if self._terminal:
                line = f"{self._job} {self._clock()}  {what} ... {last}"
                print(
                    f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}", end="", file=self._stream, flush=True
                )
            elif time.monotonic() - spoken > _HEARTBEAT:
                spoken = time.monotonic()
                self.say(f"{what} ... {last}")

    def _clock(self) -> str:
        return f"{time.monotonic() - self._began:5.1f} s"

    def _output(self, start: int) -> str:
        with self.log.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")
