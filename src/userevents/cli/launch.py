"""Starting the program to be recorded, watching its children, and ending as it ended."""

import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType

from ..errors import Unusable
from ..fields.escape import printable
from ..providers.environment import python_version, unreachable, without_calls
from .console import fail

NOT_FOUND = 127
NOT_EXECUTABLE = 126
_FORWARDED = (signal.SIGTERM, signal.SIGHUP)


class NotFound(Unusable):
    """There is no program of that name."""


def find_program(name: str) -> str:
    """Return the path of a program as a shell would find it.

    Raises `NotFound` saying where it was looked for, `Unusable` saying why it cannot be run.
    """
    path = shutil.which(name)
    if path is not None:
        return path
    if os.sep in name and (problem := _problem(name)):
        raise Unusable(f"program '{name}' {problem}")
    where = "" if os.sep in name else f" in PATH ({os.environ.get('PATH', '')})"
    raise NotFound(f"program '{name}' was not found{where}")


def _problem(path: str) -> str | None:
    """Why what stands at a path is no program for us; None if nothing stands there."""
    try:
        mode = os.stat(path).st_mode
    except PermissionError:
        return "is out of reach: a directory on the way to it may not be searched"
    except OSError:
        return None
    if stat.S_ISDIR(mode):
        return "is a directory"
    return "is not executable (chmod +x, or put its interpreter first)"


def find_or_fail(name: str) -> str:
    """As `find_program`; where there is none that can be run, say so and end with the shell's exit code."""
    try:
        return find_program(name)
    except NotFound as error:
        fail(str(error), NOT_FOUND)
    except Unusable as error:
        fail(str(error), NOT_EXECUTABLE)


def is_python(path: str) -> bool:
    """Whether a program is a Python interpreter, or a script for one: it says so in its name, or its first line."""
    if python_version(os.path.realpath(path)) is not None:
        return True
    try:
        with open(path, "rb") as file:
            first = file.read(256).partition(b"\n")[0]
    except OSError:
        return False
    words = os.fsdecode(first.removeprefix(b"#!")).split() if first.startswith(b"#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return bool(words) and python_version(words[0]) is not None


class NotStarted(Unusable):
    """The program is there and cannot be run: no format that the kernel knows, or no interpreter for it."""


class Program:
    """The recorded program. SIGINT is left to it (the terminal sends it to both); TERM and HUP are passed on."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._looked_at: set[tuple[int, bytes]] = set()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in _FORWARDED:
            signal.signal(number, self._forward)

    @classmethod
    def start(cls, path: str, argv: Sequence[str], env: Mapping[str, str]) -> "Program":
        """Start the program at `path`. Raises `NotStarted`."""
        try:
            return cls(subprocess.Popen(argv, executable=path, env=dict(env)))
        except OSError as error:
            raise NotStarted(f"program '{argv[0]}' cannot be started: {error.strerror}") from None

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code once the program has ended, as a shell gives it (128 + signal), None before."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    @property
    def status(self) -> int | None:
        """How it ended, as wait(2) gives it; None while it runs."""
        code = self._process.poll()
        return code if code is None else -code if code < 0 else code << 8

    def wait(self) -> int:
        """Wait for the end; returns the exit code as `poll` does."""
        self._process.wait()
        code = self.poll()
        assert code is not None
        return code

    def new_unreachable(self) -> list[str]:
        """Return a sentence about each descendant, not looked at before, whom no provider of ours can reach."""
        found = []
        for pid in [self.pid, *_descendants(self.pid)]:
            command = _argv(pid)
            if command in (b"", _OWN_ARGV) or _LAUNCHER in command or (pid, command) in self._looked_at:
                continue  # gone, on its way to exec, or told already
            reason = unreachable(pid)
            command = _argv(pid)  # it may have gone on by exec in between, and the reason is that of the new image
            if (pid, command) in self._looked_at:
                continue
            self._looked_at.add((pid, command))
            if reason is not None:
                found.append(f"pid {pid} ({_shown(command)}) {reason}: what it logs and does is not recorded")
            elif (reason := without_calls(pid)) is not None:
                found.append(f"pid {pid} ({_shown(command)}) {reason}: its calls are not recorded")
        return found


def _argv(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(4096)
    except OSError:
        return b""


def shown_command(pid: int) -> str:
    """Return a process's command line, for people; empty where it cannot be had."""
    return _shown(_argv(pid))


def _shown(argv: bytes) -> str:
    words = " ".join(os.fsdecode(word) for word in argv.rstrip(b"\0").split(b"\0"))
    text = printable(words)
    return text if len(text) <= 60 else text[:57] + "..."


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children", encoding="ascii") as file:
                    children = [int(word) for word in file.read().split()]
                found += children
                waiting += children
        except OSError:
            continue
    return found


_OWN_ARGV = _argv(os.getpid())
_LAUNCHER = os.fsencode(os.path.join("userevents", "doors", "launcher.py"))
"""What becomes the program behind a door."""
