"""Writes with more vectors than a request holds: they come in parts, and nothing in the first says so.

While the first is served its thread waits in the call, whose vectors tell the rest: that is read where it stands, and
written along with the first. The parts that come then are answered, no more. Where the call cannot be seen the first
part is written alone; a record whose rest comes after all was cut off, and counts as lost.
"""

from typing import Final, NamedTuple

from ...host.calls import Calls, Vectors, rest_of
from ...host.clients import ClientThread
from .channel import Log
from .handles import Handle

MAX_PAGES: Final = 256
"""How many pages, or vectors, a request takes: each vector has a byte at least, so smaller writes are whole."""
_KEPT_MAX: Final = 64


class _Part(NamedTuple):
    """What one thread wrote last to a file: the index of its event, where it ended, and how much is to come."""

    write_index: int
    end: int
    left: int


class Parts:
    """The writes of one mount that are large enough to come in parts."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._calls = Calls()
        self._parts: dict[tuple[int, int], _Part] = {}
        """By open file and thread."""

    def vectors(self, tid: int) -> Vectors | None:
        """Return the vectors of the write that a thread waits in, if that is seen to have any."""
        return self._calls.vectors(tid)

    def rest(self, thread: ClientThread | None, vectors: Vectors | None, size: int) -> tuple[int, bytes]:
        """Return how much comes behind the first `size` bytes of a write, and what (`rest_of`)."""
        return (0, b"") if vectors is None or thread is None else rest_of(thread.memory, vectors, size)

    def began(self, fh: int, tid: int, index: int, end: int, left: int) -> None:
        """A write was taken that may be the first part of a longer one, or is: `left` bytes come from `end` on."""
        if len(self._parts) >= _KEPT_MAX:
            self._parts.clear()
        self._parts[fh, tid] = _Part(index, end, left)

    def has_taken(self, fh: int, tid: int, offset: int, size: int) -> bool:
        """Whether a part is one that was written along with the first."""
        part = self._parts.get((fh, tid))
        if part is None or part.end != offset or part.left < size:
            return False
        self._parts[fh, tid] = _Part(part.write_index, offset + size, part.left - size)
        return True

    def lose(self, handle: Handle, thread: ClientThread | None, tid: int, offset: int, size: int) -> None:
        """A part came whose record stands without it: that is told, and counted where the record is known."""
        part = self._parts.pop((handle.fh, tid), None)
        if part is not None and part.end == offset and thread is not None:
            handle.node.lose(part.write_index, thread.writer)
        self._log(
            "warning",
            f"{size} bytes of a write of thread {tid} to '{handle.node.path}' with more than {MAX_PAGES} vectors were"
            f" cut off: its call could not be seen in /proc/{tid}/syscall",
        )

    def close(self) -> None:
        """Let go of all that is open."""
        self._calls.close()
