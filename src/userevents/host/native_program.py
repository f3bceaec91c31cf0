"""A native program as recordings know it: a process that writes through a door."""

import os

from ..instance import ProcessFacts
from ..session import locks
from . import process

_ENVIRON_MAX = 1 << 20
_RUN = b"USEREVENTS_RUN="


class NativeProgram:
    """One process, met while it lives. `number` is its stream in every recording."""

    def __init__(self, pid: int, number: int) -> None:
        self.pid = pid
        self.number = number
        self.start_time = locks.start_time(pid) or 0
        self.uid = process.uid(pid)
        self.comm = process.comm(pid) or "?"
        self.cmdline = [os.fsdecode(word) for word in _read(pid, "cmdline", 4096).split(b"\0") if word]
        self.facts = ProcessFacts(pid, process.ancestors(pid), _run(pid))
        self.nonce = os.urandom(16).hex()
        self.alive = self.start_time != 0

    def look(self) -> None:
        """Find out whether it still lives."""
        self.alive = self.alive and locks.start_time(self.pid) == self.start_time

    def rename(self) -> None:
        """It may have gone on to another program."""
        self.comm = process.comm(self.pid) or self.comm


def _run(pid: int) -> str:
    """The token of the recording that started it, from its environment; "" if there is none."""
    for setting in _read(pid, "environ", _ENVIRON_MAX).split(b"\0"):
        if setting.startswith(_RUN):
            return setting[len(_RUN) :].decode("utf-8", "replace")
    return ""


def _read(pid: int, name: str, size: int) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read(size)
    except OSError:
        return b""
