"""One client of the socket: its bytes in and out, its open files, and its reads that wait.

Nothing here blocks, and nothing a client sends can hurt another: a frame that makes no sense ends the
connection it came on.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from ..abi import socket as wire
from ..abi.tracefs import O_NONBLOCK
from ..errors import Malformed, Refused
from ..tracefs import Caller, OpenNode

if TYPE_CHECKING:
    from .socket import SocketDoor

_RECEIVE_SIZE: Final = 1 << 16
_SEND_SIZE: Final = 1 << 20
_AT_ONCE: Final = 64
"""Requests of one client that are served in a turn; then it is others' turn."""
_BACKLOG_SIZE: Final = 2 * wire.MAX_REQUEST_SIZE
"""Requests kept unprocessed while their sender does not read its answers; more ends the connection."""


class _Request(NamedTuple):
    tag: int
    op: int
    flags: int
    body: bytes


class _Parked(NamedTuple):
    """A read that had nothing to return yet."""

    handle: int
    size: int
    offset: int | None


class _Answer(NamedTuple):
    result: int
    body: bytes = b""


class Connection:
    """The tracer's end of one connection."""

    def __init__(self, door: "SocketDoor", sock: socket.socket, caller: Caller) -> None:
        self.caller = caller
        self.dead = False
        self._door = door
        self._sock = sock
        self.greeted = False
        self._has_more = False
        """Whether complete requests may be left for the next turn."""
        self._received = bytearray()
        self._pending = bytearray()
        self._handles: dict[int, OpenNode] = {}
        self._parked: dict[int, _Parked] = {}
        self._operations: dict[int, Callable[[_Request], _Answer | None]] = {
            wire.OP_OPEN: self._open,
            wire.OP_READ: self._read,
            wire.OP_WRITE: self._write,
            wire.OP_CLOSE: self._close,
            wire.OP_LISTDIR: self._listdir,
            wire.OP_MKDIR: self._mkdir,
            wire.OP_RMDIR: self._rmdir,
            wire.OP_STAT: self._stat,
        }
        door.loop.watch(sock.fileno(), self.on_readable, None)

    @property
    def kept_size(self) -> int:
        """Bytes kept for it: requests that came, and answers that it has not read."""
        return len(self._received) + len(self._pending)

    def on_readable(self) -> None:
        """Take what has arrived, one piece a turn, and answer what is complete."""
        try:
            data = self._sock.recv(_RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.die()
            return
        self._received += data
        self.proceed()

    def on_writable(self) -> None:
        """Send more of what is pending, then go on with requests that were left waiting."""
        self._flush()
        if not self.dead:
            self.proceed()

    def proceed(self) -> None:
        """Answer some complete requests while the client keeps up; a malformed one ends the connection."""
        self._has_more = True
        try:
            if not self.greeted and len(self._received) >= wire.HELLO.size:
                self._greet()
            for _ in range(_AT_ONCE if self.greeted else 0):
                if self.dead or len(self._pending) >= wire.MAX_PENDING_SIZE:
                    break
                request = self._next_request()
                if request is None:
                    self._has_more = False
                    break
                self._serve(request)
            self._has_more &= self.greeted
        except Malformed as bad:
            self._flush()
            self._door.log("info", f"closing a connection of user {self.caller.uid}: {bad}")
            self.die()
        self._flush()
        if len(self._received) > _BACKLOG_SIZE:
            self._door.log("info", f"closing a connection of user {self.caller.uid}: it does not read its answers")
            self.die()

    def retry_parked(self) -> None:
        """Complete the waiting reads that now have something to return."""
        for tag, parked in tuple(self._parked.items()):
            if self.dead or len(self._pending) >= wire.MAX_PENDING_SIZE:
                return
            node = self._handles[parked.handle]
            if node.readable():
                del self._parked[tag]
                self._answer_to(tag, partial(self._try_read, tag, parked))
                self._flush()

    def die(self) -> None:
        """End the connection; everything it had open is closed. Ending it again does nothing."""
        if self.dead:
            return
        self.dead = True
        self._parked.clear()
        self._door.loop.unwatch(self._sock.fileno())
        self._sock.close()
        for node in self._handles.values():
            node.abort()
        self._handles.clear()
        self._door.forget(self)

    def _greet(self) -> None:
        magic, version, _ = wire.HELLO.unpack_from(self._received)
        del self._received[: wire.HELLO.size]
        if magic != wire.MAGIC:
            raise Malformed("hello", f"begins with {magic!r}")
        status = 0 if version == wire.VERSION else -errno.EPROTONOSUPPORT
        self._send(wire.HELLO.pack(wire.MAGIC, wire.VERSION, status))
        if status:
            raise Malformed("hello", f"version {version}; this tracer speaks {wire.VERSION}")
        self.greeted = True

    def _next_request(self) -> _Request | None:
        """The next request if all of it is here."""
        if len(self._received) < wire.REQUEST.size:
            return None
        size, tag, op, flags = wire.REQUEST.unpack_from(self._received)
        if size > wire.MAX_REQUEST_SIZE:
            raise Malformed("request", f"{size} bytes; at most {wire.MAX_REQUEST_SIZE} may follow")
        if op not in self._operations:
            raise Malformed("request", f"operation {op} does not exist")
        end = wire.REQUEST.size + size
        if len(self._received) < end:
            return None
        body = bytes(self._received[wire.REQUEST.size : end])
        del self._received[:end]
        return _Request(tag, op, flags, body)

    def _serve(self, request: _Request) -> None:
        if request.tag in self._parked:
            raise Malformed("request", f"tag {request.tag} belongs to a read that still waits")
        self._answer_to(request.tag, partial(self._operations[request.op], request))

    def _answer_to(self, tag: int, operation: Callable[[], _Answer | None]) -> None:
        """Run `operation` and send what it answers; None means that the answer comes later."""
        try:
            answer = operation()
        except Refused as refused:
            answer = _Answer(-(refused.errno or errno.EIO), refused.reason.encode("utf-8", "backslashreplace"))
        if answer is not None and not self.dead:
            self._send(wire.RESPONSE.pack(len(answer.body), tag, answer.result) + answer.body)

    def _open(self, request: _Request) -> _Answer:
        (flags,), path = _arguments(wire.OPEN_ARGS, request.body)
        if len(self._handles) >= wire.MAX_HANDLES:
            raise Refused(errno.EMFILE, f"a connection may have {wire.MAX_HANDLES} files open")
        node = self._door.tree.open(_text(path), flags, self.caller)
        handle = next(number for number in range(wire.MAX_HANDLES) if number not in self._handles)
        self._handles[handle] = node
        return _Answer(handle)

    def _read(self, request: _Request) -> _Answer | None:
        (handle, size, offset), rest = _arguments(wire.READ_ARGS, request.body)
        if rest:
            raise Malformed("read request", f"{len(rest)} bytes too many")
        size = min(size, wire.MAX_READ_SIZE)
        position = None if offset == wire.OWN_POSITION else offset
        return self._try_read(request.tag, _Parked(handle, size, position))

    def _try_read(self, tag: int, wanted: _Parked) -> _Answer | None:
        """Read now, or park the read if it may wait and there is nothing yet."""
        node = self._node(wanted.handle)
        try:
            data = node.read(wanted.size, wanted.offset)
        except Refused as refused:
            if refused.errno != errno.EAGAIN or node.flags & O_NONBLOCK:
                raise
            if len(self._parked) >= wire.MAX_PARKED_READS:
                raise Refused(errno.EMFILE, f"{wire.MAX_PARKED_READS} reads already wait on this connection") from None
            self._parked[tag] = wanted
            return None
        return _Answer(len(data), data)

    def _write(self, request: _Request) -> _Answer:
        (handle,), data = _arguments(wire.HANDLE_ARGS, request.body)
        return _Answer(self._node(handle).write(data))

    def _close(self, request: _Request) -> _Answer:
        (handle,), _ = _arguments(wire.HANDLE_ARGS, request.body)
        self._node(handle).close()
        del self._handles[handle]
        for tag in [tag for tag, parked in self._parked.items() if parked.handle == handle]:
            del self._parked[tag]
            self._send(wire.RESPONSE.pack(0, tag, -errno.EBADF))
        return _Answer(0)

    def _listdir(self, request: _Request) -> _Answer:
        (skip,), path = _arguments(wire.LISTDIR_ARGS, request.body)
        names = bytearray()
        for name in self._door.tree.listdir(_text(path), self.caller)[skip:]:
            names += name.encode("latin-1", "backslashreplace") + b"\0"
            if len(names) > wire.MAX_LISTING_SIZE:
                break
        return _Answer(0, bytes(names))

    def _mkdir(self, request: _Request) -> _Answer:
        path = _text(request.body)
        self._door.tree.mkdir(path, self.caller)
        if not request.flags & wire.MKDIR_KEEP:
            self._door.own(self, path)
        return _Answer(0)

    def _rmdir(self, request: _Request) -> _Answer:
        self._door.tree.rmdir(_text(request.body), self.caller)
        return _Answer(0)

    def _stat(self, request: _Request) -> _Answer:
        stat = self._door.tree.stat(_text(request.body), self.caller)
        return _Answer(0, wire.STAT_RESULT.pack(stat.mode, stat.size))

    def _node(self, handle: int) -> OpenNode:
        node = self._handles.get(handle)
        if node is None:
            raise Refused(errno.EBADF, f"no file is open as {handle}")
        return node

    def _send(self, data: bytes) -> None:
        self._pending += data

    def _flush(self) -> None:
        """Send what the socket takes; watch for more room while something is left to send, or to serve."""
        if self.dead:
            return
        try:
            while self._pending:
                with memoryview(self._pending) as everything, everything[:_SEND_SIZE] as piece:
                    sent = self._sock.send(piece)
                del self._pending[:sent]
        except BlockingIOError:
            pass
        except OSError as error:
            self._door.log("info", f"a client went away: {os.strerror(error.errno or 0)}")
            self.die()
            return
        self._door.loop.watch(
            self._sock.fileno(), self.on_readable, self.on_writable if self._pending or self._has_more else None
        )


def _arguments(layout: struct.Struct, body: bytes) -> tuple[tuple[int, ...], bytes]:
    """The fixed arguments of a request and the bytes after them."""
    if len(body) < layout.size:
        raise Malformed("request", f"{len(body)} bytes of arguments; at least {layout.size} are needed")
    return layout.unpack_from(body), body[layout.size :]


def _text(path: bytes) -> str:
    """A path as the tree takes it: one character a byte."""
    return path.decode("latin-1")
