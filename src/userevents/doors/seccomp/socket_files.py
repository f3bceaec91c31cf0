"""Files for where there is no FUSE: the program gets a socket, writes become datagrams, ioctls come as notifications.

So ioctls have the kernel's results, and writes always seem to succeed; what was wrong with them is counted and told.
A thread of its own takes what is written out of the sockets at once, since a writer waits while its socket is full.
Before anything is switched or looked at, all that was written before is taken in (`settle`).
"""

import errno
import os
import select
import socket
import threading
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable
from itertools import groupby
from typing import Final

from ...abi import tracefs
from ...errors import Refused
from ...host.bulk import BulkWriter
from ...host.loop import Loop
from ...tracefs import Caller, OpenNode, Tree, WriteCall
from ..callers import clients_of
from . import paths
from .listener import Call
from .receiver import BATCH, Batch, Receiver, prepare

Log = Callable[[str, str], None]
_ASKED_SIZE: Final = 8 << 20
"""The socket's size that we ask for; who has no privilege gets what net.core.wmem_max allows."""
_SO_SNDBUFFORCE: Final = 32
_SLICE: Final = 4 * BATCH
"""Records taken in before the sockets are looked at again."""
_WAIT_S: Final = 0.0005
_REST_S: Final = 0.0005
"""After a batch that is not half full: who waits for more is woken by each write, and the writer pays for that."""
_QUEUE_MAX: Final = 1 << 20
"""Records that wait to be taken in; more are given up and counted, rather than let a writer wait."""


class _File:
    """One opening: our end of the socket, and the tree's node."""

    def __init__(self, node: OpenNode) -> None:
        self.node = node
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.takes_events = node.path == tracefs.USER_EVENTS_DATA
        found = os.fstat(self.theirs.fileno())
        self.identity = found.st_dev, found.st_ino
        prepare(self.ours)
        self.ours.shutdown(socket.SHUT_WR)  # whoever reads has the end at once
        try:
            self.theirs.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _ASKED_SIZE)
        except OSError:
            self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ASKED_SIZE)


