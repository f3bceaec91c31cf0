"""The mounted tree as scripts and tools meet it: every file, waiting for records, the server's end and its murder."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import PATIENCE
from tests.doors.servers import NOBODY, Mount, Run, in_namespace, on_one_cpu, own_device, python_for_nobody, wait_for

ANSWER_S = 1.0 * PATIENCE
WAITERS = {
    "read": "os.read(os.open('trace_pipe', os.O_RDONLY), 100)",
    "poll": "p = select.poll(); p.register(os.open('trace_pipe', os.O_RDONLY), 1); print(p.poll()); os.stat('README')",
    "ioctl": "fd = os.open('user_events_data', 2); print(0); sys.stdin.read(1); fcntl.ioctl(fd, 0x40082A01, bytes(8))",
}
"""Programs that wait for the server, each in a directory of its own tree."""


def waiter(where: Path, code: str) -> "subprocess.Popen[str]":
    """Start a program in a directory of the tree that prints the errno it ends with."""
    program = f"""
import fcntl, os, select, sys
print(1, flush=True)
try:
    {code}
except OSError as error:
    print(error.errno)
"""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=where
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    return process


@pytest.fixture
def waiters(mounted: Mount) -> Iterator[dict[str, "subprocess.Popen[str]"]]:
    """Programs that are blocked in the server, one in each kind of call."""
    (mounted.place / "instances" / "other").mkdir()
    started = {
        name: waiter(mounted.place / ("instances/other" if name == "poll" else ""), code)
        for name, code in WAITERS.items()
    }
    ioctl = started["ioctl"]
    assert ioctl.stdout is not None
    assert ioctl.stdout.readline() == "0\n"
    wait_for(lambda: all("S" in state(one) for one in started.values()))
    try:
        yield started
    finally:
        for one in started.values():
            one.kill()
            one.communicate()


def state(process: "subprocess.Popen[str]") -> str:
    """What /proc says that a process does: S sleeps, D sleeps whatever happens."""
    return Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def all_end(waiters: dict[str, "subprocess.Popen[str]"]) -> None:
    """Everyone comes back with an error, in time."""
    deadline = time.monotonic() + ANSWER_S
    for name, one in waiters.items():
        try:
            said = one.communicate(timeout=max(0.01, deadline - time.monotonic()))[0]
        except subprocess.TimeoutExpired:
            pytest.fail(f"{name} still waits ({state(one)})")
        assert said.splitlines()[-1].isdigit(), f"{name} ended without an error: {said}"


def test_every_file_can_be_read_and_written(mounted: Mount) -> None:
    """`cat` and an `echo` of nothing much come back from every file of the tree, and the server lives on."""
    calls: list[tuple[int, Callable[[int], object]]] = [
        (os.O_RDONLY, lambda fd: os.read(fd, 1 << 16)),
        (os.O_WRONLY, lambda fd: os.write(fd, b"\n")),
    ]
    seen = 0
    for directory, _, names in os.walk(mounted.place):
        for name in names:
            seen += 1
            for flags, call in calls:
                with contextlib.suppress(OSError):
                    fd = os.open(os.path.join(directory, name), flags | os.O_NONBLOCK)
                    with open(fd, closefd=True, buffering=0, mode="rb" if flags == os.O_RDONLY else "wb"):
                        call(fd)
    assert seen > 100
    assert "Active: 0" in mounted.read("user_events_status")
    assert "please report" not in mounted.stop()


def test_a_reader_wakes_when_there_is_something(mounted: Mount) -> None:
    """A read and a poll that wait for records end when somebody writes one; a waiting program can be killed."""
    other = mounted.place / "instances" / "other"
    other.mkdir()
    reading = waiter(mounted.place, "print(os.read(os.open('trace_pipe', os.O_RDONLY), 1000))")
    killed = waiter(other, "os.read(os.open('trace_pipe', os.O_RDONLY), 1000)")
    wait_for(lambda: state(reading) == state(killed) == "S")
    with on_one_cpu() as cpu:
        fd = os.open(mounted.place / f"per_cpu/cpu{cpu}/trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        assert poll.poll(0) == []
        mounted.write("buffer_percent", "0")
        mounted.write("trace_marker", "hello")
        assert "hello" in reading.communicate(timeout=10)[0]
        mounted.write("trace_marker", "again")
        assert poll.poll(5000) == [(fd, select.POLLIN)]
        os.close(fd)
    began = time.monotonic()
    killed.kill()
    killed.communicate(timeout=10)
    assert time.monotonic() - began < ANSWER_S
    (mounted.place / "instances/other").rmdir()


def test_ending_the_server_wakes_everybody_and_unmounts(
    mounted: Mount, waiters: dict[str, "subprocess.Popen[str]"]
) -> None:
    """Ctrl-C: whoever waits has an error within a second, and nothing is left mounted."""
    stdin = waiters["ioctl"].stdin
    assert mounted.stop(signal.SIGINT) == ""
    assert stdin is not None
    stdin.write("x")
    stdin.flush()
    all_end(waiters)
    assert not mounted.is_mounted()


def test_a_killed_server_leaves_nobody_hanging_and_the_next_one_takes_its_place(
    mounted: Mount, waiters: dict[str, "subprocess.Popen[str]"]
) -> None:
    """kill -9, with calls that it has taken and calls that it has not: all end, and the dead mount is replaced."""
    os.kill(mounted.process.pid, signal.SIGSTOP)
    stdin = waiters["ioctl"].stdin
    assert stdin is not None
    stdin.write("x")
    stdin.flush()
    time.sleep(0.1)
    mounted.process.kill()
    mounted.process.communicate()
    all_end(waiters)
    with pytest.raises(OSError, match="not connected"):
        mounted.read("README")
    mounted.start()
    assert "Active: 0" in mounted.read("user_events_status")
    assert mounted.stop() == ""
    assert not mounted.is_mounted()


def test_whoever_unmounts_it_ends_the_server(mounted: Mount) -> None:
    """`umount` is as good as Ctrl-C, and what lies below comes to no harm."""
    subprocess.run(["umount", mounted.place], check=True)
    assert "was unmounted" in mounted.process.communicate(timeout=10)[1]
    assert not mounted.is_mounted()


def test_a_second_tracer_is_told_who_is_the_first(mounted: Mount) -> None:
    """One tracer at a time: the second says whose tracer there is, and mounts nothing."""
    command = [sys.executable, "-P", "-m", "userevents", "mount", str(mounted.place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"process {mounted.process.pid} is this user's tracer already" in done.stderr


def test_the_mount_and_python_programs_share_one_tree(mounted: Mount) -> None:
    """An event that a Python program declares in its session is there, and is enabled by a file of the mount."""
    code = (
        "import time; from userevents import event, u32\n"
        "@event\ndef shared(number: u32) -> None: 'One number.'\n"
        "while not shared: time.sleep(0.01)\nshared(42)\n"
    )
    program = subprocess.Popen([sys.executable, "-c", code])
    wait_for((mounted.place / "events/user_events/shared").is_dir)
    mounted.write("events/user_events/shared/enable", "1")
    assert program.wait(20) == 0
    wait_for(lambda: "shared: number=42" in mounted.read("trace") or "number=0x2a (42)" in mounted.read("trace"))


def test_modes_and_groups_are_what_was_asked_for(mounted: Mount) -> None:
    """--mode and --group hold for the directory, and everything in it."""
    assert mounted.place.stat().st_mode & 0o777 == 0o755
    mounted.stop()
    other = Mount(mounted.place, "--mode", "710", "--group", "12345")
    found = mounted.place.stat()
    assert (found.st_mode & 0o777, found.st_gid) == (0o710, 12345)
    assert (mounted.place / "user_events_data").stat().st_gid == 12345
    other.stop()


@pytest.mark.parametrize(("arguments", "said"), [(("/no/such",), "no such directory"), (("--mode", "9"), "octal")])
def test_what_cannot_be_mounted_is_told(fuse: None, runtime_dir: Path, arguments: tuple[str, ...], said: str) -> None:
    """A wrong directory or mode is named, with exit code 1 or 2."""
    command = [sys.executable, "-P", "-m", "userevents", "mount", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert said in done.stderr


def test_who_is_not_root_is_told_what_to_use(fuse: None, runtime_dir: Path) -> None:
    """The device is closed to a user, and mounting for everybody would be refused in any case."""
    os.chown(runtime_dir, NOBODY, NOBODY)
    environment = Run(NOBODY, runtime_dir, python := python_for_nobody()).environment
    words = in_namespace(NOBODY, own_device(0o600), [python, "-P", "-m", "userevents", "mount", "/mnt"])
    done = subprocess.run(words, cwd="/", env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert "mounting for everybody needs root; without, userevents run -- PROGRAM" in done.stderr
