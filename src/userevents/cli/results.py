"""Rows of a query, written as a table for people, as CSV, as JSON lines, or as Parquet."""

import contextlib
import csv
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import IO, Any

from ..fields.escape import escape
from ..formats.output import OutputFile
from ..formats.sql import Database, Result
from ..formats.sql_text import as_json, json_line
from .console import say

_CELL_MAX = 200


def write_result(database: Database, sql: str, form: str, output: str | None, limit: int) -> None:
    """Run the SQL and write what its last statement gives; a table shows `limit` rows (0: all)."""
    if form == "parquet":
        assert output is not None
        with OutputFile(output) as file:
            database.write_parquet(sql, file.temporary)
        return
    result = database.query(sql)
    with _text_file(output) as out:
        if form == "csv":
            _write_csv(result, out)
        elif form == "json":
            for row in result.rows:
                out.write(json_line(result.names, row, result.types) + "\n")
        else:
            write_table(result, out, limit)


@contextlib.contextmanager
def _text_file(output: str | None) -> Iterator[IO[str]]:
    """Stdout, or a file that appears whole or not at all."""
    if output is None:
        yield sys.stdout
        return
    with OutputFile(output) as file, open(file.temporary, "w", encoding="utf-8", newline="") as out:
        yield out


def _write_csv(result: Result, out: IO[str]) -> None:
    """As RFC 4180 has it; null is an empty cell, bytes are hex."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(result.names)
    for row in result.rows:
        writer.writerow([_cell(value) for value in row])


def _cell(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | dict | tuple):
        import json

        return json.dumps(as_json(value), separators=(",", ":"))
    return "" if value is None else value


def write_table(result: Result, out: IO[str], limit: int) -> None:
    """Write rows in columns as wide as they need to be, numbers to the right; what is not printable is escaped."""
    rows = list(islice(result.rows, min(limit + 1, sys.maxsize) if limit else None))
    more = bool(limit) and len(rows) > limit
    rows = rows[:limit] if more else rows
    heads = [escape(name) for name in result.names]
    cells = [[_shown(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    numbers = [all(_is_number(row[place]) for row in rows) for place in range(len(heads))]
    for line in [heads, *cells]:
        out.write(_line(line, widths, numbers) + "\n")
    if more:
        out.flush()
        say(f"the first {limit:,} rows; -n 0 shows all, --format csv or json writes them as they come")


def _line(cells: Sequence[str], widths: Sequence[int], numbers: Sequence[bool]) -> str:
    padded = [
        cell.rjust(width) if is_number else cell.ljust(width)
        for cell, width, is_number in zip(cells, widths, numbers, strict=True)
    ]
    return "  ".join(padded).rstrip()


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float | Decimal) and not isinstance(value, bool))


def _shown(value: object) -> str:
    """A value for people; long ones are cut, which the sign at their end says."""
    if value is None:
        return "-"
    text = value.hex() if isinstance(value, bytes) else escape(str(value))
    return text if len(text) <= _CELL_MAX else text[: _CELL_MAX - 1] + "…"
