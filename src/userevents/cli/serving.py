"""Serving the tree as files: a tracer in this process, and FUSE doors into it."""

import contextlib
from collections.abc import Iterator

from ..control import Tracer as TracerControl
from ..doors.fuse import FuseDoor, Mounted
from ..errors import NoTracer
from ..host import Tracer
from ..tracefs import Tree
from .console import warn
from .tracing import Tracing


class Serving:
    """The tracer of this process, and a tree of it for doors."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        self.tree = Tree(tracer)

    @contextlib.contextmanager
    def door(self, mounted: Mounted, *, gid: int | None = None) -> Iterator[FuseDoor]:
        """Serve a mounted file system, too, for as long as this lasts."""
        door = FuseDoor(self.tree, mounted, self.tracer.loop, gid=gid, log=_log)
        self.tracer.loop.call(lambda: self.tracer.pokes.append(door.poke))
        door.start()
        try:
            yield door
        finally:
            self.tracer.loop.call(lambda: self.tracer.pokes.remove(door.poke))
            door.close()


@contextlib.contextmanager
def serving() -> Iterator[Serving]:
    """Be the tracer. Raises `NoTracer` if another process is."""
    with contextlib.closing(Tracing(log=_log)) as tracing:
        if tracing.tracer is None:
            pid = TracerControl(tracing.access).info().get("pid")
            raise NoTracer(
                f"process {pid} is this user's tracer already, and there is one at a time: end it, or give this one"
                f" a directory of its own (USEREVENTS_DIR)"
            )
        yield Serving(tracing.tracer)


def _log(level: str, message: str) -> None:
    if level in ("warning", "error", "alert"):
        warn(message)
