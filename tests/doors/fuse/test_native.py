"""Native programs through the FUSE door: compiled here, they know nothing but the kernel's ABI."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doors.fuse.conftest import NOBODY, TRACING, Mount, Run, wait_for

LIFE = """\
open: 0
reg: 0
index: 0
reg again: EADDRINUSE
write: EBADF
await on: 0
write: 8
write unknown: ENOENT
writev: EINVAL
writev: 10
writev: 43
writev: 303
await off: 0
unreg: 0
unreg again: ENOENT
del: EBUSY
deleted: 0
"""
FAMILY = {
    "reg: 0",
    "await on: 0",
    "thread writes: 8",
    "child: reg again: EADDRINUSE",
    "child writes: 8",
    "child: await off: 0",
    "duplicate writes: 8",
    "await off: 0",
    "exec: unreg: ENOENT",
    "exec writes: 8",
}
PASS = "reg: 0\nawait on: 0\nwrite: 8\nawait off: 0\nopener: unreg: ENOENT\nopener's word: 0\n"
DRIVE = """
tracing=/sys/kernel/tracing
"$@" &
enable=$tracing/events/user_events/$3/enable
until test -e "$enable"; do sleep 0.01; done
echo 1 > "$enable"
until test "$(grep -c "$3:" $tracing/trace)" -ge "$WRITES"; do sleep 0.02; done
echo 0 > "$enable"
wait
"""
"""Enables the event of a client, waits until it has written so many records, and disables it."""


def switch(mounted: Mount, event: str, value: int) -> None:
    """Enable or disable an event once it is there."""
    wait_for((mounted.place / f"events/user_events/{event}").exists)
    mounted.write(f"events/user_events/{event}/enable", str(value))


def start(mounted: Mount, program: str, *arguments: str, user: int | None = None) -> "subprocess.Popen[str]":
    """Start a client."""
    command = [program, str(mounted.place / "user_events_data"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, user=user, cwd="/")


def records(mounted: Mount, event: str) -> int:
    """How many records of an event there are."""
    return mounted.read("trace").count(f" {event}: ")


def ended(client: "subprocess.Popen[str]") -> str:
    """What a client told, once it has ended."""
    return client.communicate(timeout=20)[0]


@pytest.mark.parametrize(("bit", "size"), [("0", "4"), ("31", "4"), ("0", "8"), ("63", "8")])
def test_a_native_program_registers_writes_and_unregisters(
    mounted: Mount, native: Callable[[str], str], bit: str, size: str
) -> None:
    """Every call of the ABI has the kernel's result, for words of both sizes and bits at both ends."""
    client = start(mounted, native("life"), "native", bit, size)
    switch(mounted, "native", 1)
    wait_for(lambda: records(mounted, "native") == 4)
    switch(mounted, "native", 0)
    assert ended(client) == LIFE
    assert "Active: 0" in mounted.read("user_events_status")


def test_a_program_of_another_user_may_use_a_mount_that_is_open_to_it(
    mounted: Mount, native: Callable[[str], str]
) -> None:
    """The files' modes decide, as in the kernel."""
    data = mounted.place / "user_events_data"
    refused = subprocess.run(
        [native("life"), data, "native", "0", "4"], user=NOBODY, capture_output=True, text=True, check=False, cwd="/"
    )
    assert refused.stdout == "open: EACCES\n"
    data.chmod(0o666)
    client = start(mounted, native("life"), "native", "0", "4", user=NOBODY)
    switch(mounted, "native", 1)
    wait_for(lambda: records(mounted, "native") == 4)
    switch(mounted, "native", 0)
    assert ended(client) == LIFE


def test_threads_children_duplicates_and_later_programs_share_the_open_file(
    mounted: Mount, native: Callable[[str], str]
) -> None:
    """The table of events goes with the open file, the registration with the memory."""
    client = start(mounted, native("family"), "native")
    switch(mounted, "native", 1)
    wait_for(lambda: records(mounted, "native") == 3)
    switch(mounted, "native", 0)
    time.sleep(0.1)
    switch(mounted, "native", 1)
    assert set(ended(client).splitlines()) == FAMILY
    assert records(mounted, "native") == 4


def test_a_registration_belongs_to_whoever_makes_it_not_to_the_opener(
    mounted: Mount, native: Callable[[str], str]
) -> None:
    """A file that came over a socket registers the receiver's own memory."""
    client = start(mounted, native("pass"), "native")
    switch(mounted, "native", 1)
    wait_for(lambda: records(mounted, "native") == 1)
    switch(mounted, "native", 0)
    assert ended(client) == PASS


def test_a_program_runs_in_a_tree_of_its_own(run: Run, native: Callable[[str], str]) -> None:
    """`userevents run` gives a native program all of it, with privilege or without, and its exit code comes back."""
    data = str(TRACING / "user_events_data")
    done = run("env", "WRITES=4", "sh", "-c", DRIVE, "sh", native("life"), data, "private", "31", "4")
    assert done.stdout == LIFE, done.stderr
    assert "door: fuse" in done.stderr
    done = run("env", "WRITES=1", "sh", "-c", DRIVE, "sh", native("pass"), data, "private")
    assert done.stdout == PASS, done.stderr
    done = run("sh", "-c", "id -u; grep -c ' /sys/kernel/tracing tracefs ' /proc/mounts; kill -TERM $$")
    assert (done.stdout, done.returncode) == (f"{run.uid}\n1\n", 128 + 15), done.stderr


def test_run_tells_what_cannot_be_run(run: Run, tmp_path: Path) -> None:
    """The exit codes are the shell's."""
    assert run("no-such-program").returncode == 127
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    if run.uid == 0:
        assert run(str(broken)).returncode == 126
