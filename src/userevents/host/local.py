"""Driving the tracer of this very process: the tree's calls, made in the tracer's thread.

Has the shape of control's `Access`, so that `record` does not know whether its tracer is in its own process
or behind a socket.
"""

import errno
import os
import time

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
            self._tracer.activity.clear()
            try:
                with self._tracer.loop.lock:  # not a call in the loop: that would wake it, and it would wake us
                    return self._node.read(size)
            except Refused as refused:
                if refused.errno != errno.EAGAIN:
                    raise
            if self._tracer.failure is not None:
                raise self._tracer.failure
            if deadline is not None and time.monotonic() >= deadline:
                return None
            self._tracer.activity.wait(_WAIT_S)

    def write(self, data: bytes) -> int:
        """Write `data`; returns the bytes taken. Raises Refused as the node does."""
        return self._tracer.loop.call(lambda: self._node.write(data))

    def close(self) -> None:
        """Close the node."""
        self._tracer.loop.call(self._node.close)


class LocalAccess:
    """The tree of a tracer in this process."""

    def __init__(self, tracer: Tracer, tree: Tree) -> None:
        self._tracer = tracer
        self._tree = tree
        self._caller = Caller(os.geteuid(), os.getegid(), os.geteuid() == 0)

    def open(self, path: str, flags: int = os.O_RDONLY) -> LocalHandle:
        """Open a node; raises Refused."""
        node = self._tracer.loop.call(lambda: self._tree.open(path, flags, self._caller))
        return LocalHandle(self._tracer, node)

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory."""
        return self._tracer.loop.call(lambda: self._tree.listdir(path))

    def mkdir(self, path: str, keep: bool = False) -> None:
        """Make a directory: an instance. `keep` has no meaning here: the tracer ends with this process."""
        self._tracer.loop.call(lambda: self._tree.mkdir(path, self._caller))

    def rmdir(self, path: str) -> None:
        """Remove a directory."""
        self._tracer.loop.call(lambda: self._tree.rmdir(path, self._caller))

    def close(self) -> None:
        """Nothing to close."""
