"""babeltrace2, through its Python bindings (Debian: python3-bt2)."""

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from tests.conftest import require

_SCRIPT = Path(__file__).with_name("bt2_events.py")


class Found(NamedTuple):
    """An event: clock value, ns since 1970, CPU, name, who wrote it, fields."""

    ts_ns: int
    real_ns: int
    cpu: int
    name: str
    who: dict[str, Any]
    fields: dict[str, Any]


def events(trace: Path) -> tuple[list[Found], list[int]]:
    """Return the events of a trace in its reader's order, and how many were discarded at each place that says so."""
    require("babeltrace2")
    done = subprocess.run(["/usr/bin/python3", "-P", str(_SCRIPT), str(trace)], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stderr[-2000:]} (wants Debian's python3-bt2)"
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [Found(*line) for line in lines if isinstance(line, list)], [
        line["discarded"] for line in lines if isinstance(line, dict)
    ]
