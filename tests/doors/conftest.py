"""What the tests of doors share: a socket door in a thread of its own and raw clients for it; FUSE; native clients."""

import os
import queue
import selectors
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import pytest

from tests.conftest import ROOT, require, wish
from tests.doors.servers import DEVICE, miss
from tests.engine.world import World
from userevents.abi import socket as wire
from userevents.doors import Policy, SocketDoor
from userevents.doors.socket import KEPT_MAX
from userevents.tracefs import PlainSystem, Tree

T = TypeVar("T")
_SOURCES: Final = ROOT / "tests" / "native"


class Loop:
    """A selector loop; `call` runs something in its thread, as everything that touches the tree must."""

    def __init__(self) -> None:
        self.turn: Callable[[], None] = lambda: None
        self.failures: list[BaseException] = []
        self._selector = selectors.DefaultSelector()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._running = True
        self._thread = threading.Thread(target=self._run, daemon=True)

    def watch(self, fd: int, on_readable: Callable[[], None], on_writable: Callable[[], None] | None) -> None:
        """Watch `fd`, replacing what was watched before."""
        self.unwatch(fd)
        interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if on_writable else 0)
        self._selector.register(fd, interest, (on_readable, on_writable))

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`."""
        try:
            self._selector.unregister(fd)
        except KeyError:
            pass

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` in the loop's thread, after which the loop takes a turn; returns its result."""
        done: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()

        def run() -> None:
            try:
                done.put(function())
            except BaseException as error:
                done.put(error)

        self._calls.put(run)
        self._wake.send(b"x")
        result = done.get(timeout=10)
        if isinstance(result, BaseException):
            raise result
        return result

    def start(self) -> None:
        """Start the thread."""
        self._selector.register(self._woken, selectors.EVENT_READ, (self._take_calls, None))
        self._thread.start()

    def stop(self) -> None:
        """End the thread; raises what it failed with."""
        self._running = False
        self._wake.send(b"x")
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._wake.close()
        self._woken.close()
        self._selector.close()
        if self.failures:
            raise self.failures[0]

    def _take_calls(self) -> None:
        self._woken.recv(4096)
        while not self._calls.empty():
            self._calls.get()()

    def _run(self) -> None:
        try:
            while self._running:
                for key, ready in self._selector.select():
                    on_readable, on_writable = key.data
                    if ready & selectors.EVENT_READ:
                        on_readable()
                    if ready & selectors.EVENT_WRITE and on_writable is not None:
                        on_writable()
                self.turn()
        except BaseException as error:
            self.failures.append(error)


class Server:
    """A tree behind a socket door."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.world = World()
        self.system = PlainSystem(self.world.group)
        self.tree = Tree(self.system)
        self.loop = Loop()
        self.log: list[str] = []
        self.time = 0.0
        self.clock = lambda: self.time
        self.door = self.open_door()
        self.loop.turn = self.door.poke
        self.loop.start()

    def open_door(self, policy: Policy | None = None) -> SocketDoor:
        """Listen."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(200)
        return SocketDoor(
            self.tree, listener, self.loop, policy=policy, clock=self.clock, kept_max=KEPT_MAX // 8, log=self._note
        )

    def _note(self, level: str, text: str) -> None:
        self.log.append(text)

    def clients(self) -> int:
        """How many connections the door has."""
        return self.loop.call(lambda: self.door.clients)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds in the loop's thread."""
        deadline = time.monotonic() + 10
        while not self.loop.call(condition):
            assert time.monotonic() < deadline, "it did not come to hold within 10 s"
            time.sleep(0.001)

    def stop(self) -> None:
        """Close the door, end the loop."""
        self.loop.call(self.door.close)
        self.loop.stop()


