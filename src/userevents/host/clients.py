"""Processes that use the tree as they would the kernel's: who calls, whose memory that is, and when it ends.

A process is known from its first call on. Its death is told by its pidfd; forks and execs by the kernel where it
tells them (`proc_events`), else they are noticed when it matters: before a bit is written, and at the next call.

Source: user_events contract, lifecycle.md section 6, for what becomes of the user-event-mm of threads and children.
"""

import os
import time
from collections.abc import Callable
from typing import Final

from ..engine import Caller, UserEventMm, Writer
from . import process
from .errand import Late
from .guard import Guards
from .proc_events import EXEC, EXIT, FORK, ProcEvent, ProcEvents
from .remote import RemoteMemory

_WRITER_KEPT_S: Final = 0.05
"""For so long a thread is taken to have the same name and to be on the same CPU: looking takes as long as a write."""


class ClientThread:
    """One thread of a client, making calls: the engine's `Task`."""

    def __init__(self, client: "Client", tid: int, cpus: int) -> None:
        self.client = client
        self.tid = tid
        self.mm: UserEventMm | None = client.mm_for(tid)
        self.uid = 0
        self.gid = 0
        self._last_cpu = cpus - 1
        self._writer: Writer | None = None
        self._looked_s = 0.0

    @property
    def memory(self) -> RemoteMemory:
        """The process's address space."""
        return self.client.memory

    @property
    def caller(self) -> Caller:
        """The credentials of the call that is being made."""
        return Caller(self.uid, self.gid, process.is_privileged(self.tid))

    @property
    def writer(self) -> Writer:
        """What a record says of it: its name, and the CPU on which it was lately."""
        now = time.monotonic()
        if self._writer is None or now - self._looked_s > _WRITER_KEPT_S:
            self._looked_s = now
            comm, cpu = process.comm_and_cpu(self.client.pid, self.tid)
            self._writer = Writer(self.tid, self.client.pid, comm, min(cpu, self._last_cpu))
        return self._writer


class Client:
    """One process."""

    def __init__(self, pid: int, pidfd: int, met: Callable[[int], None]) -> None:
        self._met = met
        self.pid = pid
        self.pidfd = pidfd
        self.memory = RemoteMemory(pid)
        self.threads: dict[int, ClientThread] = {}
        self._mm: UserEventMm | None = None
        """That of the thread which registered first; threads it started since share it."""
        self._older: frozenset[int] = frozenset()
        """Threads that were there before: what they register is their own."""

    def mm_for(self, tid: int) -> UserEventMm | None:
        """The user-event-mm that a thread met for the first time has."""
        return None if tid in self._older else self._mm

    def registered(self, thread: ClientThread) -> None:
        """A thread has made a registration: the first one's user-event-mm goes to all threads started from now on.

        Which thread started which cannot be seen from outside: all younger ones are taken to share it.
        """
        if thread.mm is None or self._mm is not None:
            return
        self._mm = thread.mm
        self._met(self.pid)
        self._older = frozenset(process.thread_ids(self.pid)) - {thread.tid}

    def mms(self) -> list[UserEventMm]:
        """Every user-event-mm of the process."""
        found = {id(mm): mm for mm in (self._mm, *(thread.mm for thread in self.threads.values())) if mm is not None}
        return list(found.values())

    def drop_registrations(self) -> None:
        """The process's memory is gone: every enabler in it, too."""
        for mm in self.mms():
            mm.exit()
        self._mm = None
        self._older = frozenset()
        self.threads.clear()

    def thread_ended(self, tid: int) -> None:
        """A thread is gone; with the last that had its user-event-mm goes that."""
        thread = self.threads.pop(tid, None)
        mm = thread.mm if thread is not None else self.mm_for(tid)
        self._older -= {tid}
        if mm is None or any(other.mm is mm for other in self.threads.values()):
            return
        if mm is self._mm:
            if set(process.thread_ids(self.pid)) - self._older - {tid}:
                return
            self._mm = None
        mm.exit()

    def fork_to(self, child: "Client", tid: int) -> None:
        """Give a child the copy of the forking thread's enablers; its words hold what they held.

        An event that was switched between the fork and now is switched in the parent only: the child gets that, too.
        What the program itself has put into its words is the same in both, and nothing is written, as in the kernel.
        """
        thread = self.threads.get(tid)
        mm = thread.mm if thread is not None else self.mm_for(tid)
        if mm is None:
            return
        child.memory.guard = self.memory.guard
        child._mm = mm.fork(child.memory, f"pid {child.pid}")
        self._met(child.pid)
        for enabler in tuple(child._mm.enablers.values()):
            if self.memory.bit(enabler.addr, enabler.bit) != child.memory.bit(enabler.addr, enabler.bit):
                enabler.update()

    def exec(self) -> None:
        """The process went on to another program."""
        self.drop_registrations()
        self.memory.close()
        self.memory = RemoteMemory(self.pid, self.memory.guard)

    def close(self) -> None:
        """Let go of the process."""
        self.drop_registrations()
        self.memory.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


