"""Stock trace-cmd in the private door and on a mount, and a program of libtracefs: they find all that they ask for."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require
from tests.doors.servers import Mount, Run, wait_for

SCRIPT = """
set -e
cd "$1"
"$2" /sys/kernel/tracing/user_events_data native > /dev/null &
until test -e /sys/kernel/tracing/events/user_events/native; do sleep 0.01; done
echo "== list"; trace-cmd list -e | grep user_events
echo "== start"; trace-cmd start -e user_events:native
sleep 0.2
echo "== show"; trace-cmd show | grep -c 'native: number='
echo "== stop"; trace-cmd stop; cat /sys/kernel/tracing/tracing_on
echo "== reset"; trace-cmd reset; cat /sys/kernel/tracing/events/user_events/native/enable
echo "== record"; trace-cmd record -q -e user_events:native -o trace.dat sleep 0.5
kill $!
echo "== report"; trace-cmd report trace.dat | grep -c 'native: *number='
"""


MOUNT = """
set -e
grep -q ' /sys/kernel/tracing tracefs ' /proc/mounts || mount -t tracefs nodev /sys/kernel/tracing || exit 77
switch=/proc/sys/kernel/ftrace_enabled
if ! cat $switch > "$1/switch" || ! cat "$1/switch" > $switch; then mount --bind "$1/switch" $switch || exit 77; fi 2>&1
"$3" -P -m userevents mount &
server=$!
trap 'kill $server; wait $server' EXIT
until test -e /sys/kernel/tracing/userevents/info; do sleep 0.02; done
sh -c "$4" sh "$1" "$2"
"""
"""A mount over the kernel's own tree, in a mount namespace so that nobody else has it; 77 where that cannot be made.

Where the switch of function tracing may not be written, a file lies over it, as docs/doors.md says.
"""


def verify(place: Path, done: "subprocess.CompletedProcess[str]") -> None:
    """All verbs have succeeded, and told what they should."""
    for file in place.iterdir():
        file.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    parts = {part.split("\n")[0]: part.split("\n")[1:-1] for part in done.stdout.split("== ")[1:]}
    assert parts["list"] == ["user_events:native"]
    assert int(parts["show"][0]) >= 5
    assert (parts["stop"], parts["reset"]) == (["0"], ["0"])
    assert int(parts["report"][0]) >= 20


def test_trace_cmd_lists_starts_shows_stops_resets_and_records(
    run: Run, native: Callable[..., str], trace_cmd: str, place: Path
) -> None:
    """All verbs succeed, and `record` gets a file that `report` reads, with records in it."""
    place.chmod(0o777)
    verify(place, run("sh", "-c", SCRIPT, "sh", str(place), native("ticker")))


def test_trace_cmd_takes_a_mount_for_the_kernels_tree(
    fuse: None, runtime_dir: Path, native: Callable[..., str], trace_cmd: str, place: Path
) -> None:
    """`userevents mount` over tracefs: trace-cmd finds that in `/proc/mounts`, and us in its place."""
    command = [require("unshare"), "-m", "--propagation", "private", "sh", "-c", MOUNT, "sh", str(place)]
    done = subprocess.run(
        [*command, native("ticker"), sys.executable, SCRIPT], capture_output=True, text=True, timeout=50, check=False
    )
    if done.returncode == 77:
        pytest.skip(f"no tracefs to mount over, or no switch to cover: {done.stderr}")
    verify(place, done)


COLLECTED = """\
system: 1
event: 1
enable: 0
first: a number
found: 1
disable: 0
instance: 1
clock: 0
destroy: 0
"""
HEADERS = ("-I/usr/include/tracefs", "-I/usr/include/traceevent", "-ltracefs", "-ltraceevent")


def test_a_program_of_libtracefs_lists_enables_and_reads_raw_events(mounted: Mount, native: Callable[..., str]) -> None:
    """Pages, formats and instances are what the library takes them for; it is compiled with its own headers."""
    if not Path("/usr/include/tracefs/tracefs.h").exists():
        require("the headers of libtracefs (libtracefs-dev)")
    collector = native("collector", *HEADERS)
    ticker = subprocess.Popen([native("ticker"), mounted.place / "user_events_data", "native"], stdout=subprocess.PIPE)
    try:
        wait_for((mounted.place / "events/user_events/native").is_dir)
        done = subprocess.run(
            [collector, mounted.place, "user_events", "native", "20"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.stdout == COLLECTED, done.stderr
    finally:
        ticker.kill()
        ticker.communicate()
