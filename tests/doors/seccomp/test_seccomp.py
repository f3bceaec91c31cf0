"""What the seccomp door alone has to get right: which opens are meant, who is left when it ends, what is refused."""

import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import ROOT, require
from tests.doors.native.conftest import OpenDoor
from tests.doors.servers import (
    DEVICE,
    NOBODY,
    TRACING,
    Run,
    python_for_nobody,
    wait_for,
)

DATA = str(TRACING / "user_events_data")
SHAPES = """\
absolute: 0
close on exec: 0
its flag: 1
through dots: 0
relative to a directory: 0
relative to where we are: 0
by a link: 0
another file: 0
a file that is not there: EACCES
after exec: 0
closed on exec: EBADF
"""


@pytest.fixture(params=["seccomp", "socket"])
def run(request: pytest.FixtureRequest, runtime_dir: Path) -> Run:
    """Runs programs in either form of the door, as root."""
    if os.geteuid():
        pytest.skip("only root can make the mount here")
    if request.param == "seccomp":
        request.getfixturevalue("fuse")
    return Run(0, runtime_dir, None, "--door", request.param)


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A symbolic link to the file."""
    path = tmp_path / "link" / "user_events_data"
    path.parent.mkdir()
    path.symlink_to(DATA)
    return path


def test_a_path_means_the_file_however_it_is_written(run: Run, native: Callable[[str], str], link: Path) -> None:
    """Relative to anything, through dots and links; the flag to close on exec is kept."""
    done = run(native("shapes"), str(TRACING), str(link))
    assert done.stdout == SHAPES, done.stderr


def test_commands_written_to_the_tree_are_done_before_what_follows(run: Run) -> None:
    """`echo` to a file of the tree works, and the next program sees what it switched; also of a write in parts."""
    script = (
        f"cd {TRACING} && for name in tick tock tack; do echo u:$name u32 a >> dynamic_events; done"
        " && echo 1 > events/user_events/tick/enable && echo tock tack >> set_event && exec sleep 5"
    )
    runtime = Path(run.environment["USEREVENTS_DIR"])
    door = OpenDoor(runtime, lambda argv: run.start(*argv))
    client = door.start("sh", "-c", script)
    try:
        for event in ("tick", "tock", "tack"):
            wait_for(lambda: door.read(f"events/user_events/{event}/enable") == "1\n")  # noqa: B023
    finally:
        client.process.send_signal(signal.SIGTERM)
        client.process.communicate(timeout=10)


def test_a_program_that_makes_its_calls_by_itself_is_served(run: Run, tmp_path: Path) -> None:
    """A static program without a C library, as those of Go are: nothing of the door is inside the program."""
    if platform.machine() != "x86_64":
        pytest.skip("its calls are those of x86-64")
    program = tmp_path / "still"
    source = ROOT / "tests" / "native" / "still.c"
    subprocess.run([require("gcc"), "-O1", "-nostdlib", "-static", "-o", program, source], check=True)
    door = OpenDoor(Path(run.environment["USEREVENTS_DIR"]), lambda argv: run.start(*argv))
    client = door.start(str(program))
    door.switch("native", 1)
    assert client.told() == ["reg: 0"]
    assert client.process.returncode == 0


def test_a_program_that_outlives_the_door_goes_on(run: Run, tmp_path: Path) -> None:
    """A daemon whose starter has ended writes its files as before; the tree is the kernel's for it again."""
    done_file = tmp_path / "done"
    script = f"(sleep 1; echo on > {tmp_path}/log && echo yes > {done_file}) > /dev/null 2>&1 &"
    done = run("setsid", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    wait_for(done_file.exists)


def test_a_second_listener_is_refused_with_the_way_out(run: Run) -> None:
    """Inside another supervisor there can be none; that is said, and how to do without."""
    inner = [sys.executable, "-P", "-m", "userevents", "run", "--door", "socket", "--", "true"]
    done = run("env", f"USEREVENTS_DIR={run.environment['USEREVENTS_DIR']}-inner", *inner)
    shutil.rmtree(f"{run.environment['USEREVENTS_DIR']}-inner", ignore_errors=True)
    assert done.returncode == 1
    assert "there is one listener; use --door fuse" in done.stderr


def test_when_the_supervisor_is_killed_reading_goes_on(run: Run) -> None:
    """Opens for writing then fail, as docs/doors.md says; nothing hangs."""
    wait = "while kill -0 $PPID; do sleep 0.01; done"
    reader = "cat /proc/self/comm; (echo 1 > /dev/null) || echo refused"
    process = run.start("sh", "-c", f"exec 2>&-; echo ready; {wait}; {reader}")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    assert process.communicate(timeout=10)[0] == "cat\nrefused\n"


@pytest.fixture
def nobody(fuse: None, runtime_dir: Path) -> Callable[..., Run]:
    """Runs programs as a user who may nothing, with a device of some mode."""
    os.chown(runtime_dir, NOBODY, NOBODY)
    return partial(Run, NOBODY, runtime_dir, python_for_nobody())


def test_the_first_door_that_works_is_taken_and_the_others_are_explained(nobody: Callable[..., Run]) -> None:
    """Without a device for him a user gets the socket, and is told why and what that means."""
    assert "(door: fuse)" in nobody()("true").stderr
    done = nobody(device_mode=0o600)("true")
    assert done.returncode == 0
    assert "door: socket; failed writes look like good ones to the program; not fuse: " in done.stderr
    assert "not seccomp: a detached mount cannot be made: /dev/fuse: Permission denied; everybody may" in done.stderr


def test_a_door_that_was_asked_for_is_not_replaced(nobody: Callable[..., Run]) -> None:
    """Who names a door gets that one, or the reason why not."""
    done = nobody("--door", "seccomp", device_mode=0o600)("true")
    assert done.returncode == 1
    assert f"{DEVICE}: Permission denied" in done.stderr


def test_writes_that_the_program_was_not_told_of_are_counted(run: Run, native: Callable[[str], str]) -> None:
    """With a socket nothing tells a writer that it was refused: the door says how many at the end."""
    door = OpenDoor(Path(run.environment["USEREVENTS_DIR"]), lambda argv: run.start(*argv))
    client = door.start(native("life"), DATA, "native", "0", "4")
    client.wait_for("write")
    door.switch("native", 1)
    door.wait_for_records("native", 4)
    door.switch("native", 0)
    _, told = client.process.communicate(timeout=20)
    assert ("writes were refused, of which the programs were not told" in told) == ("socket" in run.command)
