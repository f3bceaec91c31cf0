"""What only a FUSE door shows to native programs: modes decide who may, and `run` gives a tree of one's own."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.doors.servers import NOBODY, TRACING, Mount, Run

DRIVE = """
tracing=/sys/kernel/tracing
"$@" &
enable=$tracing/events/user_events/$3/enable
until test -e "$enable"; do sleep 0.01; done
echo 1 > "$enable"
until test "$(grep -c "$3:" $tracing/trace)" -ge 1; do sleep 0.02; done
echo 0 > "$enable"
wait
"""
"""Enables the event of a client, waits until it has written a record, and disables it."""


def test_a_program_of_another_user_may_not_use_a_mount_that_is_closed_to_it(
    mounted: Mount, native: Callable[[str], str]
) -> None:
    """The files' modes decide, as in the kernel."""
    refused = subprocess.run(
        [native("life"), mounted.place / "user_events_data", "native", "0", "4"],
        user=NOBODY,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert refused.stdout == "open: EACCES\n"


def test_a_program_runs_in_a_tree_of_its_own(run: Run, native: Callable[[str], str]) -> None:
    """`userevents run` gives all of it, with privilege or without, for scripts too; the exit code comes back."""
    done = run("sh", "-c", DRIVE, "sh", native("pass"), str(TRACING / "user_events_data"), "private")
    assert "write: 8\n" in done.stdout, done.stderr
    assert "door: fuse" in done.stderr
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
