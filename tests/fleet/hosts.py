"""Hosts of a fleet for tests, all on this machine: a tracer with an agent each, in a runtime directory of its own."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from userevents.control import SocketAccess, read_file
from userevents.errors import Refused
from userevents.fleet.broker import connected
from userevents.fleet.connection import Settings
from userevents.fleet.reading import EventRow, HostRow, read_events, read_hosts
from userevents.fleet.server import is_listening
from userevents.session.layout import SOCKET_NAME

COMMAND = [sys.executable, "-P", "-m", "userevents"]


class Fleet:
    """A broker (`fleet up`), hosts and their programs. Whatever is left of them is killed by `close`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = ""
        self.up: subprocess.Popen[str] | None = None
        self.hosts: dict[str, subprocess.Popen[str]] = {}
        self.programs: list[subprocess.Popen[str]] = []
        self.let_in: dict[str, str] = {}
        """What those who work with the fleet show the broker: files by the names of `Settings`."""
        self.within: dict[str, list[str]] = {}
        """By host, the command in which its processes are started: a namespace of its own, perhaps."""
        self._places: dict[str, str] = {}

    def start_broker(self, *words: str) -> None:
        """Start the broker, and wait for its URL; again on the same port."""
        port = self.url.rpartition(":")[2] or "0"
        command = [*COMMAND, "fleet", "up", "--port", port, "--dir", str(self.directory / "nats"), "--max-size", "512M"]
        self.up = subprocess.Popen([*command, *words], stdout=subprocess.PIPE, text=True, env=self.environment())
        assert self.up.stdout is not None
        self.url = self.up.stdout.readline().strip()
        assert self.url.startswith("nats://127.0.0.1:"), self.url

    def end_broker(self, number: int = signal.SIGTERM) -> int:
        """End the broker by a signal; returns the exit code once its server is gone, too."""
        assert self.up is not None
        self.up.send_signal(number)
        self.up.communicate(timeout=20)
        until(lambda: not is_listening(int(self.url.rpartition(":")[2])), "the server ends with who started it")
        return self.up.returncode

    def start_host(self, name: str, *words: str) -> None:
        """Start a tracer that joins as `name`."""
        place = self._places.setdefault(name, tempfile.mkdtemp(prefix="uevt-fleet-", dir="/dev/shm"))
        log = open(self.log(name), "a")
        self.hosts[name] = subprocess.Popen(
            [*self.within.get(name, ()), *COMMAND, "serve", "--fleet", self.url, "--fleet-host", name, *words],
            env=self.environment(name),
            stderr=log,
            text=True,
        )
        log.close()
        until(lambda: SOCKET_NAME in os.listdir(place), f"{name} serves")

    def log(self, name: str) -> Path:
        """Where a host's log is."""
        return self.directory / f"{name}.log"

    def kill_host(self, name: str) -> None:
        """End a host's tracer and agent as kill -9 does."""
        self.hosts[name].kill()
        self.hosts[name].wait()

    def program(self, host: str, text: str) -> subprocess.Popen[str]:
        """Start a Python program on a host, and wait until it says that it is ready; a line on stdin lets it go on."""
        code = f"import sys\nfrom userevents import register\n{text}\nprint('ready', flush=True)\nsys.stdin.readline()"
        program = subprocess.Popen(
            [*self.within.get(host, ()), sys.executable, "-c", code],
            env=self.environment(host),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.programs.append(program)
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        return program

    def environment(self, host: str = "") -> dict[str, str]:
        """What a process of a host, or one that works with the fleet, has in its environment."""
        found = {name: value for name, value in os.environ.items() if not name.startswith("USEREVENTS_FLEET")}
        found |= {"USEREVENTS_FLEET": self.url} if self.url else {}
        found |= {} if host else {f"USEREVENTS_FLEET_{name.upper()}": path for name, path in self.let_in.items()}
        return found | ({"USEREVENTS_DIR": self._places[host]} if host else {})

    def __call__(self, *words: str, host: str = "", code: int = 0) -> str:
        """Run a verb of the fleet, or any verb on a `host`; returns its stdout, and its stderr where that is empty."""
        command = [*COMMAND, *(words if host else ("fleet", *words))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=40, env=self.environment(host))
        assert done.returncode == code, done.stderr
        return done.stdout or done.stderr

    def rows(self, *words: str) -> list[dict[str, Any]]:
        """Run a verb that tells in JSON."""
        return [json.loads(line) for line in self(*words, "--json").splitlines()]

    def events(self) -> dict[str, tuple[str, list[str]]]:
        """The events as `fleet list` has them, asked in this process: state and hosts by name."""

        async def read() -> list[EventRow]:
            async with connected(Settings((self.url,), **self.let_in), "test") as broker:
                return await read_events(broker, "*")

        return {row.event.partition(":")[2]: (row.state, list(row.hosts)) for row in asyncio.run(read())}

    def members(self) -> dict[str, str]:
        """The hosts that live, with their incarnations."""

        async def read() -> list[HostRow]:
            async with connected(Settings((self.url,), **self.let_in), "test") as broker:
                return await read_hosts(broker)

        return {row.host: row.facts["incarnation"] for row in asyncio.run(read()) if row.alive}

    def local(self, host: str, path: str) -> str:
        """A file of a host's own tree, read in this process; empty where there is none yet."""
        with contextlib.closing(SocketAccess(os.path.join(self._places[host], SOCKET_NAME))) as access:
            try:
                return read_file(access, path).decode()
            except Refused:
                return ""

    def close(self) -> None:
        """Kill what is left."""
        for process in (*self.programs, *self.hosts.values(), *([self.up] if self.up else [])):
            process.kill()
            process.communicate()
        for place in self._places.values():
            shutil.rmtree(place, ignore_errors=True)


def until(holds: Callable[[], object], what: str, limit_s: float = 15.0) -> float:
    """Wait until something holds; returns how long that took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < limit_s, f"not within {limit_s:g} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - started
