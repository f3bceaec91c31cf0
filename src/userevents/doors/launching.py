"""Starting the launcher (a script of its own), and taking what it hands over."""

import os
import socket
import subprocess
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Final

from ..errors import Unusable
from ..host.remote import out_of_reach

LAUNCHER: Final = os.path.join(os.path.dirname(__file__), "launcher.py")
_MESSAGE: Final = 4096
_FDS: Final = 4


class LaunchFailed(Exception):
    """What could not be made in the new process, and errno (0: it ended before it told)."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(what, number)
        self.what = what
        self.number = number


class Launched:
    """A process that has made what a door needs, and waits.

    `fds` are what it handed over. It becomes the program on `go`; `process` keeps its id. Raises `LaunchFailed`.
    """

    def __init__(
        self, mode: Sequence[str], path: str = "", argv: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", LAUNCHER, str(theirs.fileno()), *mode, "--", path, *argv],
                env=None if env is None else dict(env),
                pass_fds=[theirs.fileno()],
            )
        try:
            self.fds = self._receive()
        except BaseException:
            self.give_up()
            raise

    def require_memory(self) -> None:
        """Give up, and raise `Unusable`, where we may not read the program's memory: every registration would fail."""
        why = out_of_reach(self.process.pid)
        if why is not None:
            self.give_up()
            for fd in self.fds:
                os.close(fd)
            raise Unusable(f"the program's memory is out of reach: {why}")

    def go(self) -> None:
        """Let the program begin. Raises `LaunchFailed` where the kernel cannot run it."""
        with self._ours:
            self._ours.send(b"g")
            told = self._ours.recv(_MESSAGE)
        if told:
            self.process.wait()
            raise _failed(told)

    def give_up(self) -> None:
        """Nothing shall be started: let the process end."""
        self._ours.close()
        self.process.wait()

    def _receive(self) -> list[int]:
        size = array("i").itemsize
        message, ancillary, _, _ = self._ours.recvmsg(_MESSAGE, socket.CMSG_SPACE(_FDS * size), socket.MSG_CMSG_CLOEXEC)
        if ancillary:
            fds = array("i")
            data = ancillary[0][2]
            fds.frombytes(data[: len(data) // size * size])
            return fds.tolist()
        raise _failed(message)


def _failed(message: bytes) -> LaunchFailed:
    what, _, number = message.decode().partition("\t")
    return LaunchFailed(what, int(number) if number else 0)


def keep(listener: int) -> None:
    """Leave a seccomp listener to a process that lets every call pass, until the last program behind it has ended."""
    subprocess.Popen(
        [sys.executable, "-I", "-S", LAUNCHER, str(listener), "keeper"],
        pass_fds=[listener],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
