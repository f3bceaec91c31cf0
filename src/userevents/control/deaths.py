"""The ends of producers: noticed at once where the kernel gives a descriptor of a process, and how it ended.

How: of a process that was waited for from Linux 6.15 on (PIDFD_GET_INFO), before that only while it is a zombie.

Source: pidfd_open(2); include/uapi/linux/pidfd.h for the numbers; proc_pid_stat(5), field 52.
"""

import fcntl
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from struct import Struct
from typing import Any, Final, NamedTuple

_GET_INFO: Final = 0xC040FF0B
"""_IOWR(0xFF, 11, struct pidfd_info), of 64 bytes."""
_INFO: Final = Struct("<QQ11Ii")
"""mask, cgroup id, ids; the exit code as wait(2) gives it."""
_INFO_EXIT: Final = 1 << 3
_WATCHED_MAX: Final = 10_000


StatusOf = Callable[[int], int | None]


class Death(NamedTuple):
    """A process ended. `status` is as wait(2) gives it, None where that cannot be known."""

    pid: int
    comm: str
    ts_ns: int
    status: int | None

    @property
    def how(self) -> str:
        """How it ended, in words."""
        if self.status is None:
            return "ended, nobody can say how"
        number = os.WTERMSIG(self.status)
        if not number:
            return f"exited with status {os.WEXITSTATUS(self.status)}"
        core = " (core dumped)" if os.WCOREDUMP(self.status) else ""
        return f"killed by {_signal_name(number)}{core}"


class Deaths:
    """Watches the producers that any of the names means: a pid, or a glob over what it is called."""

    def __init__(self, names: Iterable[str], status_of: StatusOf = lambda pid: None) -> None:
        """`status_of` tells what its caller knows of how a process ended: it may be the parent."""
        self._names = tuple(names)
        self._status_of = status_of
        self._poll = select.poll()
        self._living: dict[int, tuple[int, str]] = {}
        """By descriptor: pid and name."""
        self._known: set[int] = set()
        self._is_first = True

    def look(self, programs: Iterable[Mapping[str, Any]]) -> list[Death]:
        """Take up the programs that a tracer tells of; returns those that lived and died since the last look."""
        found = []
        seen = set()
        for program in programs:
            pid = program["pid"]
            seen.add(pid)
            if pid in self._known or not any(matches(name, program) for name in self._names):
                continue
            self._known.add(pid)
            is_alive = program["alive"] and self._watch(pid, program["comm"])
            if not is_alive and not self._is_first:
                found.append(Death(pid, program["comm"], time.monotonic_ns(), self._status_of(pid)))
        self._known &= seen | {pid for pid, _ in self._living.values()}
        self._is_first = False
        return found

    def _watch(self, pid: int, comm: str) -> bool:
        if len(self._living) >= _WATCHED_MAX:
            return True
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return False
        self._living[fd] = pid, comm
        self._poll.register(fd, select.POLLIN)
        return True

    def ended(self) -> list[Death]:
        """Return those that have ended since the last call."""
        found = []
        for fd, _ in self._poll.poll(0) if self._living else ():
            pid, comm = self._living.pop(fd)
            self._poll.unregister(fd)
            status = _status(fd, pid)
            found.append(Death(pid, comm, time.monotonic_ns(), self._status_of(pid) if status is None else status))
            os.close(fd)
        return found

    def close(self) -> None:
        """Watch nobody any more."""
        for fd in self._living:
            os.close(fd)
        self._living.clear()


def matches(name: str, program: Mapping[str, Any]) -> bool:
    """Whether a pid or glob means a program: its thread's name, its command, or the script that it runs."""
    if name.isascii() and name.isdecimal():
        return str(program["pid"]) == name.lstrip("0")
    words = [word for word in program.get("cmdline") or () if not word.startswith("-")]
    called = {program["comm"], *(os.path.basename(word) for word in words[:2])}
    return any(fnmatchcase(each, name) for each in called)


def _status(fd: int, pid: int) -> int | None:
    """How a process that has ended did so; None where nobody can say."""
    info = bytearray(_INFO.pack(_INFO_EXIT, *[0] * 13))
    try:
        fcntl.ioctl(fd, _GET_INFO, info)
        mask, *_, status = _INFO.unpack(info)
        if mask & _INFO_EXIT:
            return int(status)
    except OSError:
        pass
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            rest = file.read().rpartition(b")")[2].split()
        return int(rest[-1]) if rest[0] in (b"Z", b"X") else None
    except (OSError, ValueError, IndexError):
        return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
