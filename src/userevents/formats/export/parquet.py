"""Parquet: a directory with a table for each event that was recorded, its columns of the declared types. By DuckDB.

Columns go to DuckDB as an Arrow stream, a few MiB at a time; it writes and compresses.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from ...errors import Unusable
from ..arrow import LazyColumns, PureChunk
from ..choice import Choice
from ..columns import schema_of
from ..model import Event
from ..naming import Names
from ..output import OutputDirectory
from ..sql_text import literal
from ..stock_text import stock_name
from .job import Job

_SETTINGS: Final = ("SET threads = 1", "SET memory_limit = '160MB'", "SET preserve_insertion_order = true")
_METADATA: Final = "metadata.json"
_ROW_GROUP: Final = 61440


def write(job: Job, directory: OutputDirectory) -> None:
    """Write each event's table, in time order, and what is to be said of the trace as JSON beside them."""
    try:
        import duckdb
    except ImportError:
        raise Unusable("Parquet is written by DuckDB, which is not installed: pip install 'userevents[sql]'") from None
    names = Names()
    with duckdb.connect() as connection:
        for setting in _SETTINGS:
            connection.execute(setting)
        for event in _recorded(job):
            _write_table(job, connection, event, directory.place(f"{stock_name(event.name, names)}.parquet"))
    directory.append(_METADATA, json.dumps(job.metadata(), indent=1).encode())
    job.size = directory.size()


def _recorded(job: Job) -> list[Event]:
    """Return the events asked for of which there are records, in the order of their ids."""
    counts = job.trace.counts()
    unknown = sum(number for event_id, number in counts.items() if event_id not in job.trace.events)
    if unknown:
        job.notes.append(f"{unknown:,} records of events that the trace does not describe are left out")
    return [
        event
        for event_id, event in sorted(job.trace.events.items())
        if counts.get(event_id) and job.choice.wants_event(event)
    ]


def _write_table(job: Job, connection: Any, event: Event, path: str) -> None:
    problems: list[BaseException] = []

    def chunks() -> Iterator[PureChunk]:
        return job.trace.chunks(event, job.watched)

    connection.register("rows_of_event", LazyColumns(schema_of(event, coded=True), chunks, failed=problems.append))
    metadata = json.dumps({"event": event.name, "system": event.system, "clock": job.trace.clock, "losses": job.losses})
    try:
        ((written,),) = connection.execute(
            f"copy (select * from rows_of_event {_where(job.choice)}) to {literal(path)} (format parquet, "
            f"compression zstd, row_group_size {_ROW_GROUP}, kv_metadata {{userevents: {literal(metadata)}}})"
        ).fetchall()
    except Exception:
        if problems:
            raise problems[0] from None
        raise
    finally:
        connection.unregister("rows_of_event")
    job.records += written


def _where(choice: Choice) -> str:
    pids = ", ".join(map(str, sorted(choice.pids)))
    return f"where pid in ({pids}) or tid in ({pids})" if pids else ""
