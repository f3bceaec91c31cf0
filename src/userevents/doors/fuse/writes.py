"""Writing to files, which is what most requests are: events, most of them plain ones that go straight into a ring.

What the tree has said of one thread's events with one index (`OpenNode.sink`) holds until anybody changes anything:
as long as nobody has had the tree's lock, its records take that short way. Where the extension `_serve` was built such
writes do not come here: it reads the requests, serves them as `serve` would, and leaves all others.
"""

import os
from collections.abc import Callable
from functools import partial
from struct import Struct
from types import ModuleType
from typing import Any, Final

from ...abi import fuse, tracefs
from ...host.calls import Vectors
from ...host.clients import Clients, ClientThread
from ...host.loop import TreeLock
from ...tracefs import Sink, WriteCall
from .channel import Channel
from .files import Files
from .handles import Handle
from .parts import MAX_PAGES, Parts

native: ModuleType | None
try:
    from . import _serve as native  # type: ignore[attr-defined, no-redef, unused-ignore]
except (ImportError, SystemError):  # not built or not wanted; SystemError: a free-threaded Python before 3.14
    native = None

_WRITE: Final = Struct(fuse.IN_HEADER.format + fuse.WRITE_IN.format.lstrip("<"))
HEADER_SIZE: Final = _WRITE.size
"""What comes before the data of a write."""
_SHORT: Final = Struct("<8xQ16xI4xQQI20xi")
"""Of a write's header and the data: unique, thread, fh, offset, size; the index."""
_PAYLOAD: Final = _SHORT.size
INDEX_SIZE: Final = _PAYLOAD - HEADER_SIZE
_WRITTEN: Final = Struct(fuse.OUT_HEADER.format + fuse.WRITE_OUT.format.lstrip("<"))
_Key = tuple[int, int, int]


class Writes:
    """The writes to the open files of one mount. `changed` is told after those that are no events."""

    def __init__(
        self, files: Files, clients: Clients, channel: Channel, lock: TreeLock, changed: Callable[[], None]
    ) -> None:
        self._files = files
        self._clients = clients
        self._channel = channel
        self._lock = lock
        self._raw = lock.raw
        self._waiting, self._polled = files.waiting, files.polled
        self._changed = changed
        self._sinks: dict[_Key, Sink | None] = {}
        """By open file, write index and thread; None where there is no short way."""
        self._parts = Parts(channel.log)
        self._turns = -1
        """When they were found."""
        self._plain: Any = None

    def receiver(self, buffer: bytearray) -> Callable[[], int]:
        """Return what reads a request into `buffer` and returns its size; it may serve some writes by itself."""
        if native is None:
            return partial(os.readv, self._channel.fd, (buffer,))
        self._plain = native.PlainWrites(self._channel.fd, buffer, self._lock, self._channel, MAX_PAGES)
        receive: Callable[[], int] = self._plain.serve
        return receive

    def serve(self, buffer: bytearray) -> None:
        """Do what the write in `buffer` asks for, and answer it."""
        unique, tid, fh, offset, size, index = _SHORT.unpack_from(buffer)
        vectors = self._parts.vectors(tid) if size >= MAX_PAGES else None
        with self._raw:
            if self._turns != self._lock.turns:
                self._sinks.clear()
                self._turns = self._lock.turns
            sink = self._sinks.get((fh, index, tid))
            try:
                is_whole = not offset and not vectors and size >= INDEX_SIZE
                if sink is None or not is_whole or not sink(buffer[_PAYLOAD : HEADER_SIZE + size]):
                    size = self._write(buffer, fh, index, tid, size, vectors)
                elif size >= MAX_PAGES:
                    self._parts.began(fh, tid, index, size, 0)
                answer = _WRITTEN.pack(_WRITTEN.size, 0, unique, size, 0)
                if self._waiting or self._polled:
                    self._files.poke()
                elif self._plain is not None and (sink := self._sinks.get((fh, index, tid))) is not None:
                    self._plain.keep(fh, index, tid, sink)  # nobody begins to wait without having the lock
            except Exception as error:
                answer = self._channel.failure(unique, error)
        self._channel.send(answer)

    def close(self) -> None:
        """Nothing more is written."""
        self._parts.close()

    def _write(self, buffer: bytearray, fh: int, index: int, tid: int, size: int, vectors: Vectors | None) -> int:
        """Hand the data to the tree; returns how much of it was taken."""
        _, _, _, _, uid, gid, _, _, _, _, offset, _, _, _, flags, _ = _WRITE.unpack_from(buffer)
        data = bytes(buffer[HEADER_SIZE : HEADER_SIZE + size])
        handle = self._files.handle(fh)
        if not handle.is_stream:
            self._lock.turns += 1  # whatever was found out may not hold any more
            taken = handle.node.write(data)
            self._changed()
            return taken
        thread = self._clients.thread(tid, uid, gid)
        if not handle.is_data:
            return handle.node.write(data, WriteCall(thread))  # each part is a mark of its own, as each vector is
        if offset and self._parts.has_taken(fh, tid, offset, size):
            return size
        if offset and not flags & tracefs.O_APPEND:  # who appends writes each event behind the one before
            self._parts.lose(handle, thread, tid, offset, size)
            return size
        left, rest = self._parts.rest(thread, vectors, size)
        self._put(handle, thread, index, tid, data + rest)
        if size >= MAX_PAGES:
            self._parts.began(fh, tid, index, offset + size, left)
        return size

    def _put(self, handle: Handle, thread: ClientThread | None, index: int, tid: int, data: bytes) -> None:
        """Write an event, the short way or the long one, after which the short one is known."""
        key = handle.fh, index, tid
        sink = self._sinks.get(key) if len(data) >= INDEX_SIZE else None
        if sink is not None and sink(data[INDEX_SIZE:]):
            return
        handle.node.write(data, WriteCall(thread))
        if thread is not None and key not in self._sinks:
            self._sinks[key] = handle.node.sink(index, thread.writer)
