"""Starting a native program behind a door: the one that was asked for, or the first that this machine has."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..abi import tracefs
from ..control import Tracer as TracerControl
from ..doors.fuse import DetachedMount, PrivateMount
from ..doors.fuse.private import PLACES
from ..doors.launching import LaunchFailed
from ..doors.seccomp import FilteredProgram, FuseFiles, SeccompDoor, SocketFiles
from ..errors import Unusable
from ..host.bulk import BulkWriter
from .console import log_trouble, say, warn
from .launch import NotStarted, Program
from .serving import Serving
from .tracing import Tracing

DOORS = ("fuse", "seccomp", "socket")
_SWITCH_S = 0.0005
"""How long a thread computes before another one may: a socket that fills up in the meantime has its writer wait."""


class Doored(NamedTuple):
    """A program that waits behind a door until its `start`."""

    process: "subprocess.Popen[bytes]"
    let_go: Callable[[], None]
    name: str
    door: str
    refused: tuple[str, ...]
    """Why the doors before this one could not be had."""

    def start(self) -> Program:
        """Let it begin. Raises `NotStarted`."""
        program = Program(self.process)
        try:
            self.let_go()
        except LaunchFailed as failed:
            why = os.strerror(failed.number)
            raise NotStarted(f"program '{self.name}' cannot be started: {why}") from None
        return program

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
            yield Doored(process, go, argv[0], name, tuple(refused))
            return
    raise Unusable("; ".join(refused) if wanted == "auto" else refused[0].partition(": ")[2])


def start_recorded(
    stack: contextlib.ExitStack,
    tracing: Tracing,
    wanted: str,
    path: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    quiet: bool,
) -> Program | None:
    """Start a program that is recorded behind a door, which is closed with `stack`.

    None where `auto` found that it has the tree already, or found no door: that is told. Raises `Unusable` where the
    one that is `wanted` cannot be had.
    """
    if tracing.tracer is None:
        _beside(tracing, wanted, quiet)
        return None
    served = Serving(tracing, tracing.tracer, log_trouble)
    try:
        doored = stack.enter_context(behind_door(served, wanted, path, argv, env))
    except Unusable as reason:
        if wanted != "auto":
            raise
        if not quiet:
            warn(f"what native programs write is not recorded: {reason}")
        return None
    if not quiet and doored.refused:
        say(f"native programs: {doored}")
    return doored.start()


def is_mounted() -> bool:
    """Whether a tree of ours is where programs look: its tracer is the one that we use, or the machine's."""
    return os.path.isdir(os.path.join(PLACES[0], tracefs.OWN))


def _beside(tracing: Tracing, wanted: str, quiet: bool) -> None:
    """Another process is the tracer: what it serves is all there is."""
    reason = (
        f"process {TracerControl(tracing.access).info().get('pid')} is the tracer, and a door is its own: have that one"
        f" serve the tree ('userevents serve --mount'), or record with a directory of your own (USEREVENTS_DIR)"
    )
    if wanted != "auto":
        raise Unusable(f"no door can be opened: {reason}")
    if not quiet:
        warn(f"what native programs write is not recorded: {reason}")


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
        with _supervised(SeccompDoor(program.listener, files, log=log_trouble)):
            yield program.process, program.go


@contextlib.contextmanager
def _socket(served: Serving, path: str, argv: Sequence[str], env: Mapping[str, str]) -> Iterator[Waiting]:
    """Sockets in place of files."""
    tracer, loop = served.tracer, served.tracer.loop
    program = FilteredProgram(path, argv, env, ioctls=True)
    sys.setswitchinterval(_SWITCH_S)
    writer = BulkWriter(tracer.group, tracer.instances, tracer.clocks, tracer.natives)
    files = SocketFiles(served.tree, loop, writer, log_trouble)
    files.start()
    catch_ups = tracer.natives.catch_ups
    loop.call(lambda: catch_ups.append(files.settle))
    try:
        with _supervised(SeccompDoor(program.listener, files, log=log_trouble)):
            yield program.process, program.go
    finally:
        loop.call(lambda: catch_ups.remove(files.settle))


@contextlib.contextmanager
def _supervised(door: SeccompDoor) -> Iterator[None]:
    door.start()
    try:
        yield
    finally:
        door.close()
