"""Recorded scenarios with real processes, through a mounted tree: what no simulation of processes can show.

The processes are those that ask a real kernel in QEMU (tools/kernel/guest); here they find our tree instead.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from tests.kernel.replay import Difference, Scenario, difference_from, outcomes
from tests.kernel.results import Result, Step
from tools.kernel.guest.files import MAX_SYSCTL
from tools.kernel.normalise import mended

_ROOT: Final = Path(__file__).resolve().parent.parent
_PLAYER: Final = _ROOT / "tools" / "kernel" / "guest" / "replay.py"
_SERVER: Final = _ROOT / "tools" / "fuse_server.py"
_SETTLE_MS: Final = "20"
_WRITES: Final = {"write_file": ("data", "trunc"), "write1": ("data",), "write": ("iov",), "write_ptr": ("len",)}
"""Calls that write, and what in their step says that there is something to write, or to do without."""
_DIRECTION: Final = 30
"""The bits of an ioctl's number that say whether its argument is read or written."""


class DoorUnavailable(Exception):
    """Why nothing can be mounted here."""


class Count(NamedTuple):
    """How scenarios went."""

    passed: int
    failed: int
    skipped: int


@contextlib.contextmanager
def tree(profile: str) -> Iterator[Path]:
    """A tree that is mounted for as long as this lasts."""
    with tempfile.TemporaryDirectory(prefix="userevents-vectors-") as directory:
        command = [sys.executable, "-P", str(_SERVER), directory, profile]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            if not server.stdout.readline():
                server.wait()
                raise DoorUnavailable("no tree could be mounted; that needs root and /dev/fuse")
            try:
                yield Path(directory)
            finally:
                server.stdin.close()
                server.wait()


def play(tracing: Path, asked: Sequence[Scenario], before: Sequence[str] = ()) -> list[Scenario]:
    """Run scenarios with real processes in a mounted tree; return them with raw results.

    `before` is a command that runs the player, and may have yet to mount the tree.
    """
    environment = os.environ | {"TRACING": str(tracing), "SETTLE_MS": _SETTLE_MS}
    with tempfile.TemporaryDirectory(prefix="userevents-scenarios-") as directory:
        given, results = Path(directory, "scenarios.jsonl"), Path(directory, "results.jsonl")
        given.write_text("".join(json.dumps(scenario) + "\n" for scenario in asked), encoding="utf-8")
        command = [*before, sys.executable, "-S", "-E", str(_PLAYER), str(given), str(results)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        answers = [json.loads(line) for line in results.open(encoding="utf-8")] if results.exists() else []
    if len(answers) != len(asked):
        raise DoorUnavailable(f"only {len(answers)} of {len(asked)} scenarios were played: {ended.stderr}")
    return answers


def replay(asked: Sequence[Scenario], profile: str, door: str = "fuse") -> Count:
    """Play scenarios, print what differs from their recording and why others are not played."""
    chosen, skipped = [], 0
    for scenario in asked:
        reason = why_not(scenario, door)
        if reason is None:
            chosen.append(scenario)
        else:
            skipped += 1
            print(f"{scenario.get('name', '?')}: skipped: {reason}")
    failed = 0
    suspects = [scenario for scenario, difference in _differences(chosen, profile, door) if difference is not None]
    for suspect in suspects:  # what an earlier one left behind (an option, a clock) is no difference
        for scenario, difference in _differences([suspect], profile, door):
            if difference is not None:
                failed += 1
                print(f"{scenario.get('name', '?')}: {difference}")
    return Count(len(chosen) - failed, failed, skipped)


def _differences(asked: Sequence[Scenario], profile: str, door: str) -> list[tuple[Scenario, Difference | None]]:
    """Play scenarios one after the other in one tree; how each differs from its recording."""
    if door == "fuse":
        with tree(profile) as tracing:
            answers = play(tracing, asked)
    else:
        with tempfile.TemporaryDirectory(prefix="userevents-vectors-") as directory:
            answers = play(Path(directory), asked, [sys.executable, "-P", str(_SERVER), directory, profile, door])
    return [
        (scenario, difference_from(scenario, mended(raw), raw["meta"]["first_multi"] or 0))
        for scenario, raw in zip(asked, answers, strict=True)
    ]


def why_not(scenario: Scenario, door: str = "fuse") -> str | None:
    """Why a scenario cannot go through a door as in the kernel; None when it can."""
    results = outcomes(scenario)[0]
    limits = {"fuse": (_limit,), "seccomp": (_limit, _supervised), "socket": (_limit, _supervised, _socket)}[door]
    pairs = list(zip(scenario["steps"], results, strict=True))
    reasons = (limit(step, result) for step, result in pairs for limit in limits)
    return next((reason for reason in reasons if reason is not None), None) or _order(scenario["steps"], door)


def _order(steps: Sequence[Step], door: str) -> str | None:
    """Which order of two steps, that the kernel has kept, a door does not."""
    operations = [step["op"] for step in steps]
    if ("exit", "read_file") in pairwise(operations):
        return "how soon an event is gone after its last process is its worker's business; a door takes longer to ask"
    if door == "socket" and "fork" in operations and any(step.get("data") == "event-fork" for step in steps):
        return "the kernel tells of forks by another way than of what was written to a socket before them"
    return None


def _supervised(step: Step, result: Result) -> str | None:
    """What is out of the reach of files that a supervisor puts in place of others."""
    if step["op"] == "setuid":
        return "a program that has changed its user gets no file of the supervisor's user"
    return None


def _socket(step: Step, result: Result) -> str | None:
    """What is out of the reach of a socket in place of a file."""
    operation = step["op"]
    if step.get("thread"):
        return "a socket does not tell which thread wrote"
    if operation in (*_WRITES, "pwrite") and (result["errno"] or _is_short(step, result)):
        return "behind a socket a refused write looks like a good one, and a short one like a whole one"
    if operation == "peek":
        return "what a command switches follows a moment after its write, which a socket takes at once"
    if operation in ("read_fd", "read_len", "lseek", "mmap_fd", "poll_fd"):
        return "a socket is no file: it is not read, polled or positioned as one"
    return None


def _is_short(step: Step, result: Result) -> bool:
    """Whether the kernel took a part of a text only."""
    data, taken = step.get("data"), result["ret"]
    return isinstance(data, str) and isinstance(taken, int) and taken < len(data.encode())


def _limit(step: Step, result: Result) -> str | None:
    """What in a step, or in the kernel's answer to it, is out of the door's reach."""
    operation, path = step["op"], step.get("path", "")
    if operation == "perf_open":
        return "perf_event_open is the kernel's, and knows its own events only"
    if operation in _WRITES and not any(step.get(name) for name in _WRITES[operation]):
        return "a write of nothing never leaves the kernel"
    if operation == "pwrite":
        return "a file without positions takes no pwrite"
    if operation == "ioctl" and result["errno"] == "ENOTTY" and step["cmd"] >> _DIRECTION and not step.get("arg"):
        return "the kernel reads an ioctl's argument before it asks the door"
    if operation == "stat" and path.endswith("trace_pipe_raw"):
        return "a file of pages shows a size, or it could not be spliced"
    if "<bin16>" in str(result.get("data")):
        return "it shows the bytes of process ids as text, which they need not be"
    if path == MAX_SYSCTL and step.get("proc"):
        return "the sysctl is a file of our tree, in a directory that is closed to others"
    return None
