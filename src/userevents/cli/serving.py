"""Serving the tree as files: a tracer in this process, and FUSE doors into it."""

import contextlib
import socket
from collections.abc import Iterator, Sequence

from ..doors import Policy
from ..doors.fuse import FuseDoor, Mounted
from ..host import Tracer
from ..tracefs import Tree
from .console import warn
from .tracing import Log, Tracing


class Serving:
    """The tracer of this process, and a tree of it for doors."""

    def __init__(self, tracing: Tracing, tracer: Tracer, log: Log, mode: int | None = None) -> None:
        self.tracing = tracing
        self.tracer = tracer
        self.tree = Tree(tracer) if mode is None else Tree(tracer, mode=mode)
        self._log = log

    @contextlib.contextmanager
    def door(self, mounted: Mounted, *, gid: int | None = None) -> Iterator[FuseDoor]:
        """Serve a mounted file system, too, for as long as this lasts."""
        door = FuseDoor(self.tree, mounted, self.tracer.loop, gid=gid, log=self._log)
        self.tracer.loop.call(lambda: self.tracer.pokes.append(door.poke))
        door.start()
        try:
            yield door
        finally:
            self.tracer.loop.call(lambda: self.tracer.pokes.remove(door.poke))
            door.close()


@contextlib.contextmanager
def serving(
    log: Log | None = None,
    sockets: Sequence[socket.socket] = (),
    *,
    mode: int | None = None,
    policy: Policy | None = None,
) -> Iterator[Serving]:
    """Be the tracer, and serve the `sockets` that a service manager made; `mode` is that of the tree for doors.

    With a `policy`, be the tracer of all users. Raises `NoTracer` if another process is the tracer.
    """
    log = log or _warn
    with contextlib.closing(Tracing(log=log, alone=True, sockets=sockets, policy=policy)) as tracing:
        assert tracing.tracer is not None
        yield Serving(tracing, tracing.tracer, log, mode)


def _warn(level: str, message: str) -> None:
    if level in ("warning", "error", "alert"):
        warn(message)
