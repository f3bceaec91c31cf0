"""Asking a trace of ten million events: p99 by path in SQL beside DuckDB on Parquet of the same data; the page; counts.

Whole processes, ours and the peer alternating on the same data, so that what slows the machine slows both. Printed are
ratios with their spread, and for each command the least CPU and wall time and the most memory seen. With a FILE as
argument the same goes there as JSON. `EVENTS=1000000 ./dev bench query` takes less.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
import read

from userevents.formats import finish_recording

EVENTS = int(os.environ.get("EVENTS", "10000000"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
GOAL = 2.0
SQL = "SELECT path, count(*) AS n, quantile_cont(total, 0.99) AS p99 FROM {} GROUP BY path ORDER BY p99 DESC LIMIT 5"
PEER = "import duckdb, sys; print(duckdb.sql(sys.argv[1]).fetchall())"


class Run(NamedTuple):
    """What one process took."""

    cpu_s: float
    wall_s: float
    peak_kib: int


def run(command: list[str]) -> Run:
    """Run a command to its end, its output thrown away."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed with status {status}")
    return Run(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss)


def main() -> None:
    """Make the trace, then measure."""
    directory = Path(tempfile.mkdtemp(prefix="userevents-bench-", dir="/dev/shm"))
    part, trace, parquet = directory / "t.part", directory / "t.dat", directory / "t.parquet"
    command = [sys.executable, "-m", "userevents"]
    try:
        read.EVENTS = EVENTS
        read.make(part)
        finish_recording(str(part), str(trace))
        part.unlink()
        run([*command, "query", str(trace), "FROM request", "-o", str(parquet)])
        commands = {
            "query": [*command, "query", str(trace), SQL.format("request")],
            "duckdb on parquet": [sys.executable, "-c", PEER, SQL.format(f"'{parquet}'")],
        }
        once = {
            "html": [*command, "html", "-q", "-o", str(directory / "t.html"), str(trace)],
            "hist --key path": [*command, "hist", str(trace), "request", "--key", "path"],
            "query events": [*command, "query", str(trace), "SELECT event, count(*) FROM events GROUP BY event"],
        }
        found: dict[str, list[Run]] = {name: [] for name in (*commands, *once)}
        for _ in range(ROUNDS):
            for name, words in commands.items():
                found[name].append(run(words))
        for name, words in once.items():
            found[name].append(run(words))
        _tell(found)
    finally:
        shutil.rmtree(directory)


def _tell(found: dict[str, list[Run]]) -> None:
    mine, peer = found["query"], found["duckdb on parquet"]
    ratios = {
        what: [getattr(one, what) / getattr(other, what) for one, other in zip(mine, peer, strict=True)]
        for what in ("cpu_s", "wall_s")
    }
    print(f"{EVENTS:,} events, {ROUNDS} rounds of query beside duckdb, the others once")
    for what, each in ratios.items():
        least = min(getattr(one, what) for one in mine) / min(getattr(one, what) for one in peer)
        print(
            f"query / duckdb on parquet, {what:<7} {least:>6.2f} of minima {statistics.median(each):>6.2f} median"
            f"  ({min(each):.2f} to {max(each):.2f})  goal: at most {GOAL:g}"
        )
    results = {}
    for name, runs in found.items():
        least = Run(min(each.cpu_s for each in runs), min(each.wall_s for each in runs), max(e.peak_kib for e in runs))
        results[name] = least._asdict()
        print(
            f"{name:<20} {least.cpu_s:>7.2f} s CPU {least.wall_s:>7.2f} s {least.peak_kib / 1024:>7.0f} MiB at the peak"
        )
    if len(sys.argv) > 1:
        facts = {"events": EVENTS, "rounds": ROUNDS, "ratios": ratios, "goal": GOAL, "runs": results}
        Path(sys.argv[1]).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
