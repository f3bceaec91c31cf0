"""perf script, by a Python handler of every event."""

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from tests.conftest import require

_HANDLER = """
import json
def trace_unhandled(name, context, fields, sample):
    def plain(value):
        return {"hex": bytes(value).hex()} if isinstance(value, (bytes, bytearray)) else value
    said = sample["sample"]
    who = [said["time"], said["cpu"], said["pid"], said["tid"], fields["common_comm"]]
    values = {key: plain(value) for key, value in fields.items() if not key.startswith("common_")}
    print(json.dumps([*who, name, values]))
"""


class Found(NamedTuple):
    """A sample."""

    ts_ns: int
    cpu: int
    pid: int
    tid: int
    comm: str
    name: str
    fields: dict[str, Any]


def samples(file: Path) -> list[Found]:
    """Return the samples of a perf.data file in perf's order, as its reader decodes them."""
    handler = file.with_suffix(".handler.py")
    handler.write_text(_HANDLER)
    done = subprocess.run(
        [require("perf"), "script", "-i", str(file), "-s", str(handler)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [Found(*json.loads(line)) for line in done.stdout.splitlines()]


def lines(file: Path) -> list[str]:
    """Return what `perf script` prints, losses too."""
    command = [require("perf"), "script", "-i", str(file), "--ns", "--show-lost-events"]
    done = subprocess.run(command, capture_output=True, text=True, errors="backslashreplace")
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()
