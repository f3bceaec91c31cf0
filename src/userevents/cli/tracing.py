"""Reaching a tracer: the one that runs already, through its socket, or one in this process."""

import contextlib
import gc
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

from ..abi.tracefs import INSTANCES
from ..control import Access
from ..control import Tracer as TracerControl
from ..doors import Policy, SocketDoor
from ..errors import NoTracer, Refused
from ..host import LocalAccess, Tracer
from ..session import directory
from ..tracefs import Tree
from .reach import join, reach

Log = Callable[[str, str], None]
_START_S = 3.0
_TURN_S = 0.05
_END_S = 2.0
"""How long other processes have to take what is left of their recordings."""
_SHORT_S = 0.002


class Tracing:
    """A tracer to work with. `is_own` says that it lives in this process and ends with it.

    With `alone` it must: `NoTracer` tells then who else is the tracer, and `sockets` that a service manager has made
    are served, too; with a `policy` it is the tracer of all users, for whom the policy lets in. Raises `NoTracer` if
    another tracer holds the lock but does not answer, `Unusable` if no runtime directory serves.
    """

    def __init__(
        self,
        *,
        log: Log | None = None,
        alone: bool = False,
        sockets: Sequence[socket.socket] = (),
        policy: Policy | None = None,
    ) -> None:
        self._doors: list[SocketDoor] = []
        self._log = log
        self._policy = policy
        self.tracer: Tracer | None = None
        deadline = time.monotonic() + _START_S
        while True:
            access = None if alone else _running()
            if access is not None:
                self.access: Access = access
                return
            tracer = Tracer(log=log, everyone=policy is not None)
            try:
                tracer.start()
                break
            except NoTracer as busy:
                if time.monotonic() > deadline or alone:
                    raise _who(busy) from None
            time.sleep(_TURN_S)  # the other tracer is starting, or ending: join it, or take its place
        self.tracer = tracer
        gc.freeze()  # collecting what is here to stay halts the tracer for as long as a program takes to fill a ring
        tree = Tree(tracer)
        self.access = LocalAccess(tracer, tree)
        tracer.loop.call(lambda: self._open_doors(tracer, tree, sockets))

    def _open_doors(self, tracer: Tracer, tree: Tree, sockets: Sequence[socket.socket]) -> None:
        policy = self._policy
        if policy is not None:  # what a client may do, its files' modes say; it is not the tree's owner
            tree = Tree(tracer, uid=policy.uid, gid=policy.gid, mode=policy.mode)
        for listener in tracer.listeners(sockets):
            door = SocketDoor(tree, listener, tracer.loop, policy=policy, clock=time.monotonic, log=self._log)
            self._doors.append(door)
            tracer.pokes.append(door.poke)

    @property
    def is_own(self) -> bool:
        """Whether the tracer lives in this process."""
        return self.tracer is not None

    def environment(self) -> dict[str, str]:
        """What programs that we start need in their environment to find our tracer and not the system's beside it.

        Where that one runs it makes a directory for this user when it first sees one, at any moment from now on.
        """
        served = self.tracer.directories if self.tracer is not None else []
        is_beside = os.path.lexists(directory.SYSTEM)
        return {"USEREVENTS_DIR": served[0]} if served and is_beside and directory.candidates()[0] not in served else {}

    def clients(self) -> int:
        """Return how many other processes use our tracer now."""
        tracer = self.tracer
        if tracer is None:
            return 0
        return tracer.loop.call(lambda: sum(door.clients for door in self._doors))

    def close(self) -> None:
        """Leave the tracer; our own one ends, once those who record with it have what it has for them."""
        self.access.close()
        if self.tracer is not None:
            self.tracer.finish()
            deadline = time.monotonic() + _END_S
            while self.tracer.is_read and time.monotonic() < deadline:
                time.sleep(_SHORT_S)
            self.tracer.loop.call(self._close_doors)
            self.tracer.stop()

    def _close_doors(self) -> None:
        for door in self._doors:
            door.close()


def _running() -> Access | None:
    """The tracer that runs for this user, or that a service manager starts for us; None if there is none.

    The system's tracer is ours if it lets us do things there; else we are one beside it.
    """
    try:
        access = join()
    except (NoTracer, Refused):
        return None
    if os.path.dirname(access.path) == directory.SYSTEM and not _may_drive(access):
        access.close()
        return None
    return access


def _may_drive(access: Access) -> bool:
    probe = f"{INSTANCES}/probe-{os.getpid()}"
    try:
        access.mkdir(probe)
        access.rmdir(probe)
    except Refused:
        return False
    return True


def _who(busy: NoTracer) -> NoTracer:
    """Say who is the tracer, instead of where."""
    try:
        with contextlib.closing(join(busy)) as access:
            pid = TracerControl(access).info().get("pid")
    except NoTracer as silent:
        return silent
    except Refused as refused:
        return NoTracer(str(refused))
    return NoTracer(
        f"process {pid} is this user's tracer already, and there is one at a time: end it, or give this one"
        f" a directory of its own (USEREVENTS_DIR)"
    )


@contextlib.contextmanager
def reached_or_own(tracefs: str | None, log: Log | None = None) -> Iterator[Access]:
    """The tree below `tracefs`, or without one that of the user's tracer, which is this process if there is none.

    What that one has to say goes to `log`.
    """
    if tracefs is not None:
        with contextlib.closing(reach(tracefs)) as access:
            yield access
        return
    with contextlib.closing(Tracing(log=log)) as tracing:
        yield tracing.access


@contextlib.contextmanager
def directory_apart() -> Iterator[None]:
    """Be apart from the tracer that runs: USEREVENTS_DIR is fresh for us and whom we start, until this ends."""
    with tempfile.TemporaryDirectory(prefix=f"userevents-{os.geteuid()}-", dir="/dev/shm") as path:
        os.environ["USEREVENTS_DIR"] = path
        try:
            yield
        finally:
            del os.environ["USEREVENTS_DIR"]
