"""Every door that native clients are run through, each as root and as a user who may nothing.

A client is started in a door; the tracer behind it is driven from outside, by its socket. So one test says what holds
for all doors. A new door is an entry of `DOORS`: what opens it, and what its clients are told otherwise.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.doors.servers import NOBODY, TRACING, Mount, Run, miss, python_for_nobody, wait_for
from userevents.control import SocketAccess, read_file, write_file
from userevents.errors import NoTracer, Refused


class Client:
    """A native client: what it prints, a line a step, tells how far it is."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines: list[str] = []

    def wait_for(self, step: str) -> None:
        """Wait until it has told of a step."""
        assert self.process.stdout is not None
        while not any(line.startswith(f"{step}: ") for line in self._lines):
            line = self.process.stdout.readline()
            assert line, f"it ended before '{step}': {self._lines}"
            self._lines.append(line.rstrip("\n"))

    def told(self) -> list[str]:
        """The lines that it prints until it ends."""
        return self._lines + self.process.communicate(timeout=30)[0].splitlines()

    def close(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class OpenDoor:
    """A door for the programs of one user, and the tracer behind it."""

    def __init__(self, runtime: Path, command: Callable[[list[str]], "subprocess.Popen[str]"]) -> None:
        self.differs: Mapping[str, str] = {}
        """What this door cannot but answer otherwise: a line that a client prints elsewhere, and the one here."""
        self._socket = str(runtime / "tracer.sock")
        self._command = command
        self._clients: list[Client] = []

    def start(self, client: str, *arguments: str) -> Client:
        """Start a compiled client; its first argument is the file `user_events_data`, these are the others."""
        self._clients.append(Client(self._command([client, *arguments])))
        return self._clients[-1]

    def expected(self, text: str) -> list[str]:
        """The lines that a client should print here."""
        return [self.differs.get(line, line) for line in text.splitlines()]

    def read(self, path: str) -> str:
        """A file of the tree; empty while there is none, or no tracer yet."""
        try:
            with contextlib.closing(SocketAccess(self._socket)) as access:
                return read_file(access, path).decode("latin-1")
        except (NoTracer, Refused):
            return ""

    def switch(self, event: str, value: int) -> None:
        """Enable or disable an event once it is there."""
        path = f"events/user_events/{event}/enable"
        wait_for(lambda: self.read(path) != "")
        with contextlib.closing(SocketAccess(self._socket)) as access:
            write_file(access, path, str(value).encode())

    def records(self, event: str) -> int:
        """How many records of an event there are."""
        return self.read("trace").count(f" {event}: ")

    def wait_for_records(self, event: str, count: int) -> None:
        """Wait until there are so many records of an event, and no more."""
        wait_for(lambda: self.records(event) >= count)
        assert self.records(event) == count

    def close(self) -> None:
        """End every client that is left."""
        for client in self._clients:
            client.close()


@contextlib.contextmanager
def _mounted(uid: int, runtime: Path, place: Path) -> Iterator[OpenDoor]:
    """`userevents mount`, open to everybody."""
    mount = Mount(place, "--mode", "755")
    data = place / "user_events_data"
    data.chmod(0o666)

    def command(argv: list[str]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [argv[0], data, *argv[1:]], stdout=subprocess.PIPE, text=True, user=uid, group=uid, extra_groups=[], cwd="/"
        )

    try:
        yield OpenDoor(runtime, command)
    finally:
        assert "please report" not in mount.stop()


def _run(door: str) -> Callable[[int, Path, Path], contextlib.AbstractContextManager[OpenDoor]]:
    """`userevents run --door DOOR`."""

    @contextlib.contextmanager
    def opened(uid: int, runtime: Path, place: Path) -> Iterator[OpenDoor]:
        if door == "fuse" and not TRACING.is_dir():
            miss(f"there is no {TRACING}")
        mode = None if door == "socket" else 0o666
        run = Run(uid, runtime, python_for_nobody() if uid else None, "--door", door, "-q", device_mode=mode)
        if uid:
            os.chown(runtime, uid, uid)
        found = OpenDoor(runtime, lambda argv: run.start(argv[0], str(TRACING / "user_events_data"), *argv[1:]))
        found.differs = WITHOUT_ERRORS if door == "socket" else {}
        yield found

    return opened


WITHOUT_ERRORS: Final = {
    "write: EBADF": "write: 8",
    "write unknown: ENOENT": "write unknown: 8",
    "writev: EINVAL": "writev: 4",
}
"""What a socket takes for a good write."""
DOORS: Final = {"mount": _mounted, "fuse": _run("fuse"), "seccomp": _run("seccomp"), "socket": _run("socket")}
USERS: Final = {"root": 0, "nobody": NOBODY}


@pytest.fixture(params=[f"{door}-{user}" for door in DOORS for user in USERS])
def door(request: pytest.FixtureRequest, place: Path, runtime_dir: Path) -> Iterator[OpenDoor]:
    """One door after the other, as one user after the other."""
    kind, _, user = request.param.partition("-")
    if kind != "socket":
        request.getfixturevalue("fuse")
    elif USERS[user] and os.geteuid():
        pytest.skip("only root can become another user")
    with DOORS[kind](USERS[user], runtime_dir, place) as opened, contextlib.closing(opened):
        yield opened
