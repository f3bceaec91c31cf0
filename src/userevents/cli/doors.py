"""Starting a native program behind a door: the one that was asked for, or the first that this machine has."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from ..doors.fuse import DetachedMount, PrivateMount
from ..doors.seccomp import FilteredProgram, FuseFiles, SeccompDoor, SocketFiles
from ..errors import Unusable
from ..host.bulk import BulkWriter
from ..host.clients import Clients
from ..tracefs import task_exited, task_forked
from .console import warn
from .serving import Serving

DOORS = ("fuse", "seccomp", "socket")
_SWITCH_S = 0.0005
"""How long a thread computes before another one may: a socket that fills up in the meantime has its writer wait."""


class Doored(NamedTuple):
    """A program that waits behind a door until `go`."""

    process: "subprocess.Popen[bytes]"
    go: Callable[[], None]
    door: str
    refused: tuple[str, ...]
    """Why the doors before this one could not be had."""

    def __str__(self) -> str:
        told = f"door: {self.door}"
        if self.door == "socket":
            told += "; failed writes look like good ones to the program"
        return told + "".join(f"; {reason}" for reason in self.refused)


@contextlib.contextmanager
def behind_door(
    served: Serving, wanted: str, path: str, argv: Sequence[str], env: Mapping[str, str]
) -> Iterator[Doored]:
    """Make the door `wanted`, or with ``auto`` the first of `DOORS` that works here, and a program behind it.

    Raises `Unusable` saying what this machine refuses.
    """
    makers = {"fuse": _private, "seccomp": _injected, "socket": _socket}
    refused: list[str] = []
    with contextlib.ExitStack() as stack:
        for name in DOORS if wanted == "auto" else (wanted,):
            try:
                process, go = stack.enter_context(makers[name](served, path, argv, env))
            except Unusable as reason:
                refused.append(f"not {name}: {reason}")
                continue
            yield Doored(process, go, name, tuple(refused))
            return
    raise Unusable("; ".join(refused) if wanted == "auto" else refused[0].partition(": ")[2])


Waiting = tuple["subprocess.Popen[bytes]", Callable[[], None]]


@contextlib.contextmanager
def _private(served: Serving, path: str, argv: Sequence[str], env: Mapping[str, str]) -> Iterator[Waiting]:
    """FUSE in a mount namespace of the program's own."""
    private = PrivateMount(path, argv, env)
    with served.door(private.mounted):
        yield private.process, private.go


@contextlib.contextmanager
def _injected(served: Serving, path: str, argv: Sequence[str], env: Mapping[str, str]) -> Iterator[Waiting]:
    """Files of a FUSE mount that is nowhere, put in place of what the program opens."""
    detached = DetachedMount()
    with served.door(detached.mounted):
        files = FuseFiles(detached.directory)
        try:
            program = FilteredProgram(path, argv, env, ioctls=False)
        except BaseException:
            files.close()
            raise
        with _supervised(SeccompDoor(program.listener, files, log=_log)):
            yield program.process, program.go


@contextlib.contextmanager
def _socket(served: Serving, path: str, argv: Sequence[str], env: Mapping[str, str]) -> Iterator[Waiting]:
    """Sockets in place of files."""
    tracer, system = served.tracer, served.tree.system
    program = FilteredProgram(path, argv, env, ioctls=True)
    sys.setswitchinterval(_SWITCH_S)
    loop = tracer.loop
    clients = loop.call(
        lambda: Clients(
            lambda fd, ready: loop.watch(fd, ready, None),
            loop.unwatch,
            forked=partial(task_forked, system),
            exited=partial(task_exited, system),
            met=system.met,
        )
    )
    writer = BulkWriter(tracer.group, tracer.instances, tracer.clocks, tracer.natives)
    files = SocketFiles(served.tree, loop, clients, writer, _log)
    files.start()
    catch_ups = tracer.natives.catch_ups
    loop.call(lambda: catch_ups.append(files.settle))
    try:
        with _supervised(SeccompDoor(program.listener, files, log=_log)):
            yield program.process, program.go
    finally:
        loop.call(lambda: catch_ups.remove(files.settle))
        loop.call(clients.close)


@contextlib.contextmanager
def _supervised(door: SeccompDoor) -> Iterator[None]:
    door.start()
    try:
        yield
    finally:
        door.close()


def _log(level: str, message: str) -> None:
    if level in ("warning", "error", "alert"):
        warn(message)