class Clients:
    """Every client there is. Its owner calls it from one thread, or under one lock.

    `watch(fd, callback)` and `unwatch(fd)` are the owner's loop; `forked(parent, child)` and `exited` hear of every
    thread on the machine, as far as the kernel tells; `met` of each process that has come to have a registration.
    Records are put to the first `cpus` CPUs. Nobody's memory is waited for, but that of the tracer's own user.
    """

    def __init__(
        self,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
        *,
        forked: Callable[[int, int], None],
        exited: Callable[[int], None],
        met: Callable[[int], None],
        cpus: int,
        log: Callable[[str, str], None] = lambda level, message: None,
    ) -> None:
        self._cpus = cpus
        self._watch = watch
        self._unwatch = unwatch
        self._clients: dict[int, Client] = {}
        self._threads: dict[int, ClientThread] = {}
        self._events: ProcEvents | None = None
        self._guards = Guards(os.geteuid(), log)
        self._forked = forked
        self._met = met
        self._exited = exited
        try:
            self._events = ProcEvents()
        except OSError:
            return
        watch(self._events.fileno(), self.catch_up)

    def thread(self, tid: int, uid: int, gid: int) -> ClientThread | None:
        """The thread that makes a call; None where its process cannot be seen (another PID namespace)."""
        thread = self._threads.get(tid)
        if thread is None:
            thread = self._meet(tid)
            if thread is None:
                return None
        if uid != thread.uid:
            memory = thread.memory
            memory.guard = self._guards.of(uid) or memory.guard
            thread.uid = uid
        thread.gid = gid
        return thread

    def before_ioctl(self, thread: ClientThread, argument: int) -> ClientThread | None:
        """Take in what happened to processes before this call; returns the thread to make it with."""
        if self._events is not None:
            if self._events.has_news():  # nearly always there is none, and each step counts
                self.catch_up()
        elif thread.memory.is_gone(argument) and thread.client.memory.readable:
            self._exec(thread.client)
        if thread.tid not in thread.client.threads:
            self._threads.pop(thread.tid, None)
            return self.thread(thread.tid, thread.uid, thread.gid)
        return thread

    def catch_up(self) -> None:
        """Take in what the kernel told of forks, execs and deaths."""
        if self._events is None or not self._events.has_news():
            return
        for event in self._events.read():
            self._take(event)
        if self._events.overflowed:
            self._events.overflowed = False
            self.look_around()

    def look_around(self) -> None:
        """Find out by ``/proc`` what nobody told: children, and processes that went on to another program."""
        for client in tuple(self._clients.values()):
            if client.memory.readable and client.memory.is_gone():
                self._exec(client)
            if client.mms():
                for child in process.children(client.pid):
                    if child not in self._clients:
                        self._adopt_child(client, client.pid, child)

    def close(self) -> None:
        """Let go of every process."""
        for client in tuple(self._clients.values()):
            self._forget(client)
        if self._events is not None:
            self._unwatch(self._events.fileno())
            self._events.close()
            self._events = None
        self._guards.close()

    def _meet(self, tid: int) -> ClientThread | None:
        self.catch_up()
        client = self._clients.get(tid)
        if client is None:
            pid = process.leader(tid)
            if not pid:
                return None
            client = self._clients.get(pid) or self._add(pid)
            if client is None:
                return None
        thread = self._threads[tid] = client.threads[tid] = ClientThread(client, tid, self._cpus)
        return thread

    def _add(self, pid: int) -> Client | None:
        """Begin to know a process: a child of one that is known has its registrations, unless it went on by exec."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return None
        client = self._clients[pid] = Client(pid, pidfd, self._met)
        self._watch(pidfd, lambda: self._ended(client))
        if self._events is None:
            parent = self._clients.get(process.parent(pid))
            if parent is not None and parent.mms() and _is_same_program(parent, pid):
                parent.fork_to(client, parent.pid)
        return client

    def _take(self, event: ProcEvent) -> None:
        if event.kind == FORK:
            # of a thread it tells its process's parent, not who made it: that is taken to be the first thread
            is_process = event.child_tid == event.child_pid
            self._forked(event.tid if is_process else event.child_pid, event.child_tid)
        elif event.kind == EXIT:
            self._exited(event.tid)
        client = self._clients.get(event.pid)
        if client is None:
            return
        if event.kind == FORK and event.child_tid == event.child_pid:
            self._adopt_child(client, event.tid, event.child_pid)
        elif event.kind == EXEC and event.tid == event.pid:
            self._exec(client)
        elif event.kind == EXIT and event.tid != event.pid:
            self._threads.pop(event.tid, None)
            client.thread_ended(event.tid)

    def _adopt_child(self, parent: Client, tid: int, pid: int) -> None:
        if pid in self._clients or not parent.mms():
            return
        child = self._add(pid)
        if child is not None and not child.mms():
            parent.fork_to(child, tid)

    def _exec(self, client: Client) -> None:
        for tid in client.threads:
            self._threads.pop(tid, None)
        client.exec()

    def _ended(self, client: Client) -> None:
        self.catch_up()
        self._forget(client)

    def _forget(self, client: Client) -> None:
        if self._clients.get(client.pid) is client:
            del self._clients[client.pid]
        for tid in client.threads:
            self._threads.pop(tid, None)
        self._unwatch(client.pidfd)
        client.close()


def _is_same_program(parent: Client, pid: int) -> bool:
    """Whether a child has not gone on to another program; False where that cannot be seen in time."""
    guard = parent.memory.guard
    if guard is None:
        return process.is_same_program(parent.pid, pid)
    try:
        return guard.run(pid, lambda: process.is_same_program(parent.pid, pid))
    except Late:
        return False
