"""Driving the tracer of this very process: the tree's calls, made under the loop's lock, as a door's thread makes them.

Has the shape of control's `Access`, so that `record` does not know whether its tracer is in its own process
or behind a socket.
"""

import contextlib
import errno
import os
import time
from collections.abc import Iterator

from ..abi import tracefs as abi
from ..errors import Refused
from ..tracefs import Caller, OpenNode, Tree
from .tracer import Tracer

_WAIT_S = 0.05


class LocalHandle:
    """One open node of the tree."""

    def __init__(self, tracer: Tracer, node: OpenNode) -> None:
        self._tracer = tracer
        self._node = node

    def read(self, size: int = 1 << 20, timeout: float | None = None) -> bytes | None:
        """Read up to `size` bytes; None if nothing came within `timeout` seconds, ``b""`` at the end."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            seen = self._tracer.activity.number
            try:
                with self._tracer.loop.lock:
                    return self._node.read(size)
            except Refused as refused:
                if refused.errno != errno.EAGAIN:
                    raise
            if self._tracer.failure is not None:
                raise self._tracer.failure
            left_s = _WAIT_S if deadline is None else min(deadline - time.monotonic(), _WAIT_S)
            if left_s <= 0:
                return None
            self._tracer.activity.wait(seen, left_s)

    def write(self, data: bytes) -> int:
        """Write `data`; returns the bytes taken. Raises Refused as the node does."""
        with _held(self._tracer):
            return self._node.write(data)

    def close(self) -> None:
        """Close the node."""
        with _held(self._tracer, changes=False):
            self._node.close()


class LocalAccess:
    """The tree of a tracer in this process."""

    def __init__(self, tracer: Tracer, tree: Tree) -> None:
        self._tracer = tracer
        self._tree = tree
        self._caller = Caller(os.geteuid(), os.getegid(), os.geteuid() == 0)

    def open(self, path: str, flags: int = os.O_RDONLY) -> LocalHandle:
        """Open a node; raises Refused."""
        with _held(self._tracer, changes=bool(flags & abi.O_TRUNC)):
            return LocalHandle(self._tracer, self._tree.open(path, flags, self._caller))

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory."""
        with _held(self._tracer, changes=False):
            return self._tree.listdir(path)

    def mkdir(self, path: str, keep: bool = False) -> None:
        """Make a directory: an instance. `keep` has no meaning here: the tracer ends with this process."""
        with _held(self._tracer):
            self._tree.mkdir(path, self._caller)

    def rmdir(self, path: str) -> None:
        """Remove a directory."""
        with _held(self._tracer):
            self._tree.rmdir(path, self._caller)

    def close(self) -> None:
        """Nothing to close."""


@contextlib.contextmanager
def _held(tracer: Tracer, *, changes: bool = True) -> Iterator[None]:
    """Do something with the tree; what `changes` anything, the tracer follows in a turn of its own, now."""
    with tracer.loop.lock:
        yield
    if changes:
        tracer.loop.wake()
