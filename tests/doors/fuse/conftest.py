"""The tree mounted, private or for everybody, by the command itself in a process of its own; and native clients of it.

This process never serves the files that it looks at: who serves a mount cannot answer itself.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NoReturn

import click
import pytest

from tests.conftest import PATIENCE, ROOT, require

DEVICE: Final = Path("/dev/fuse")
TRACING: Final = Path("/sys/kernel/tracing")
NOBODY: Final = 65534
_SOURCES: Final = ROOT / "tests" / "native"


class Mount:
    """A running ``userevents mount``."""

    def __init__(self, place: Path, *options: str) -> None:
        self.place = place
        self._options = options
        self.start()

    def start(self) -> None:
        """Mount (again)."""
        command = [sys.executable, "-P", "-m", "userevents", "mount", *self._options, str(self.place)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = self.process.stderr.readline()
        assert "Ctrl-C ends it" in said, said + self.process.stderr.read()

    def read(self, path: str) -> str:
        """A file of the tree."""
        return (self.place / path).read_text(encoding="latin-1")

    def write(self, path: str, text: str) -> None:
        """Write to a file of the tree as ``echo -n`` does."""
        fd = os.open(self.place / path, os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(fd, text.encode("latin-1"))
        finally:
            os.close(fd)

    def is_mounted(self) -> bool:
        """Whether anything is, dead or alive."""
        return f" {self.place} " in Path("/proc/self/mountinfo").read_text(encoding="utf-8")

    def stop(self, number: int = signal.SIGTERM) -> str:
        """End the server; return what it said."""
        self.process.send_signal(number)
        try:
            return self.process.communicate(timeout=10)[1]
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def _miss(problem: str) -> NoReturn:
    if "fuse" in os.environ.get("USEREVENTS_REQUIRE", "").split(","):
        pytest.fail(f"{problem}, and here it must work (USEREVENTS_REQUIRE)")
    pytest.skip(problem)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 10 * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to hold within 10 s"
        time.sleep(0.005)


@pytest.fixture(scope="session")
def fuse() -> None:
    """Go on only where FUSE can be mounted."""
    if not DEVICE.exists():
        _miss(f"there is no {DEVICE}")
    if os.geteuid() != 0:
        _miss("only root can mount")
    probe = [sys.executable, "-c", "import os; os.open('/dev/fuse', os.O_RDWR); os.unshare(os.CLONE_NEWNS)"]
    if sys.version_info < (3, 12):
        probe = ["unshare", "-m", sys.executable, "-c", "import os; os.open('/dev/fuse', os.O_RDWR)"]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False)
    if tried.returncode:
        _miss(f"mounts are not permitted here: {tried.stderr.strip().splitlines()[-1:]}")


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


@pytest.fixture
def mounted(fuse: None, runtime_dir: Path, place: Path) -> Iterator[Mount]:
    """The tree, mounted for everybody."""
    mount = Mount(place, "--mode", "755")
    try:
        yield mount
    finally:
        if mount.process.poll() is None:
            mount.stop()


@pytest.fixture(scope="session")
def native() -> Iterator[Callable[[str], str]]:
    """Gives the path of a native client, compiled on first use, that every user can run."""
    gcc = require("gcc")
    directory = Path(tempfile.mkdtemp(prefix="userevents-native-"))
    directory.chmod(0o755)

    def compiled(name: str) -> str:
        program = directory / name
        if not program.exists():
            flags = ["-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Wno-unused-function", "-Werror", "-pthread"]
            subprocess.run([gcc, *flags, "-o", program, _SOURCES / f"{name}.c"], check=True)
        return str(program)

    yield compiled
    shutil.rmtree(directory)


class Run:
    """Runs ``userevents run`` as some user."""

    def __init__(self, uid: int, runtime: Path, python: str) -> None:
        self.uid = uid
        self._environment = os.environ | {
            "USEREVENTS_DIR": str(runtime),
            "PYTHONPATH": f"{ROOT / 'src'}:{Path(click.__file__).parent.parent}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._python = python

    def __call__(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run one program to its end."""
        return subprocess.run(
            [self._python, "-P", "-m", "userevents", "run", "--", *command],
            user=self.uid,
            group=self.uid,
            extra_groups=[],
            env=self._environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=40 * PATIENCE,
            check=False,
        )


@pytest.fixture(params=["root", "nobody"])
def run(request: pytest.FixtureRequest, fuse: None) -> Iterator[Run]:
    """Runs programs in the private door, as root and as a user who may nothing."""
    if not TRACING.is_dir():
        _miss(f"there is no {TRACING}")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None
    runtime = Path(tempfile.mkdtemp(prefix="userevents-run-", dir=memory))
    mode = DEVICE.stat().st_mode & 0o777
    python = sys.executable
    try:
        if request.param == "nobody":
            os.chown(runtime, NOBODY, NOBODY)
            DEVICE.chmod(0o666)
            python = _python_for_nobody()
        yield Run(0 if request.param == "root" else NOBODY, runtime, python)
    finally:
        DEVICE.chmod(mode)
        shutil.rmtree(runtime)


def _python_for_nobody() -> str:
    """A Python that a user who may nothing can run, and that may make user namespaces."""
    code = "import os, sys, ctypes; sys.exit(sys.version_info < (3, 11) or ctypes.CDLL(None).unshare(0x10000000) != 0)"
    told = ""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            tried = subprocess.run(
                [python, "-c", code], user=NOBODY, group=NOBODY, cwd="/", capture_output=True, text=True, check=False
            )
        except OSError as error:
            told += f" {python}: {error.strerror};"
            continue
        if tried.returncode == 0:
            return python
        told += f" {python}: {tried.stderr.strip() or 'no user namespaces, or too old'};"
    _miss(f"no Python that an unprivileged user can use:{told}")
