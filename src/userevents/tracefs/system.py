"""What the tree shows: a group of events and the trace instances on it."""

import errno
import json
from typing import Protocol

from ..engine import Group
from ..errors import Refused
from ..instance import Instance, Machine, Perf

TOP = ""
"""The name of the top instance, which is always there."""


class System(Protocol):
    """The owner of everything in the tree; the host is one."""

    @property
    def group(self) -> Group:
        """The events."""

    @property
    def instances(self) -> dict[str, Instance]:
        """The trace instances by name; the top one under the empty name."""

    def create_instance(self, name: str) -> Instance:
        """Make an instance called `name`, which does not exist yet."""

    def remove_instance(self, name: str) -> None:
        """Remove an instance that nobody has open, and all that it holds."""

    def info(self) -> str:
        """What there is to say about the tracer, a JSON object."""

    def catch_up(self, *, patiently: bool = False) -> None:
        """Called before anything is looked at: what programs have declared and written by now should be there.

        Before anything is opened or written (`patiently`) that is worth some time: it switches something.
        """

    def met(self, pid: int) -> None:
        """Called when a process has registered its first event, or inherited it, through a door."""

    def settle(self) -> None:
        """Called after anything was opened or written: what that switched must hold."""


def task_forked(system: System, parent: int, child: int) -> None:
    """Tell every instance that the thread `parent` made another one (fork, clone), called `child`."""
    for instance in system.instances.values():
        instance.task_forked(parent, child)


def task_exited(system: System, tid: int) -> None:
    """Tell every instance that a thread is gone."""
    for instance in system.instances.values():
        instance.task_exited(tid)


class PlainSystem:
    """A system with nothing behind it: for tests, for embedding, and as a base."""

    def __init__(self, group: Group, machine: Machine | None = None) -> None:
        self.group = group
        self.machine = machine if machine is not None else Machine()
        self.perf = Perf(group, cpus=self.machine.cpus)
        self.instances: dict[str, Instance] = {TOP: Instance(TOP, group, self.machine)}

    def create_instance(self, name: str) -> Instance:
        """Make an instance; EEXIST if there is one of that name."""
        if name in self.instances:
            raise Refused(errno.EEXIST, f"instance '{name}' exists")
        instance = self.instances[name] = Instance(name, self.group, self.machine)
        return instance

    def remove_instance(self, name: str) -> None:
        """Remove an instance; ENOENT if there is none of that name, EPERM for the top one."""
        if name == TOP:
            raise Refused(errno.EPERM, "the top instance cannot be removed")
        instance = self.instances.pop(name, None)
        if instance is None:
            raise Refused(errno.ENOENT, f"there is no instance '{name}'")
        instance.release()

    def info(self) -> str:
        """The profile and the number of events."""
        return json.dumps({"profile": self.group.profile.name, "events": len(self.group.events)})

    def catch_up(self, *, patiently: bool = False) -> None:
        """Nothing is recorded but what is written here."""

    def met(self, pid: int) -> None:
        """Nobody wants to know."""

    def settle(self) -> None:
        """Nothing follows the instances later than at once."""