class RawClient:
    """A client that speaks bytes, so that it can say anything."""

    def __init__(self, path: str, hello: bytes | None = None) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(path)
        self.sock.sendall(wire.HELLO.pack(wire.MAGIC, wire.VERSION, 0) if hello is None else hello)

    def hello(self) -> tuple[bytes, int, int]:
        """The tracer's hello."""
        return wire.HELLO.unpack(self.receive(wire.HELLO.size))

    def send(self, op: int, body: bytes = b"", tag: int = 1, flags: int = 0) -> None:
        """Send a request."""
        self.sock.sendall(wire.REQUEST.pack(len(body), tag, op, flags) + body)

    def answer(self) -> tuple[int, int, bytes]:
        """The next answer: tag, result, body."""
        size, tag, result = wire.RESPONSE.unpack(self.receive(wire.RESPONSE.size))
        return tag, result, self.receive(size)

    def ask(self, op: int, body: bytes = b"", tag: int = 1, flags: int = 0) -> tuple[int, bytes]:
        """Send a request and take its answer."""
        self.send(op, body, tag, flags)
        answered, result, answer = self.answer()
        assert answered == tag
        return result, answer

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a file of the tree."""
        return self.ask(wire.OP_OPEN, struct.pack("<I", flags) + path.encode())[0]

    def receive(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def is_closed(self) -> bool:
        """Whether the tracer has hung up (waits for it)."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionError:
            return True
        return True

    def close(self) -> None:
        """Hang up."""
        self.sock.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A running server; stopping it raises whatever went wrong in its thread."""
    running = Server(tmp_path / "tracer.sock")
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[..., RawClient]]:
    """Makes clients; those still connected are closed at the end."""
    clients: list[RawClient] = []

    def make(hello: bytes | None = None) -> RawClient:
        clients.append(RawClient(server.path, hello))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(connect: Callable[..., RawClient]) -> RawClient:
    """A client that has said hello."""
    made = connect()
    assert made.hello() == (wire.MAGIC, wire.VERSION, 0)
    return made


@pytest.fixture(scope="session")
def fuse() -> None:
    """Go on only where FUSE can be mounted."""
    if not DEVICE.exists():
        miss(f"there is no {DEVICE}")
    if os.geteuid() != 0:
        miss("only root can mount")
    probe = [sys.executable, "-c", "import os; os.open('/dev/fuse', os.O_RDWR); os.unshare(os.CLONE_NEWNS)"]
    if sys.version_info < (3, 12):
        probe = ["unshare", "-m", sys.executable, "-c", "import os; os.open('/dev/fuse', os.O_RDWR)"]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False)
    if tried.returncode:
        miss(f"mounts are not permitted here: {tried.stderr.strip().splitlines()[-1:]}")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory to mount on that every user can reach."""
    directory = Path(tempfile.mkdtemp(prefix="userevents-mount-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], capture_output=True, check=False)
        directory.rmdir()


@pytest.fixture(scope="session")
def native() -> Iterator[Callable[..., str]]:
    """Gives the path of a native client, compiled on first use with these flags, that every user can run."""
    gcc = require("gcc")
    directory = Path(tempfile.mkdtemp(prefix="userevents-native-"))
    directory.chmod(0o755)

    def compiled(name: str, *flags: str) -> str:
        program = directory / name
        if not program.exists():
            strict = ["-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Wno-unused-function", "-Werror", "-pthread"]
            subprocess.run([gcc, *strict, "-o", program, _SOURCES / f"{name}.c", *flags], check=True)
        return str(program)

    yield compiled
    shutil.rmtree(directory)


BUILDS: Final = {
    "rs": ("rustc", "--version", "-O", "-D", "warnings", "-C", "target-feature=+crt-static", "-o"),
    "go": ("go", "version", "build", "-o"),
}


@pytest.fixture(scope="session")
def producer() -> Iterator[Callable[[str], str]]:
    """Gives the path of the producer in some language, compiled on first use and static, that every user can run."""
    directory = Path(tempfile.mkdtemp(prefix="userevents-producer-"))
    directory.chmod(0o755)

    def compiled(language: str) -> str:
        program = directory / language
        if not program.exists():
            compiler, version, *words = BUILDS[language]
            env = os.environ | {"CGO_ENABLED": "0", "GO111MODULE": "off", "GOCACHE": str(directory / "cache")}
            source = _SOURCES / f"producer.{language}"
            subprocess.run([wish(compiler, version), *words, program, source], check=True, env=env)
        return str(program)

    yield compiled
    shutil.rmtree(directory)
