"""The FUSE door: requests of the kernel's file system layer, each translated to one call on the tree and back to errno.

One thread serves; whoever else touches the tree holds the loop's lock, as it does. It never waits for a client, and it
answers every request that it took: a client whose request is kept sleeps beyond the reach of signals. It never opens
or looks at a file of its own mount, since nobody would answer it.
"""

import errno
import os
import threading
from collections.abc import Mapping
from typing import Final

from ...abi import fuse
from ...errors import Refused
from ...host.loop import Loop
from ...tracefs import Tree
from ..callers import clients_of
from .channel import Channel, Log, Operation, Request
from .files import Files
from .mount import Mounted, unmount
from .names import Names
from .parts import MAX_PAGES
from .writes import HEADER_SIZE, Writes

_MAX_WRITE: Final = 1 << 20
_PAGE: Final = 4096
_WANTED: Final = fuse.ASYNC_READ | fuse.ATOMIC_O_TRUNC | fuse.BIG_WRITES | fuse.PARALLEL_DIROPS | fuse.MAX_PAGES
_HEADER: Final = fuse.IN_HEADER
_OPCODE: Final = 4
_END_S: Final = 2.0


class FuseDoor:
    """Serves `tree` on a mounted file system, beside the loop that drives the tree.

    Files belong to `uid` and `gid` (this process's unless given); the kernel has checked every permission before we
    are asked. `start` begins; call `poke`, with the loop's lock, after every turn of the loop.
    """

    def __init__(
        self,
        tree: Tree,
        mounted: Mounted,
        loop: Loop,
        *,
        uid: int | None = None,
        gid: int | None = None,
        log: Log | None = None,
    ) -> None:
        self._tree = tree
        self._mounted = mounted
        self._lock = loop.lock
        self._raw = loop.lock.raw
        self._wake = loop.wake
        self._work = tree.system.group.queue
        self._log: Log = log if log is not None else lambda level, message: None
        self._channel = Channel(mounted.fd, self._log)
        self._clients = clients_of(tree, loop, self._log)
        names = Names(tree, os.geteuid() if uid is None else uid, os.getegid() if gid is None else gid)
        self._files = Files(tree, names, self._clients, self._channel)
        self._writes = Writes(self._files, self._clients, self._channel, loop.lock, self._wake_if_due)
        self._operations: Mapping[int, Operation] = {
            fuse.INIT: _init,
            fuse.DESTROY: lambda request: b"",
            **names.operations,
            **self._files.operations,
        }
        self._closed = False
        self._thread = threading.Thread(target=self._serve_all, name="userevents-fuse", daemon=True)

    def start(self) -> None:
        """Begin to serve, in a thread of its own."""
        self._thread.start()

    @property
    def is_serving(self) -> bool:
        """Whether the file system is there still; whoever has the right to may unmount it."""
        return self._thread.is_alive() and not self._closed

    def poke(self) -> None:
        """Answer the reads and polls that waited for something that has happened since. The caller holds the lock."""
        if not self._closed:
            self._files.poke()

    def close(self) -> None:
        """Unmount. Whoever waits for a file gets an error now, whoever has one open at the next call.

        A private mount ends with its last program; that a request of it was not answered then is an error to it.
        """
        with self._lock:
            if self._closed:
                return  # somebody unmounted it: what is mounted there now is not ours
            self._end()
        if self._mounted.path:
            unmount(self._mounted.path)
            self._thread.join(_END_S)

    def _end(self) -> None:
        """Let go of all that clients have."""
        self._closed = True
        self._files.close()
        self._writes.close()
        self._clients.close()

    def _serve_all(self) -> None:
        """Answer requests until the file system is unmounted or the door closed."""
        buffer = bytearray(_MAX_WRITE + _PAGE)
        view, receive, serve_write = memoryview(buffer), self._writes.receiver(buffer), self._writes.serve
        while not self._closed:
            try:
                size = receive()
            except OSError as error:
                if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue
                if error.errno not in (errno.ENODEV, errno.ECONNABORTED):
                    self._log("error", f"{self._mounted}: {error.strerror}")
                break
            if size >= HEADER_SIZE and buffer[_OPCODE] == fuse.WRITE:
                serve_write(buffer)
            elif size >= _HEADER.size:
                self._serve(Request(_HEADER.unpack_from(buffer), view[_HEADER.size : size]))
        with self._lock:
            if not self._closed:
                self._end()
        os.close(self._channel.fd)  # with that, everybody who waits for an answer has an error

    def _serve(self, request: Request) -> None:
        operation = self._operations.get(request.opcode)
        if operation is None:
            self._channel.refuse(request.unique, errno.ENOSYS)
            return
        with self._raw:
            self._lock.turns += 1
            if self._closed:
                return
            self._channel.run(request.unique, operation, request)
            if self._work:
                self._wake()

    def _wake_if_due(self) -> None:
        """Have the loop do what was deferred."""
        if self._work:
            self._wake()


def _init(request: Request) -> bytes:
    major, minor, _, offered = fuse.INIT_IN.unpack_from(request.body)
    if major != fuse.MAJOR:
        raise Refused(errno.EPROTO, f"the kernel speaks FUSE {major}.{minor}")
    return fuse.INIT_OUT.pack(
        fuse.MAJOR, min(minor, fuse.MINOR), 0, offered & _WANTED, 64, 48, _MAX_WRITE, 1, MAX_PAGES, 0, 0, 0
    )
