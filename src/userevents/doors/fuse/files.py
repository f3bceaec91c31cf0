"""What requests ask about open files: opening, reading, ioctls, polling. (Writing is the door's own, being hot.)

A read that has nothing to return yet is kept until there is something; it ends at once when its client is
interrupted. Nothing else is ever kept.
"""

import errno
from collections.abc import Mapping
from typing import Final

from ...abi import fuse, tracefs
from ...errors import Refused
from ...host.clients import Clients
from ...tracefs import Caller, Tree
from .channel import Channel, Operation, Request
from .handles import Handle, Waiting
from .names import Names

_POLL_READ: Final = 0x41
_POLL_WRITE: Final = 0x104
_POLLED: Final = {tracefs.TRACE_PIPE, tracefs.TRACE_PIPE_RAW, tracefs.HIST}
"""Files with a poll of their own, for reading; the others are always ready for both."""


class Files:
    """The open files of one mount."""

    def __init__(self, tree: Tree, names: Names, clients: Clients, channel: Channel) -> None:
        self._tree = tree
        self._names = names
        self._clients = clients
        self._channel = channel
        self._next = 1
        self.waiting: dict[int, Waiting] = {}
        """Reads that wait, by the number of their request."""
        self.polled: set[Handle] = set()
        """Files that somebody polls, to be told when they have something."""
        self.handles: dict[int, Handle] = {}
        self.operations: Mapping[int, Operation] = {
            fuse.OPEN: self._open,
            fuse.READ: self._read,
            fuse.RELEASE: self._release,
            fuse.INTERRUPT: self._interrupt,
            fuse.IOCTL: self._ioctl,
            fuse.POLL: self._poll,
        }

    def poke(self) -> None:
        """Answer the reads and polls that waited for something that has happened since."""
        for unique, waiting in tuple(self.waiting.items()):
            if waiting.handle.node.readable():
                del self.waiting[unique]
                self._channel.run(unique, self._read_or_wait, unique, waiting)
        for handle in tuple(self.polled):
            if handle.node.polled():
                self._wake_pollers(handle)

    def close(self) -> None:
        """Wake everybody who waits, and close every file as if its client had died."""
        for unique in self.waiting:
            self._channel.refuse(unique, errno.ECONNABORTED)
        self.waiting.clear()
        for handle in tuple(self.polled):
            self._wake_pollers(handle)
        for handle in self.handles.values():
            handle.node.abort()
        self.handles.clear()

    def _wake_pollers(self, handle: Handle) -> None:
        self.polled.discard(handle)
        for poller in handle.pollers:
            self._channel.wake_poller(poller)
        handle.pollers.clear()

    def _open(self, request: Request) -> bytes:
        self._clients.catch_up()
        path, _ = self._names.stat(request.node)
        flags, _ = fuse.OPEN_IN.unpack_from(request.body)
        task = self._clients.thread(request.tid, request.uid, request.gid) if request.tid else None
        caller = Caller(request.uid, request.gid, False)
        if task is not None and not path.endswith(tracefs.USER_EVENTS_DATA):
            caller = task.caller  # asking for its privilege takes a while; an ioctl asks for itself
        node = self._tree.open(path, flags, caller, task)
        handle = self.handles[self._next] = Handle(self._next, node)
        self._next += 1
        return fuse.OPEN_OUT.pack(handle.fh, handle.open_flags, 0)

    def handle(self, fh: int) -> Handle:
        """The open file that the kernel knows by a number."""
        handle = self.handles.get(fh)
        if handle is None:
            raise Refused(errno.EBADF, f"no file is open as {fh}")
        return handle

    def _release(self, request: Request) -> bytes:
        handle = self.handles.pop(fuse.RELEASE_IN.unpack_from(request.body)[0], None)
        if handle is not None:
            self.polled.discard(handle)
            handle.node.close()
        return b""

    def _read(self, request: Request) -> bytes | None:
        fh, offset, size, read_flags, _, flags, _ = fuse.READ_IN.unpack_from(request.body)
        handle = self.handle(fh)
        if not handle.is_stream:
            return handle.node.read(size, offset)
        if flags & tracefs.O_NONBLOCK or not read_flags & fuse.READ_LOCKOWNER:
            return handle.node.read(size)  # whoever fills the page cache sleeps where no signal reaches it
        return self._read_or_wait(request.unique, Waiting(handle, size))

    def _read_or_wait(self, unique: int, waiting: Waiting) -> bytes | None:
        try:
            return waiting.handle.node.read(waiting.size)
        except Refused as refused:
            if refused.errno != errno.EAGAIN:
                raise
        self.waiting[unique] = waiting
        return None

    def _interrupt(self, request: Request) -> None:
        (unique,) = fuse.INTERRUPT_IN.unpack_from(request.body)
        if self.waiting.pop(unique, None) is not None:
            self._channel.refuse(unique, errno.EINTR)

    def _ioctl(self, request: Request) -> bytes:
        fh, _, command, argument, _, _ = fuse.IOCTL_IN.unpack_from(request.body)
        handle = self.handles.get(fh) or self.handle(fh)
        if not request.tid:
            raise Refused(errno.EOPNOTSUPP, "the caller's process cannot be seen from here (PID namespaces)")
        thread = self._clients.thread(request.tid, request.uid, request.gid)
        if thread is not None:
            thread = self._clients.before_ioctl(thread, argument)
        if thread is None:
            raise Refused(errno.ESRCH, f"thread {request.tid} is gone")
        try:
            result = handle.node.ioctl(command, argument, thread)
        except Refused as refused:
            result = -(refused.errno or errno.EIO)  # the only place for the kernel's errnos from 512 on
        finally:
            thread.client.registered(thread)
        return fuse.IOCTL_OUT.pack(result, 0, 0, 0)

    def _poll(self, request: Request) -> bytes:
        fh, poller, flags, _ = fuse.POLL_IN.unpack_from(request.body)
        handle = self.handle(fh)
        ready = 0 if handle.node.path.rpartition("/")[2] in _POLLED else _POLL_READ | _POLL_WRITE
        if handle.node.polled():
            ready |= _POLL_READ
        elif flags & fuse.POLL_SCHEDULE_NOTIFY:
            handle.pollers.add(poller)
            self.polled.add(handle)
        return fuse.POLL_OUT.pack(ready, 0)
