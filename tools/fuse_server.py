"""fuse_server.py DIRECTORY [PROFILE]: a tree as a freshly booted kernel has it, mounted until its input ends.

What the recorded scenarios were asked of: two CPUs, a numbering of its own for multi-format events, nothing else.
"""

import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.kernel.world import CPUS, FIRST_MULTI_ID
from userevents.doors.fuse import FuseDoor, mount
from userevents.engine import PROFILES, Group
from userevents.host import Loop
from userevents.host.clocks import TraceClocks
from userevents.instance import Machine
from userevents.tracefs import PlainSystem, Tree

_TURN_S = 0.1


def main(directory: str, profile: str = "v6.12") -> None:
    """Serve until the input ends; one line of output says that it is mounted."""
    loop = Loop()
    group = Group(PROFILES[profile], log=lambda level, message: None)
    group.next_multi_id = FIRST_MULTI_ID
    system = PlainSystem(group, Machine(clock=TraceClocks(), cpus=CPUS, has_other_events=True))
    door = FuseDoor(Tree(system), mount(directory, everyone=True), loop, log=_tell)

    def turn() -> float:
        group.run_work()
        door.poke()
        return _TURN_S

    def end() -> None:
        sys.stdin.read()
        loop.stop()

    signal.signal(signal.SIGTERM, lambda number, frame: loop.stop())
    threading.Thread(target=end, daemon=True).start()
    door.start()
    print("mounted", flush=True)
    try:
        loop.run(turn)
    finally:
        door.close()


def _tell(level: str, message: str) -> None:
    print(f"{level}: {message}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
