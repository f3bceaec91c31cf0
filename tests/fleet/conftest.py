"""A real NATS server for tests of the fleet: the packaged one, on loopback, one for each module."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from userevents.fleet.broker import Broker, connected
from userevents.fleet.connection import Settings
from userevents.fleet.server import binary


class Server(NamedTuple):
    """A server that runs, and how to start and end it."""

    port: int
    config: Path
    processes: list[subprocess.Popen[bytes]]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Settings:
        """How to reach it."""
        return Settings((self.url,))

    def start(self) -> None:
        """Start it, and wait until it listens."""
        log = open(self.config.with_suffix(".log"), "ab")
        self.processes.append(subprocess.Popen([binary(), "-c", self.config], stdout=log, stderr=log))
        log.close()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.processes[-1].poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                assert sock.recv(4) == b"INFO"
                return
            time.sleep(0.02)
        raise AssertionError(self.config.with_suffix(".log").read_text(errors="replace"))

    def kill(self) -> None:
        """End it, as kill -9 does."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def nats_server(directory: Path, more: str = "") -> Iterator[Server]:
    """A server with JetStream whose files lie in `directory`, and with more in its configuration."""
    server = Server(free_port(), directory / "nats.conf", [])
    store = f'jetstream {{ store_dir: "{directory}/js", max_mem: 64MB, max_file: 1GB }}'
    server.config.write_text(f"listen: 127.0.0.1:{server.port}\n{store}\n{more}\n")
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory / "js", ignore_errors=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the tests of a module; nobody may end it."""
    with nats_server(tmp_path_factory.mktemp("nats")) as running:
        yield running


Test = Callable[[Broker], Coroutine[Any, Any, None]]


@pytest.fixture
def with_broker(server: Server) -> Callable[[Test], None]:
    """Runs a coroutine with a connection to the module's server, whose bucket is empty at first."""

    def run(test: Test) -> None:
        async def main() -> None:
            async with connected(server.settings, "test") as broker:
                for entry in await broker.entries(">"):
                    await broker.remove(entry.key, entry.sequence)
                await test(broker)

        asyncio.run(main())

    return run
