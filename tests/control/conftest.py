"""A tracer to drive: a tree behind a real socket, with the client's end of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doors.conftest import Server
from userevents.control import SocketAccess, Tracer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A running server; stopping it raises whatever went wrong in its thread."""
    running = Server(tmp_path / "tracer.sock")
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def access(server: Server) -> Iterator[SocketAccess]:
    """A connection to it."""
    connected = SocketAccess(server.path)
    yield connected
    connected.close()


@pytest.fixture
def tracer(access: SocketAccess) -> Tracer:
    """The tracer, as calls."""
    return Tracer(access)
