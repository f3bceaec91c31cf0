"""Who may use the socket: by user, group and mode, as a directory of those would say.

Source: user_events contract, tracefs.md section 1, for what a mount of tracefs says with ``mode``, ``uid`` and ``gid``.
"""

import socket
import struct
from typing import Final, NamedTuple

from ..tracefs import Caller

_CREDENTIALS: Final = struct.Struct("3i")
"""struct ucred: pid, uid, gid."""
_SO_PEERGROUPS: Final = 59
_GROUPS_SIZE: Final = 1024
"""As much as Python asks for: 256 groups. Who is in more goes by the first one alone."""


class Peer(NamedTuple):
    """Who is at the other end of a connection, as the kernel tells."""

    uid: int
    groups: frozenset[int]

    @classmethod
    def of(cls, sock: socket.socket) -> "Peer":
        """Ask the kernel, which noted it when the connection was made."""
        _, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        try:
            raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_SIZE)
        except OSError:
            raw = b""
        return cls(uid, frozenset((gid, *struct.unpack(f"{len(raw) // 4}I", raw[: len(raw) // 4 * 4]))))


class Policy(NamedTuple):
    """The owner of a tree, its group, and the mode of its first directory."""

    uid: int
    gid: int | None = None
    mode: int = 0o700

    def caller(self, peer: Peer) -> Caller | None:
        """As whom a peer uses the tree; None if it may not enter. Root may everything."""
        is_member = self.gid is not None and self.gid in peer.groups
        mode = self.mode >> 6 if peer.uid == self.uid else self.mode >> 3 if is_member else self.mode
        if peer.uid and not mode & 1:
            return None
        return Caller(peer.uid, self.gid if is_member and self.gid is not None else -1, perfmon=peer.uid == 0)
