"""Asking a trace of ten million events: p99 by path in SQL beside DuckDB on Parquet of the same data; the page; counts.

Whole processes, ours and the peer alternating on the same data, so that what slows the machine slows both; the page and
the counts run once, their figures are by themselves. `EVENTS=1000000 ./dev bench query` takes less.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import read
from results import Row, keep, print_rows, wait_until_quiet
from spent import Spent, spent

from userevents.formats import finish_recording

EVENTS = int(os.environ.get("EVENTS", "10000000"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
GOAL = 2.0
SQL = "SELECT path, count(*) AS n, quantile_cont(total, 0.99) AS p99 FROM {} GROUP BY path ORDER BY p99 DESC LIMIT 5"
PEER = "import duckdb, sys; print(duckdb.sql(sys.argv[1]).fetchall())"
PEER_NAME = "duckdb on the same in Parquet"


def main() -> None:
    """Make the trace, then measure."""
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="userevents-bench-", dir="/dev/shm"))
    part, trace, parquet = directory / "t.part", directory / "t.dat", directory / "t.parquet"
    try:
        read.EVENTS = EVENTS
        read.make(part)
        finish_recording(str(part), str(trace))
        part.unlink()
        spent([*_OURS, "query", str(trace), "FROM request", "-o", str(parquet)])
        notes = [
            wait_until_quiet(),
            f"{EVENTS:,} events of {read.PROGRAMS} programs; {ROUNDS} rounds, the figures once",
        ]
        rows = list(measure(trace, parquet, directory))
        print_rows(rows)
        print(*notes, sep="\n")
        keep("query", rows, notes=notes, seconds=time.monotonic() - began)
    finally:
        shutil.rmtree(directory)


_OURS = [sys.executable, "-m", "userevents"]


def measure(trace: Path, parquet: Path, directory: Path) -> Iterator[Row]:
    """Yield ratios of `query` to its peer, then figures of what has no peer."""
    mine, peer = [], []
    for _ in range(ROUNDS):
        mine.append(spent([*_OURS, "query", str(trace), SQL.format("request")]))
        peer.append(spent([sys.executable, "-c", PEER, SQL.format(f"'{parquet}'")]))
    for what, place, goal in (("CPU", 0, GOAL), ("wall", 1, None)):
        ratios = [one[place] / other[place] for one, other in zip(mine, peer, strict=True)]
        best = min(one[place] for one in mine) / min(one[place] for one in peer)
        median, low, high = statistics.median(ratios), min(ratios), max(ratios)
        yield Row(f"query: p99 by path, {what}", PEER_NAME, best, median, low, high, goal)
    yield from figures("query: p99 by path", mine)
    yield from figures(PEER_NAME, peer)
    yield from figures("html", [spent([*_OURS, "html", "-q", "-o", str(directory / "t.html"), str(trace)])])
    yield from figures("hist --key path", [spent([*_OURS, "hist", str(trace), "request", "--key", "path"])])
    counted = "SELECT event, count(*) FROM events GROUP BY event"
    yield from figures("query: count by event", [spent([*_OURS, "query", str(trace), counted])])


def figures(case: str, runs: list[Spent]) -> Iterator[Row]:
    """Yield the CPU time and the peak of memory."""
    for place, unit in ((0, "s CPU"), (2, "MiB peak")):
        values = [each[place] for each in runs]
        yield Row(case, "", min(values), statistics.median(values), min(values), max(values), unit=unit)


if __name__ == "__main__":
    main()
