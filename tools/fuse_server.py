"""fuse_server.py DIRECTORY [PROFILE]: a tree as a freshly booted kernel has it, mounted until its input ends.

What the recorded scenarios were asked of: two CPUs, a numbering of its own for multi-format events, nothing else.

``fuse_server.py DIRECTORY PROFILE seccomp|socket COMMAND...``: mounted while COMMAND runs, under a supervisor that puts
files of that door in place of those that it opens for writing.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.kernel.world import CPUS, FIRST_MULTI_ID
from userevents.doors.fuse import DetachedMount, FuseDoor, mount
from userevents.doors.seccomp import FilteredProgram, FuseFiles, SeccompDoor, SocketFiles
from userevents.engine import PROFILES, Group
from userevents.host import Loop
from userevents.host.bulk import BulkWriter
from userevents.host.clocks import TraceClocks
from userevents.instance import Machine
from userevents.tracefs import PlainSystem, Tree

_TURN_S = 0.1


class System(PlainSystem):
    """A plain one that waits for what is on its way through sockets."""

    on_its_way: Callable[[], None] = staticmethod(lambda: None)

    def catch_up(self, *, patiently: bool = False) -> None:
        """Have it in."""
        self.on_its_way()


def supervised(
    stack: contextlib.ExitStack, kind: str, tree: Tree, loop: Loop, places: list[str], command: tuple[str, ...]
) -> "subprocess.Popen[bytes]":
    """Start a command under a supervisor."""
    system = tree.system
    assert isinstance(system, System)
    files: FuseFiles | SocketFiles
    if kind == "seccomp":
        detached = DetachedMount()
        door = FuseDoor(tree, detached.mounted, loop, log=_tell)
        door.start()
        stack.callback(door.close)
        files = FuseFiles(detached.directory)
    else:
        clock = system.machine.clock
        assert isinstance(clock, TraceClocks)
        files = SocketFiles(tree, loop, BulkWriter(system.group, system.instances, clock), _tell)
        files.start()
        system.on_its_way = files.settle
    program = FilteredProgram(command[0], command, os.environ, ioctls=files.ioctls)
    supervisor = SeccompDoor(program.listener, files, log=_tell, places=places)
    supervisor.start()
    stack.callback(supervisor.close)
    program.go()
    return program.process


def main(directory: str, profile: str = "v6.12", kind: str = "", *command: str) -> None:
    """Serve until the input ends; one line of output says that it is mounted."""
    loop = Loop()
    group = Group(PROFILES[profile], log=lambda level, message: None)
    group.next_multi_id = FIRST_MULTI_ID
    system = System(group, Machine(clock=TraceClocks(), cpus=CPUS, has_other_events=True))
    tree = Tree(system)
    door = FuseDoor(tree, mount(directory, everyone=True), loop, log=_tell)

    def turn() -> float:
        group.run_work()
        door.poke()
        return _TURN_S

    def end() -> None:
        sys.stdin.read()
        loop.stop()

    signal.signal(signal.SIGTERM, lambda number, frame: loop.stop())
    door.start()
    with contextlib.ExitStack() as stack:
        stack.callback(door.close)
        if command:
            program = supervised(stack, kind, tree, loop, [directory], command)
            threading.Thread(target=_until, args=(program, loop), daemon=True).start()
        else:
            threading.Thread(target=end, daemon=True).start()
            print("mounted", flush=True)
        loop.run(turn)


def _until(program: "subprocess.Popen[bytes]", loop: Loop) -> None:
    program.wait()
    loop.stop()


def _tell(level: str, message: str) -> None:
    print(f"{level}: {message}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
