"""The socket door: the tree for other processes of the same user, over a Unix stream socket.

The owner of the loop calls everything from one thread; the door never blocks, starts no thread and
keeps no clock. Wire format: ``docs/formats/socket.md``.
"""

import errno
import os
import socket
from collections.abc import Callable
from typing import Final, Protocol

from ..abi import socket as wire
from ..errors import Refused
from ..tracefs import Tree
from .connection import Connection
from .policy import Peer, Policy

_HELLO_S: Final = 10.0
_FOR_ROOT: Final = 16
"""Connections that root may have when everybody else has theirs."""
_OF_ONE_USER: Final = 32
"""Connections that another user may have."""
KEPT_MAX: Final = 64 << 20
"""Bytes that wait for all clients together; beyond it, who makes most of them wait is hung up on."""


class Loop(Protocol):
    """What the door needs of an event loop: level-triggered readiness of descriptors."""

    def watch(self, fd: int, on_readable: Callable[[], None], on_writable: Callable[[], None] | None) -> None:
        """Call back while `fd` is readable (and writable, if asked); watching again replaces the callbacks."""

    def unwatch(self, fd: int) -> None:
        """Stop calling back for `fd`, which is about to be closed."""


class _Owned:
    """An instance that goes with the connection that made it."""

    def __init__(self, owner: Connection, path: str, identity: object) -> None:
        self.owner = owner
        self.path = path
        self.identity = identity
        """What stood at `path` then: whoever made it anew since keeps it."""


class SocketDoor:
    """Serves `tree` to the clients of `listener`, a listening Unix stream socket.

    Whom the `policy` does not let in (only the tracer's own user and root, unless given) gets EACCES. By the `clock`
    (s), who says no hello for a while is hung up on. What a client had open is closed when it goes, and the instances
    it made without asking to keep them are removed. `kept_max`: bytes that may wait for all clients together.
    """

    def __init__(
        self,
        tree: Tree,
        listener: socket.socket,
        loop: Loop,
        *,
        policy: Policy | None = None,
        clock: Callable[[], float] | None = None,
        kept_max: int = KEPT_MAX,
        log: Callable[[str, str], None] | None = None,
    ) -> None:
        self.tree = tree
        self.loop = loop
        self.log: Callable[[str, str], None] = log if log is not None else lambda level, message: None
        self._listener = listener
        self._policy = policy if policy is not None else Policy(os.geteuid())
        self._kept_max = kept_max
        self._clock = clock if clock is not None else lambda: 0.0
        self._connections: dict[Connection, float] = {}
        """Each with the time since when it is there."""
        self._owned: list[_Owned] = []
        self._spare = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        """A descriptor to give up for a client whom there is no other for."""
        listener.setblocking(False)
        loop.watch(listener.fileno(), self._accept, None)

    @property
    def clients(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def poke(self) -> None:
        """Complete reads that waited for something that has happened since; call it after every turn of the loop."""
        self._end_the_slow()
        for connection in tuple(self._connections):
            connection.retry_parked()
        if any(owned.owner.dead for owned in self._owned):
            self._remove_orphans()

    def close(self) -> None:
        """End every connection and stop listening; closing again does nothing."""
        if self._listener.fileno() < 0:
            return
        self.loop.unwatch(self._listener.fileno())
        self._listener.close()
        os.close(self._spare)
        for connection in tuple(self._connections):
            connection.die()

    def own(self, connection: Connection, path: str) -> None:
        """Remember that the instance at `path` goes when `connection` does."""
        self._owned.append(_Owned(connection, path, self.tree.identity(path)))

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self._connections.pop(connection, None)
        self._remove_orphans()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            self._turn_away_next(error)
            return
        sock.setblocking(False)
        caller = self._policy.caller(Peer.of(sock))
        if caller is None:
            self._turn_away(sock, errno.EACCES)
        elif not self._has_room(caller.uid):
            self._turn_away(sock, errno.EMFILE)
        else:
            self._connections[Connection(self, sock, caller)] = self._clock()

    def _has_room(self, uid: int) -> bool:
        """Whether one more of this user may come: some places are root's, some anybody's but for one other user."""
        taken = len(self._connections)
        if uid in (0, self._policy.uid):
            return taken < wire.MAX_CLIENTS + (_FOR_ROOT if uid == 0 else 0)
        return taken < wire.MAX_CLIENTS and sum(one.caller.uid == uid for one in self._connections) < _OF_ONE_USER

    def _end_the_slow(self) -> None:
        """Hang up on who said nothing for too long, and on who makes us keep too much."""
        late = self._clock() - _HELLO_S
        for connection, since in tuple(self._connections.items()):
            if since < late and not connection.greeted:
                self.log("info", f"closing a connection of user {connection.caller.uid}: it did not say hello")
                connection.die()
        kept = {connection: connection.kept_size for connection in self._connections}
        while sum(kept.values()) > self._kept_max:
            largest = max(kept, key=kept.__getitem__)
            self.log("warning", f"closing a connection of user {largest.caller.uid}: {kept.pop(largest)} bytes wait")
            largest.die()

    def _turn_away_next(self, error: OSError) -> None:
        """Accept a client in place of the spare descriptor, for there is no other, and hang up.

        One that is left waiting would be readable for ever, and the loop would never sleep again.
        """
        self.log("warning", f"a client cannot be served: {error.strerror}")
        os.close(self._spare)
        try:
            sock, _ = self._listener.accept()
            self._turn_away(sock, error.errno or errno.EMFILE)
        except OSError:
            pass
        self._spare = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def _turn_away(self, sock: socket.socket, code: int) -> None:
        """Say why not, as far as the client listens, and hang up."""
        try:
            sock.send(wire.HELLO.pack(wire.MAGIC, wire.VERSION, -code))
        except OSError:
            pass
        sock.close()

    def _remove_orphans(self) -> None:
        """Remove instances whose owner is gone; one that another client has open stays until that closes it."""
        kept = []
        for owned in self._owned:
            if self.tree.identity(owned.path) is not owned.identity:
                continue
            if owned.owner.dead:
                try:
                    self.tree.rmdir(owned.path)
                except Refused as refused:
                    if refused.errno == errno.EBUSY:
                        kept.append(owned)
                continue
            kept.append(owned)
        self._owned = kept
