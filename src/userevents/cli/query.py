"""`userevents query`: a trace as SQL tables."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from .complete import complete_sql
from .options import file_argument
from .spans import pair_option

if TYPE_CHECKING:
    from ..formats import Trace
    from ..formats.pairs import Pair
    from ..formats.sql import Database

_ROWS_SHOWN = 1000


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    help="How rows are written; of -o FILE, its ending says [table].",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write to FILE (mode 0600).")
@click.option("-n", "limit", type=click.IntRange(0), help=f"Rows shown in a table, 0: all [{_ROWS_SHOWN}].")
@pair_option
@click.option("--tables", is_flag=True, help="Show which tables and columns there are, and run nothing.")
@click.option("--allow-files", is_flag=True, help="Let the SQL read and write files, and load extensions.")
@file_argument
@click.argument("sql", required=False, shell_complete=complete_sql)
def query(
    form: str | None,
    output: str | None,
    limit: int | None,
    pairs: "tuple[Pair, ...]",
    tables: bool,
    allow_files: bool,
    file: str,
    sql: str | None,
) -> None:
    """Ask the trace FILE in SQL (DuckDB); '-' reads the SQL from stdin. Without SQL: which tables there are.

    Each event is a table: ts_ns, cpu, pid, tid, and its fields. Besides: events (all of them, with the process and
    the fields as JSON), processes, losses, and with --pair spans.

    \b
    userevents query trace.dat
    userevents query trace.dat 'SELECT path, count(*), quantile_cont(latency_ns, 0.99) FROM request GROUP BY path'
    userevents query trace.dat --pair request_begin:request_end:id 'SELECT max(latency_ns) FROM spans'
    """
    from .memory import kept_memory
    from .opening import check_output, opened
    from .results import write_result

    form = form or _form_of(output)
    if form == "parquet" and not output:
        raise click.UsageError("Parquet is no text: name the file to write with -o FILE")
    if output:
        check_output(file, output, is_named=True)
    if sql is not None:  # UTF-8, whatever the locale made of it
        sql = (sys.stdin.buffer.read() if sql == "-" else os.fsencode(sql)).decode("utf-8", "backslashreplace")
    is_plain = form != "parquet" and not allow_files
    with kept_memory(), opened(file, pairs) as trace, _database(trace, pairs, allow_files, is_plain) as database:
        if tables or sql is None:
            _show_tables(database, form)
            return
        write_result(database, sql, form, output, _ROWS_SHOWN if limit is None else limit)


def _form_of(output: str | None) -> str:
    """The format that a file's name says."""
    ending = output.rpartition(".")[2].lower() if output and "." in output else ""
    return {"csv": "csv", "json": "json", "jsonl": "json", "ndjson": "json", "parquet": "parquet"}.get(ending, "table")


@contextlib.contextmanager
def _database(trace: "Trace", pairs: "tuple[Pair, ...]", allow_files: bool, is_plain: bool) -> "Iterator[Database]":
    """The trace's tables, and a line on the terminal while more than a second's worth is read."""
    from ..formats.sql import Database
    from .console import Progress
    from .duckdb_alone import duckdb_alone

    duckdb = duckdb_alone() if is_plain else None
    with Progress(lambda done: f"{done:,} records read") as progress:
        database = Database(trace, pairs, allow_files=allow_files, duckdb=duckdb, progress=progress.at)
        try:
            yield database
        finally:
            database.close()


def _show_tables(database: "Database", form: str) -> None:
    """Show every table, its rows and its columns."""
    import json

    from ..fields.escape import escape, printable
    from ..formats.sql_text import name_in_sql

    for table in database.tables():
        if form == "json":
            sys.stdout.write(json.dumps({**table._asdict(), "columns": dict(table.columns)}) + "\n")
            continue
        rows = "" if table.rows is None else f"  {table.rows:,} row{'' if table.rows == 1 else 's'}"
        about = f"  ({escape(table.about)})" if table.about else ""
        click.echo(f"{printable(name_in_sql(table.name))}{rows}{about}")
        for name, kind in table.columns:
            click.echo(f"    {printable(name_in_sql(name)):24} {printable(kind)}".rstrip())
