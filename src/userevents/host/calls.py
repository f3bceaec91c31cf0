"""The system call in which a thread waits, and what a vectored write of it has yet to say, as ``/proc`` tells.

A thread whose write has been asked of us waits until we answer. It is asleep then, but for the moment between its
asking and its falling asleep, in which a busy machine may keep it for some milliseconds.

Source: proc_pid_syscall(5).
"""

import errno
import os
import time
from struct import Struct
from typing import Final, NamedTuple

from ..abi.seccomp import MACHINES
from ..engine import Fault
from ..errors import Refused
from .remote import BUFFER_SIZE, RemoteMemory

_RUNNING: Final = b"running"
_TOLD_SIZE: Final = 256
_FIRST_PAUSE_S: Final = 50e-6
_PATIENCE_S: Final = 0.02
_FILES_MAX: Final = 64
_VECTOR: Final = Struct("@PN")
"""struct iovec."""
_VECTORS_MAX: Final = 1024
_MACHINE: Final = MACHINES.get(os.uname().machine)
_VECTORED: Final = () if _MACHINE is None else (b"%d " % _MACHINE.writev, b"%d " % _MACHINE.pwritev2)
"""How the calls begin that write vectors; pwritev has a position, which no file of events takes."""


class Vectors(NamedTuple):
    """The vectors of a write, in the memory of the thread that waits in it."""

    addr: int
    number: int


class Calls:
    """Tells the calls in which threads wait. For one caller at a time."""

    def __init__(self) -> None:
        self._files: dict[int, int] = {}
        """An open file of each thread that was asked for lately."""

    def vectors(self, tid: int) -> Vectors | None:
        """Return what a thread that waits in a write of vectors writes; None for any other call, or one not seen."""
        pause_s = 0.0
        while (told := self._read(tid)).startswith(_RUNNING):
            if pause_s > _PATIENCE_S:
                return None
            os.sched_yield()  # where both share a CPU that is often all it takes
            time.sleep(pause_s)
            pause_s = 2 * pause_s or _FIRST_PAUSE_S
        if not told.startswith(_VECTORED):
            return None
        _, _, addr, number, *_ = told.split()
        return Vectors(int(addr, 16), int(number, 16))

    def close(self) -> None:
        """Let go of all files."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()

    def _read(self, tid: int) -> bytes:
        fd = self._files.get(tid)
        if fd is not None:
            try:
                return os.pread(fd, _TOLD_SIZE, 0)
            except OSError:  # that thread is gone: this is another one of the same number
                os.close(self._files.pop(tid))
        if len(self._files) >= _FILES_MAX:
            self.close()
        try:
            fd = self._files[tid] = os.open(f"/proc/{tid}/syscall", os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(fd, _TOLD_SIZE, 0)
        except OSError:
            return b""


def rest_of(memory: RemoteMemory, vectors: Vectors, done: int) -> tuple[int, bytes]:
    """Return how much a write of vectors has behind its first `done` bytes, and as much of that as may matter.

    Of a record that is longer than a page of any ring its length is all that matters. EFAULT, as the kernel says it,
    for vectors, or bytes behind them, that cannot be read.
    """
    size = min(vectors.number, _VECTORS_MAX) * _VECTOR.size
    try:
        raw = b"".join(memory.read(vectors.addr + at, part) for at, part in _portions(size))
        found = list(_VECTOR.iter_unpack(raw))
        left = sum(size for _, size in found) - done
        return (left, memory.gather(_behind(found, done, BUFFER_SIZE))) if left > 0 else (0, b"")
    except Fault:
        raise Refused(errno.EFAULT, f"what a write has behind its first {done} bytes cannot be read") from None


def _portions(size: int) -> list[tuple[int, int]]:
    """Where to read so many bytes, a buffer at a time."""
    return [(at, min(BUFFER_SIZE, size - at)) for at in range(0, size, BUFFER_SIZE)]


def _behind(vectors: list[tuple[int, int]], done: int, most: int) -> list[tuple[int, int]]:
    """Address and size of the pieces that come after the first `done` bytes, `most` bytes of them."""
    found = []
    for addr, size in vectors:
        skipped = min(done, size)
        done -= skipped
        taken = min(size - skipped, most)
        most -= taken
        if taken:
            found.append((addr + skipped, taken))
    return found
