"""A million events to Arrow columns, in a process of its own, beside pyarrow with the same rows: `read.py`.

`columns.py write TRACE DIRECTORY` puts the columns of both events there as Parquet and Arrow IPC, uncompressed.
`columns.py trace|parquet|ipc PLACE` reads them twice and prints the seconds that each time took, and their CPU seconds:
the first into memory that is fresh from the kernel, the second into what was given back just before.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

EVENTS = ("request", "tick")


def write(trace_path: str, directory: Path) -> None:
    """Write what the peers read."""
    import pyarrow
    import pyarrow.parquet

    from userevents.formats import open_trace

    with open_trace(trace_path) as trace:
        for event in EVENTS:
            table = pyarrow.table(trace.columns(event))
            pyarrow.parquet.write_table(table, directory / f"{event}.parquet", compression="none")
            with pyarrow.ipc.new_file(str(directory / f"{event}.ipc"), table.schema) as file:
                file.write_table(table)


def reader(kind: str, place: str) -> Callable[[], object]:
    """Return what reads both events' columns."""
    if kind == "trace":
        from userevents.formats import open_trace

        trace = open_trace(place)
        return lambda: [trace.columns(event) for event in EVENTS]
    import pyarrow
    import pyarrow.dataset  # which read_table would import while it is measured
    import pyarrow.parquet

    if kind == "parquet":
        return lambda: [pyarrow.parquet.read_table(f"{place}/{event}.parquet") for event in EVENTS]
    return lambda: [pyarrow.ipc.open_file(pyarrow.OSFile(f"{place}/{event}.ipc")).read_all() for event in EVENTS]


def main() -> None:
    """Do what the first argument says."""
    kind, place, *rest = sys.argv[1:]
    if kind == "write":
        write(place, Path(rest[0]))
        return
    read = reader(kind, place)
    for _ in range(2):
        start, cpu = time.perf_counter(), time.process_time()
        found = read()
        print(time.perf_counter() - start, time.process_time() - cpu)
        del found


if __name__ == "__main__":
    main()
