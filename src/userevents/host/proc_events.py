"""Births, execs and deaths of processes, told by the kernel (the proc connector), without asking for each.

Works for anyone from Linux 6.6 on, with CAP_NET_ADMIN before that, and only in the first network, user and PID
namespaces. Where it does not, callers look at ``/proc`` when they need to know.

In other namespaces the kernel does not take the request, but it may deliver what somebody else asked for, with the
process ids of the first namespace, which are other processes here. Only a request that it acknowledges counts.
"""

import errno
import os
import select
import socket
from functools import partial
from struct import Struct
from typing import Final, NamedTuple

_NETLINK_CONNECTOR: Final = 11
_CN_IDX_PROC: Final = 1
_LISTEN: Final = 1
_NLMSG_DONE: Final = 3
_NETLINK_HEADER: Final = Struct("<IHHII")
_CONNECTOR_HEADER: Final = Struct("<IIIIHH")
_OPERATION: Final = Struct("<I")
_EVENT: Final = 36
"""Offset of the event in a datagram: kind, CPU, time, then what it tells."""
_TOLD: Final = Struct("<IIQIIII")
_ACK_AT: Final = 28
"""Offset of what a datagram that acknowledges a request has: one more than that request had; then of its errno."""
_ERROR_AT: Final = 52
_BUFFER: Final = 1 << 20

FORK: Final = 1
EXEC: Final = 2
EXIT: Final = 0x80000000


class ProcEvent(NamedTuple):
    """What happened: for `FORK` the child's ids stand beside its parent's."""

    kind: int
    tid: int
    pid: int
    child_tid: int = 0
    child_pid: int = 0


class ProcEvents:
    """The connector's socket. Raises `OSError` where there is none for us."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_CONNECTOR
        )
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._socket.bind((0, _CN_IDX_PROC))
            self._subscribe()
        except OSError:
            self._socket.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN | select.POLLERR)
        self.has_news: Final = partial(self._poll.poll, 0)
        """Whether anything happened since the last time."""
        self.overflowed = False
        """Set when events were lost: look at everything anew, and clear it."""

    def _subscribe(self) -> None:
        """Ask for events; EPERM where the kernel does not acknowledge that, which it does before `send` returns."""
        size = _NETLINK_HEADER.size + _CONNECTOR_HEADER.size + _OPERATION.size
        number = int.from_bytes(os.urandom(3), "little")
        self._socket.send(
            _NETLINK_HEADER.pack(size, _NLMSG_DONE, 0, 0, os.getpid())
            + _CONNECTOR_HEADER.pack(_CN_IDX_PROC, 1, 0, number, _OPERATION.size, 0)
            + _OPERATION.pack(_LISTEN)
        )
        while True:
            try:
                data = self._socket.recv(4096)
            except BlockingIOError:
                raise PermissionError(errno.EPERM, "the kernel took no notice of the request") from None
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue
            if _OPERATION.unpack_from(data, _ACK_AT)[0] == number + 1:
                (refused,) = _OPERATION.unpack_from(data, _ERROR_AT)
                if refused:
                    raise OSError(refused, os.strerror(refused))
                return

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def read(self) -> list[ProcEvent]:
        """What happened since the last time, in order."""
        found: list[ProcEvent] = []
        while self.has_news():
            try:
                data = self._socket.recv(4096)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    break
                self.overflowed = True
                continue
            if len(data) < _EVENT + _TOLD.size:
                continue
            kind, _cpu, _time, tid, pid, child_tid, child_pid = _TOLD.unpack_from(data, _EVENT)
            if kind == FORK:
                found.append(ProcEvent(kind, tid, pid, child_tid, child_pid))
            elif kind in (EXEC, EXIT):
                found.append(ProcEvent(kind, tid, pid))
        return found

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
