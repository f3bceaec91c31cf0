"""Stock trace-cmd in the private door: it finds a tracefs, and everything that it asks of one."""

from collections.abc import Callable
from pathlib import Path

from tests.doors.servers import Run

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


def test_trace_cmd_lists_starts_shows_stops_resets_and_records(
    run: Run, native: Callable[[str], str], trace_cmd: str, place: Path
) -> None:
    """All verbs succeed, and `record` gets a file that `report` reads, with records in it."""
    place.chmod(0o777)
    done = run("sh", "-c", SCRIPT, "sh", str(place), native("ticker"))
    for file in place.iterdir():
        file.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    parts = {part.split("\n")[0]: part.split("\n")[1:-1] for part in done.stdout.split("== ")[1:]}
    assert parts["list"] == ["user_events:native"]
    assert int(parts["show"][0]) >= 5
    assert (parts["stop"], parts["reset"]) == (["0"], ["0"])
    assert int(parts["report"][0]) >= 20
