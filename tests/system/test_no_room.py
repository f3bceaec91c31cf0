"""Where there is no room: a disk that fills up, a runtime directory too small for a ring."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Userevents
from .test_tracers import NONE, values


@contextlib.contextmanager
def small(directory: Path, options: str) -> Iterator[None]:
    """A small file system at `directory`."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(directory)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def test_a_disk_that_fills_up_keeps_what_was_recorded(tmp_path: Path, userevents: Userevents) -> None:
    """The recording ends, the program does not, and the file that was begun stays readable."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with small(disk, "size=1m"):
        program = userevents.code("emit(0, 60000); raise SystemExit(5)")
        done = userevents("record", *NONE, "-o", "disk/trace.dat", "--", sys.executable, "-c", program)
        assert done.returncode == 5, done.stderr
        assert "No space left" in done.stderr
        assert "trace.dat.part" in done.stderr
        assert "nothing lost" not in done.stderr  # there is no trace.dat, and nobody has counted
        found = values(disk / "trace.dat.part")
        assert len(found) > 1000
        assert found == list(range(len(found)))
        assert userevents("recover", "disk/trace.dat.part", "-o", "saved.dat").returncode == 0
        assert values(userevents.directory / "saved.dat") == found
        assert userevents("report", "disk/trace.dat.part").returncode == 0
        program = userevents.code("emit(0, 60000)")
        again = userevents("record", *NONE, "-o", "disk/again.dat", "--", sys.executable, "-c", program)
        assert (again.returncode, "No space left" in again.stderr) == (1, True)


def test_a_runtime_directory_without_room_for_a_ring_is_said(runtime_dir: Path, userevents: Userevents) -> None:
    """Who waits for the events of a program that got no ring would wait for ever, and not know why."""
    with small(runtime_dir, "size=96k,mode=700"):
        program = userevents.python(
            "import time; print('go', flush=True)\nwhile True:\n    emit(0, 10); time.sleep(0.002)"
        )
        assert program.stdout is not None
        program.stdout.readline()
        tail = userevents.start("tail", "tick", "-n", "1")  # one that came would end it
        try:
            assert tail.stderr is not None
            said = next(line for line in tail.stderr if "does not fit" in line)
        finally:
            for process in (tail, program):
                process.kill()
                process.communicate()
    assert f"KiB does not fit into '{runtime_dir}': No space left on device; its events are dropped" in said
