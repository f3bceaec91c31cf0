"""Serving the tree as files: a tracer in this process, and FUSE doors into it."""

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence

from ..doors import Policy
from ..doors.fuse import FuseDoor, Mounted
from ..errors import NoTracer
from ..host import Tracer
from ..tracefs import Tree
from .console import log_trouble
from .tracing import Log, Tracing, directory_apart


class Serving:
    """The tracer of this process, and a tree of it for doors."""

    def __init__(self, tracing: Tracing, tracer: Tracer, log: Log, mode: int | None = None) -> None:
        self.tracing = tracing
        self.tracer = tracer
        self.is_beside = False
        """Whether another process is this user's tracer, and we are one in a directory of our own."""
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
    beside: bool = False,
) -> Iterator[Serving]:
    """Be the tracer, and serve the `sockets` that a service manager made; `mode` is that of the tree for doors.

    With a `policy`, be the tracer of all users. Raises `NoTracer` if another process is the tracer, unless we may be
    one `beside` it, in a runtime directory of our own: that is then what USEREVENTS_DIR says.
    """
    log = log or log_trouble
    is_beside = False
    with contextlib.ExitStack() as stack:
        try:
            tracing = Tracing(log=log, alone=True, sockets=sockets, policy=policy)
        except NoTracer:
            if not beside or os.environ.get("USEREVENTS_DIR"):
                raise
            is_beside = True
            stack.enter_context(directory_apart())
            tracing = Tracing(log=log, alone=True)
        stack.enter_context(contextlib.closing(tracing))
        assert tracing.tracer is not None
        served = Serving(tracing, tracing.tracer, log, mode)
        served.is_beside = is_beside
        yield served
