"""kill -9 of a server at work, with programs blocked in every kind of call: all have an error within a second."""

import errno
import itertools
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Final

import pytest

from tests.conftest import PATIENCE
from tests.doors.servers import Mount

KINDS: Final = ("read", "write", "ioctl", "poll")
EACH: Final = 3
ROUNDS: Final = 100 if os.environ.get("USEREVENTS_DOORS") == "long" else 3
END_S: Final = 1.0 * PATIENCE
GONE: Final = {errno.ECONNABORTED, errno.ENOTCONN}


def start(mounted: Mount, program: str) -> "list[tuple[str, subprocess.Popen[str]]]":
    """Start victims of every kind. Each reader has an instance of its own: the first finds nothing, the others much."""
    victims = []
    for kind, number in itertools.product(KINDS, range(EACH)):
        tree = mounted.place
        if kind in ("read", "poll"):
            tree = tree / "instances" / f"{kind}{number}"
            tree.mkdir()
        victims.append((kind, subprocess.Popen([program, tree, kind], stdout=subprocess.PIPE, text=True)))
    for kind, process in victims:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins: 0\n", kind
    for place in ("", *(f"instances/{kind}{number}/" for kind in ("read", "poll") for number in range(1, EACH))):
        mounted.write(f"{place}events/user_events/victim/enable", "1")
    return victims


def state(process: "subprocess.Popen[str]") -> str:
    """The letter of its state and where in the kernel it is."""
    with open(f"/proc/{process.pid}/stat") as stat, open(f"/proc/{process.pid}/wchan") as where:
        return f"{stat.read().rpartition(')')[2].split()[0]} in {where.read()}"


@pytest.mark.time_limit(60 + 5 * ROUNDS)
def test_a_murdered_server_keeps_nobody(mounted: Mount, native: Callable[[str], str]) -> None:
    """Nobody sleeps beyond the reach of signals, and the next server takes the place of the dead one."""
    for _ in range(ROUNDS):
        victims = start(mounted, native("victim"))
        time.sleep(random.uniform(0.0, 0.1))
        os.kill(mounted.process.pid, signal.SIGKILL)
        deadline = time.monotonic() + END_S
        try:
            for kind, process in victims:
                try:
                    told = process.communicate(timeout=max(0.01, deadline - time.monotonic()))[0]
                except subprocess.TimeoutExpired:
                    pytest.fail(f"{kind} waits still: {state(process)}")
                assert int(told.partition("ends: ")[2]) in GONE, f"{kind}: {told}"
        finally:
            for _, process in victims:
                process.kill()
                process.communicate()
        mounted.process.communicate()
        mounted.start()
        assert "Active: 0" in mounted.read("user_events_status")
