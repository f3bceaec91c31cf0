"""Reaching a tracer: the one that runs already, through its socket, or one in this process."""

import time
from collections.abc import Callable

from ..control import Access
from ..doors.socket import SocketDoor
from ..errors import NoTracer
from ..host import LocalAccess, Tracer
from ..tracefs import Tree
from .reach import join

_START_S = 3.0
_TURN_S = 0.05


class Tracing:
    """A tracer to work with. `is_own` says that it lives in this process and ends with it.

    Raises `NoTracer` if another tracer holds the lock but does not answer, `Unusable` if no runtime
    directory serves.
    """

    def __init__(self, *, log: Callable[[str, str], None] | None = None) -> None:
        self._doors: list[SocketDoor] = []
        tracer = Tracer(log=log)
        deadline = time.monotonic() + _START_S
        while True:
            try:
                tracer.start()
                break
            except NoTracer as busy:
                try:
                    self.access: Access = join(busy)
                    self.tracer: Tracer | None = None
                    return
                except NoTracer:
                    if time.monotonic() > deadline:
                        raise
            time.sleep(_TURN_S)  # the other tracer is starting, or ending: join it, or take its place
        self.tracer = tracer
        tree = Tree(tracer)
        self.access = LocalAccess(tracer, tree)
        tracer.loop.call(lambda: self._open_doors(tracer, tree))

    def _open_doors(self, tracer: Tracer, tree: Tree) -> None:
        for listener in tracer.listeners():
            door = SocketDoor(tree, listener, tracer.loop)
            self._doors.append(door)
            tracer.pokes.append(door.poke)

    @property
    def is_own(self) -> bool:
        """Whether the tracer lives in this process."""
        return self.tracer is not None

    def clients(self) -> int:
        """Return how many other processes use our tracer now."""
        tracer = self.tracer
        if tracer is None:
            return 0
        return tracer.loop.call(lambda: sum(door.clients for door in self._doors))

    def close(self) -> None:
        """Leave the tracer; our own one ends."""
        self.access.close()
        if self.tracer is not None:
            self.tracer.loop.call(self._close_doors)
            self.tracer.stop()

    def _close_doors(self) -> None:
        for door in self._doors:
            door.close()