class SocketFiles:
    """Files of `tree`, which is driven under `loop.lock`; `writer` takes the events. `start` begins."""

    ioctls = True

    def __init__(self, tree: Tree, loop: Loop, writer: BulkWriter, log: Log) -> None:
        self._tree = tree
        self._lock = loop.lock
        self._wake = loop.wake
        self._clients = clients_of(tree, loop, log)
        self._writer = writer
        self._log = log
        self._files: dict[int, _File] = {}
        self._by_identity: dict[tuple[int, int], _File] = {}
        self._queue: deque[tuple[_File, Batch | Counter[tuple[int, int]] | None]] = deque()
        self._queued = 0
        self._commands = 0
        """How many batches in the queue are commands."""
        self._receiving = threading.Lock()
        self._receiver = Receiver()
        self._settling = False
        self._closed = False
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._ready = select.epoll()
        self._ready.register(self._stop, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="userevents-sockets", daemon=True)

    def start(self) -> None:
        """Begin to take what is written, in a thread of its own."""
        self._thread.start()

    def open(self, path: str, flags: int, call: Call) -> int:
        """A socket for the caller; raises `Refused` as the tree does."""
        with self._lock:
            uid, gid = _owner(call.tid)
            task = self._clients.thread(call.tid, uid, gid)
            self.settle()
            if flags & os.O_CREAT and not self._tree.exists(path):
                raise Refused(errno.EACCES, f"'{path}': files are not made by hand here")
            node = self._tree.open(path, flags, task.caller if task is not None else Caller(uid, gid, False), task)
            file = _File(node)
            with self._receiving:
                self._files[file.ours.fileno()] = file
                self._by_identity[file.identity] = file
                self._ready.register(file.ours.fileno(), select.EPOLLIN)
            if task is not None:
                self._writer.meet(task.client.pid)
        return file.theirs.fileno()

    def given(self, fd: int, call: Call) -> None:
        """The caller has it (or is gone): ours is not needed."""
        for file in tuple(self._files.values()):
            if file.theirs.fileno() == fd:
                file.theirs.close()

    def ioctl(self, call: Call) -> int | None:
        """Make a call of the program on one of the files, after what was written before it."""
        descriptor, command, argument = paths.signed(call.arguments[0]), call.arguments[1], call.arguments[2]
        try:
            found = os.stat(f"/proc/{call.tid}/fd/{descriptor}")
        except OSError:
            return None
        with self._lock:
            file = self._by_identity.get((found.st_dev, found.st_ino))
            if file is None:
                return None
            self.settle()
            thread = self._clients.thread(call.tid, *_owner(call.tid))
            if thread is not None:
                thread = self._clients.before_ioctl(thread, argument)
            if thread is None:
                return None
            self._writer.meet(thread.client.pid)
            try:
                return file.node.ioctl(command & 0xFFFFFFFF, argument, thread)
            finally:
                thread.client.registered(thread)
                if self._tree.system.group.has_work:
                    self._wake()

    def settle(self) -> None:
        """Take in all that has been written until now. The caller holds the loop's lock."""
        if self._settling or self._closed:
            return
        self._settling = True
        try:
            with self._receiving:
                for file in tuple(self._files.values()):
                    self._receive(file, to_the_end=True)
            while self._queue:
                self._take_in(_QUEUE_MAX)
        finally:
            self._settling = False

    def close(self) -> None:
        """Take in what is left, and close every file."""
        with self._lock:
            self.settle()
            self._closed = True
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        with self._lock:
            for file in tuple(self._files.values()):
                self._forget(file)
                file.node.abort()
            self._clients.close()
        self._ready.close()
        os.close(self._stop)
        self._tell_lost()

    def _run(self) -> None:
        while not self._closed:
            most = 0
            ready = self._ready.poll(0 if self._queue else None)
            with self._receiving:
                for fd, _ in ready:
                    file = self._files.get(fd)
                    if file is not None:
                        most = max(most, self._receive(file))
            if self._queue and self._lock.raw.acquire(timeout=_WAIT_S):
                try:
                    with self._lock:
                        if not self._closed:
                            self._take_in(_SLICE)
                        if self._tree.system.group.has_work:
                            self._wake()
                finally:
                    self._lock.raw.release()
            if 0 < most < BATCH // 2 and not self._queue:
                time.sleep(_REST_S)

    def _receive(self, file: _File, *, to_the_end: bool = False) -> int:
        """Move what waits in a socket to the queue; return how many records came last."""
        count = 0
        for _ in range(_QUEUE_MAX // BATCH if to_the_end else 1):
            batch = self._receiver.receive(file.ours.fileno())
            if batch is None:
                self._forget(file)
                self._queue.append((file, None))
                return 0
            count = len(batch.sizes)
            if self._queued > _QUEUE_MAX and file.takes_events:
                self._queue.append((file, Counter(zip(batch.indices, batch.pids, strict=True))))
            elif count:
                self._queue.append((file, batch))
                self._queued += count
                self._commands += not file.takes_events
            if count < BATCH:
                break
        return count

    def _forget(self, file: _File) -> None:
        """Nobody writes to it any more."""
        self._ready.unregister(file.ours.fileno())
        del self._files[file.ours.fileno()]
        self._by_identity.pop(file.identity, None)
        file.ours.close()
        file.theirs.close()

    def _take_in(self, most: int) -> None:
        """Take in what is first in the queue: events of all files, in order of time, `most` of them or some more."""
        if self._commands:
            self._do_command()
            return
        batches: list[tuple[_File, Batch]] = []
        count = 0
        while self._queue and count < most:
            file, found = self._queue[0]
            if not isinstance(found, Batch):
                break
            self._queue.popleft()
            batches.append((file, found))
            count += len(found.sizes)
        self._queued -= count
        if batches:
            self._write_events(batches)
        elif self._queue:
            self._take_in_other(*self._queue.popleft())

    def _take_in_other(self, file: _File, found: "Batch | Counter[tuple[int, int]] | None") -> None:
        """Close a file that nobody has any more, or count what was given up."""
        was, self._settling = self._settling, True
        try:
            if found is None:
                file.node.close()
            elif not isinstance(found, Batch):
                for (index, pid), number in found.items():
                    self._writer.give_up(file.node.state, index, pid, number)
        finally:
            self._settling = was

    def _do_command(self) -> None:
        """Do the oldest command that was written, after all events that were written before it."""
        with self._receiving:
            for file in tuple(self._files.values()):
                self._receive(file, to_the_end=True)
        moment, place = min(
            (found.times_ns[0], at)
            for at, (file, found) in enumerate(self._queue)
            if isinstance(found, Batch) and not file.takes_events
        )
        events: list[tuple[_File, Batch]] = []
        left: deque[tuple[_File, Batch | Counter[tuple[int, int]] | None]] = deque()
        for at, (file, found) in enumerate(self._queue):
            if not isinstance(found, Batch) or (at != place and not file.takes_events):
                left.append((file, found))
                continue
            cut = 1 if at == place else bisect_right(found.times_ns, moment)
            if at == place:
                asked = file, found.rows(0, 1)
            elif cut:
                events.append((file, found.rows(0, cut)))
            if cut < len(found.sizes):
                left.append((file, found.rows(cut, None)))
            elif at == place:
                self._commands -= 1
        self._queue = left
        self._queued -= 1 + sum(len(batch.sizes) for _, batch in events)
        was, self._settling = self._settling, True
        try:
            if events:
                self._write_events(events)
            self._write_text(*asked)
        finally:
            self._settling = was

    def _write_events(self, batches: list[tuple[_File, Batch]]) -> None:
        """Write runs of records of one event and process."""
        self._writer.begin()
        if len({id(file) for file, _ in batches}) == 1:
            for file, batch in batches:
                first, count = 0, len(batch.sizes)
                if batch.indices.count(batch.indices[0]) == batch.pids.count(batch.pids[0]) == count:
                    self._writer.write(file.node.state, batch.indices[0], batch.pids[0], batch.between(0, count))
                    continue
                for (index, pid), run in groupby(zip(batch.indices, batch.pids, strict=True)):
                    stop = first + sum(1 for _ in run)
                    self._writer.write(file.node.state, index, pid, batch.between(first, stop))
                    first = stop
            return
        places = [(when, at, row) for at, (_, batch) in enumerate(batches) for row, when in enumerate(batch.times_ns)]
        places.sort()

        def whose(place: tuple[int, int, int]) -> tuple[int, int, int]:
            _, at, row = place
            return at, batches[at][1].indices[row], batches[at][1].pids[row]

        for (at, index, pid), run_of in groupby(places, whose):
            file, batch = batches[at]
            self._writer.write(file.node.state, index, pid, batch.chosen([row for _, _, row in run_of]))

    def _write_text(self, file: _File, batch: Batch) -> None:
        """Writes to other files of the tree: each a command."""
        for index, size, payload, pid in zip(batch.indices, batch.sizes, batch.payloads, batch.pids, strict=True):
            data = (index.to_bytes(4, "little", signed=True) + payload)[:size]
            try:
                taken = 1
                while data and taken:  # of what is taken in part the program would write the rest, did it know
                    taken = file.node.write(data, WriteCall(self._clients.thread(pid, *_owner(pid))))
                    data = data[taken:]
            except Refused as refused:
                self._log("warning", f"pid {pid} wrote to '{file.node.path}', and was not told: {refused}")

    def _tell_lost(self) -> None:
        lost = {name: number for name, number in self._writer.lost.items() if name != "EBADF"}
        if lost:
            told = ", ".join(f"{number:,} {name}" for name, number in lost.items())
            self._log("warning", f"writes were refused, of which the programs were not told (door: socket): {told}")


def _owner(tid: int) -> tuple[int, int]:
    """User and group of a thread; nobody's if it is gone."""
    try:
        found = os.stat(f"/proc/{tid}")
    except OSError:
        return 65534, 65534
    return found.st_uid, found.st_gid
