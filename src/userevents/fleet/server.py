"""The packaged NATS server: finding it, its configuration, and running one on loopback."""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from ..errors import Unusable
from .connection import VERSION

LOOPBACK: Final = "127.0.0.1"
MEMORY_MAX: Final = 64 << 20
_START_S: Final = 10.0
_END_S: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1
_LOG: Final = "nats.log"


class Place(NamedTuple):
    """Where a server is to run: its port, its directory, and the bytes it may store there."""

    port: int
    directory: str
    file_max: int

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://{LOOPBACK}:{self.port}"

    def config(self) -> str:
        """The server's configuration. What JetStream may store is what its streams reserve: no server takes more."""
        return (
            f"# Made by 'userevents fleet up' whenever it starts.\n"
            f"listen: {LOOPBACK}:{self.port}\n"
            f"server_name: userevents-{self.port}\n"
            f"max_payload: 1MB\n"
            f"jetstream {{\n"
            f"  store_dir: {_quoted(os.path.join(self.directory, 'jetstream'))}\n"
            f"  max_file_store: {self.file_max}\n"
            f"  max_memory_store: {MEMORY_MAX}\n"
            f"}}\n"
        )


def binary() -> str:
    """Return the path of the server's program: the packaged one beside this Python, or one on the PATH.

    Raises `Unusable` where there is none that a fleet can use.
    """
    beside = os.path.join(os.path.dirname(sys.executable), "nats-server")
    found = beside if os.access(beside, os.X_OK) else shutil.which("nats-server")
    if found is None:
        raise Unusable("there is no nats-server here: pip install 'userevents[fleet]' brings one")
    return _checked(found)


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """A server for as long as this lasts; it ends with this process, however that ends.

    Raises `Unusable` if it does not start: what it says, its log has.
    """
    program = binary()
    if is_listening(place.port):
        raise Unusable(f"something listens at {place.url} already: use it, or choose another --port (0 for any)")
    config = os.path.join(place.directory, "nats.conf")
    try:
        os.makedirs(place.directory, mode=0o700, exist_ok=True)
        with open(config, "w", encoding="utf-8") as file:
            file.write(place.config())
        log = open(os.path.join(place.directory, _LOG), "ab")
    except OSError as error:
        raise Unusable(
            f"directory '{place.directory}' cannot be used: {error.strerror} (choose another --dir)"
        ) from None
    with log:
        parent = os.getpid()
        server = subprocess.Popen(
            [program, "-c", config], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=lambda: _end_with(parent),
        )  # fmt: skip
    try:
        _await(server, place)
        yield server
    finally:
        server.terminate()
        try:
            server.wait(_END_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def is_listening(port: int) -> bool:
    """Whether anybody listens on this port of loopback."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 1):
        return True
    return False


def _await(server: "subprocess.Popen[bytes]", place: Place) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, place.port), 1) as sock:
            sock.settimeout(1)
            if sock.recv(4) == b"INFO":
                return
        time.sleep(0.02)
    log = os.path.join(place.directory, _LOG)
    with open(log, encoding="utf-8", errors="replace") as file:
        said = [line.strip() for line in file.readlines()[-3:]]
    raise Unusable(f"nats-server did not start; '{log}' ends with: {' / '.join(said) or 'nothing'}")


def _checked(path: str) -> str:
    try:
        told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unusable(f"'{path}' does not run: {error}") from None
    version = re.search(r"v?(\d+)\.(\d+)\.(\d+)", told)
    if version is None or (int(version[1]), int(version[2])) < VERSION:
        needed = ".".join(map(str, VERSION))
        found = version[0] if version else told.strip() or "of unknown version"
        raise Unusable(
            f"'{path}' is NATS {found}; a fleet needs {needed} or later, for keys that run out:"
            " pip install 'userevents[fleet]' brings one"
        )
    return path


def _end_with(parent: int) -> None:
    """In the child: be ended when the parent is, even if that was killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if os.getppid() != parent:
        os._exit(1)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
