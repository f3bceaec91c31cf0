"""Doors served by the command itself, in a process of its own: mounted for everybody, or private to one program.

A test never serves the files that it looks at: who serves a mount cannot answer itself.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

import click
import pytest

from tests.conftest import PATIENCE, ROOT, require

DEVICE: Final = Path("/dev/fuse")
TRACING: Final = Path("/sys/kernel/tracing")
NOBODY: Final = 65534

MANY_VECTORS: Final = f"""
import ctypes, os, struct, time
fd, libc = os.open("{TRACING}/user_events_data", os.O_RDWR), ctypes.CDLL(None)
word, name = ctypes.c_uint32(), ctypes.create_string_buffer(b"long __rel_loc char[] text")
call = struct.pack("<IBBHQQI", 28, 0, 4, 0, ctypes.addressof(word), ctypes.addressof(name), 0)
assert not libc.ioctl(fd, ctypes.c_ulong(0xC0082A00), ctypes.create_string_buffer(call))
while not word.value:
    time.sleep(0.001)
letters = [bytes((97 + number % 26,)) for number in range(780)]
for _ in range(5):
    assert os.writev(fd, [struct.pack("<iI", 0, 781 << 16), *letters, bytes(1)]) == 789
"""
"""A native program in Python: the event ``long``, five times, each letter of its text in a vector of its own."""


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


def miss(problem: str) -> NoReturn:
    """Skip the test, or fail it where FUSE was promised to be there."""
    if "fuse" in os.environ.get("USEREVENTS_REQUIRE", "").split(","):
        pytest.fail(f"{problem}, and here it must work (USEREVENTS_REQUIRE)")
    pytest.skip(problem)


@contextlib.contextmanager
def on_one_cpu() -> Iterator[int]:
    """Stay on one CPU, whose number is given: there are the records of what this thread writes."""
    allowed = os.sched_getaffinity(0)
    cpu = min(allowed)
    os.sched_setaffinity(0, {cpu})
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, allowed)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 10 * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to hold within 10 s"
        time.sleep(0.005)


def own_device(mode: int = 0o666) -> str:
    """Return a shell's commands that give a mount namespace a `/dev/fuse` of its own, as most distributions have it."""
    made = f"mknod -m {mode:o} /mnt/fuse c 10 229; mount --bind /mnt/fuse {DEVICE}"
    return f"mount -t tmpfs none /mnt; {made}; umount -l /mnt"


def in_namespace(uid: int, prepare: str, command: Sequence[str]) -> list[str]:
    """Return a command that becomes `command` as `uid`, behind what root has prepared in a mount namespace."""
    become = f'{prepare}; exec setpriv --reuid {uid} --regid {uid} --clear-groups "$@"'
    return [require("unshare"), "-m", "--propagation", "private", "sh", "-ec", become, "sh", *command]


class Run:
    """Runs ``userevents run`` with `options`, as some user, who may need another Python.

    Who is not root has a `/dev/fuse` of `device_mode`, whatever the machine's is.
    """

    def __init__(
        self, uid: int, runtime: Path, python: str | None, *options: str, device_mode: int | None = 0o666
    ) -> None:
        self.uid = uid
        self._device = own_device(device_mode) if uid and device_mode is not None else None
        self.environment = os.environ | {
            "USEREVENTS_DIR": str(runtime),
            "PYTHONPATH": f"{ROOT / 'src'}:{Path(click.__file__).parent.parent}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.command = [python or sys.executable, "-P", "-m", "userevents", "run", *options, "--"]

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """Start one program."""
        words = [*self.command, *command]
        if self._device is not None:
            words = in_namespace(self.uid, self._device, words)
        uid = self.uid if self._device is None else 0
        return subprocess.Popen(
            words,
            user=uid,
            group=uid,
            extra_groups=[],
            env=self.environment,
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run one program to its end."""
        with self.start(*command) as process:
            try:
                out, err = process.communicate(timeout=40 * PATIENCE)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)


def python_for_nobody() -> str:
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
    miss(f"no Python that an unprivileged user can use:{told}")
