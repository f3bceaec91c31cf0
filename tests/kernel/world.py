"""A world of simulated processes around one tree: threads, memory, descriptors, credentials, and a stepped worker."""

import itertools
import re
from collections.abc import Iterator

from tests.kernel.memory import AREAS, Space
from userevents.engine import PROFILES, Caller, Group, UserEventMm, Writer
from userevents.instance import Machine, Subscription
from userevents.tracefs import OpenNode, PlainSystem, Tree, task_exited, task_forked

ROOT = Caller(0, 0, perfmon=True)
CPUS = 2
COMM_MAX = 15
CONTROLLER = "python3"
"""The name of the program that made the recordings."""
FIRST_MULTI_ID = 0x400
"""Where the multi-format counter begins, so that no number in a trace looks like an event's suffix."""
CAPABILITIES = {21, 38}
"""CAP_SYS_ADMIN and CAP_PERFMON."""
_ADDRESS = re.compile(r"([a-z]+)(\d+)([+-]\d+)?")


class Description:
    """An open file description: what dup and fork share; closed when the last descriptor goes."""

    def __init__(self, target: OpenNode | Subscription, path: str) -> None:
        self.target = target
        self.path = path
        self.users = 1

    def release(self) -> None:
        """One descriptor less."""
        self.users -= 1
        if not self.users:
            self.target.close()


class Descriptor:
    """One entry of a descriptor table."""

    def __init__(self, description: Description, *, cloexec: bool) -> None:
        self.description = description
        self.cloexec = cloexec


class Thread:
    """One thread; the engine's `Task`."""

    def __init__(self, process: "Process", tid: int, name: str) -> None:
        self.process = process
        self.tid = tid
        self.comm = name[:COMM_MAX]
        self.mm: UserEventMm | None = None

    @property
    def memory(self) -> Space:
        """The process's memory."""
        return self.process.memory

    @property
    def caller(self) -> Caller:
        """The process's credentials."""
        return self.process.caller

    @property
    def writer(self) -> Writer:
        """What records say of it; every process runs on CPU 0."""
        return Writer(self.tid, self.process.pid, self.comm, 0)

    def leave(self) -> None:
        """Let go of the user-event-mm, as exit and exec do."""
        if self.mm is not None:
            self.mm.exit()
            self.mm = None


class Process:
    """A process: threads, memory, descriptors, credentials."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.pid = next(world.pids)
        self.memory = Space()
        self.caller = ROOT
        self.main = Thread(self, self.pid, name)
        self.threads: dict[str, Thread] = {}
        self.fds: dict[str, Descriptor] = {}
        self.lost_fds: list[Descriptor] = []
        """Descriptors whose names were given to others: open until exit, but out of reach."""

    def addr(self, place: str | int) -> int:
        """The address that a name such as ``word3+4`` means."""
        if isinstance(place, int):
            return place
        found = _ADDRESS.fullmatch(place)
        if found is None:
            raise ValueError(place)
        return (AREAS[found[1]] + 8 * int(found[2]) + int(found[3] or 0)) & 0xFFFFFFFFFFFFFFFF

    def thread(self, name: str | None) -> Thread:
        """The main thread, or one that is started at its first use."""
        if name is None:
            return self.main
        if name not in self.threads:
            thread = self.threads[name] = Thread(self, next(self.world.pids), name)
            task_forked(self.world.system, self.pid, thread.tid)
            if self.main.mm is not None:
                self.main.mm.share()
                thread.mm = self.main.mm
        return self.threads[name]

    def add(self, name: str, descriptor: Descriptor) -> None:
        """Give a descriptor a name."""
        if name in self.fds:
            self.lost_fds.append(self.fds[name])
        self.fds[name] = descriptor

    def close(self, name: str) -> None:
        """Close a descriptor."""
        self.fds.pop(name).description.release()

    def fork(self, name: str, thread: str | None = None) -> "Process":
        """A child: a copy of memory and of the forking thread's enablers, the same open files."""
        forking = self.thread(thread)
        child = Process(self.world, name)
        task_forked(self.world.system, self.pid, child.pid)
        child.caller = self.caller
        child.memory = self.memory.fork()
        for fd, descriptor in self.fds.items():
            descriptor.description.users += 1
            child.fds[fd] = Descriptor(descriptor.description, cloexec=descriptor.cloexec)
        for descriptor in self.lost_fds:
            descriptor.description.users += 1
            child.lost_fds.append(Descriptor(descriptor.description, cloexec=descriptor.cloexec))
        if forking.mm is not None:
            child.main.mm = forking.mm.fork(child.memory, f"pid {child.pid}")
        return child

    def exec(self) -> dict[str, bool]:
        """Become a new program; tells which named descriptors stayed open."""
        self._leave_memory()
        self.memory = Space()
        stays = {}
        for fd, descriptor in list(self.fds.items()):
            stays[fd] = not descriptor.cloexec
            if descriptor.cloexec:
                self.close(fd)
        for descriptor in [lost for lost in self.lost_fds if lost.cloexec]:
            self.lost_fds.remove(descriptor)
            descriptor.description.release()
        return stays

    def exit(self) -> None:
        """End: memory first, then files."""
        self._leave_memory()
        for descriptor in (*self.fds.values(), *self.lost_fds):
            descriptor.description.release()
        self.fds.clear()
        self.lost_fds.clear()
        task_exited(self.world.system, self.pid)

    def thread_exit(self, name: str) -> None:
        """End one thread."""
        thread = self.threads.pop(name)
        thread.leave()
        task_exited(self.world.system, thread.tid)

    def _leave_memory(self) -> None:
        for thread in (*self.threads.values(), self.main):
            thread.leave()
        for thread in self.threads.values():
            task_exited(self.world.system, thread.tid)
        self.threads.clear()


class World:
    """One tree as a freshly booted kernel has it, and the processes around it."""

    def __init__(self, profile: str = "v6.12") -> None:
        self.log: list[tuple[str, str]] = []
        self.group = Group(PROFILES[profile], log=lambda level, message: self.log.append((level, message)))
        self.group.next_multi_id = FIRST_MULTI_ID
        self.system = PlainSystem(self.group, Machine(cpus=CPUS, has_other_events=True))
        self.tree = Tree(self.system, uid=0, gid=0)
        self.processes: dict[str, Process] = {}
        self.pids: Iterator[int] = itertools.count(1000)
        self.controller = Process(self, CONTROLLER)

    def process(self, name: str) -> Process:
        """A process, made at its first use."""
        if name not in self.processes:
            self.processes[name] = Process(self, name)
        return self.processes[name]

    def end(self, name: str) -> None:
        """A process exits or is killed."""
        self.processes.pop(name).exit()

    def settle(self) -> None:
        """All deferred work gets done."""
        self.group.run_work()
