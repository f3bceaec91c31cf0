"""Exports as Parquet, as DuckDB reads them."""

from pathlib import Path
from typing import Any

import duckdb

from tests.formats.corpus import corpus, same
from tests.formats.kernel_trace import kernel_trace
from userevents.formats import open_trace
from userevents.formats.choice import Choice
from userevents.formats.columns import schema_of
from userevents.formats.export import export
from userevents.formats.model import Record
from userevents.formats.naming import Names
from userevents.formats.stock_text import stock_name

TYPES = {
    "c": "TINYINT",
    "C": "UTINYINT",
    "s": "SMALLINT",
    "S": "USMALLINT",
    "i": "INTEGER",
    "I": "UINTEGER",
    "l": "BIGINT",
    "L": "UBIGINT",
    "g": "DOUBLE",
    "u": "VARCHAR",
}


def sql(text: str) -> Any:
    """Return what DuckDB says."""
    return duckdb.sql(text)


def check_tables(directory: Path, records: list[Record]) -> None:
    """Compare each event's table with the records: values in order, and types as declared."""
    by_event: dict[int, list[Record]] = {}
    for record in records:
        by_event.setdefault(record.event.id, []).append(record)
    names, written = Names(), set()
    for _, group in sorted(by_event.items()):
        event = group[0].event
        name = stock_name(event.name, names)
        written.add(name)
        table = sql(f"select * from read_parquet('{directory / name}.parquet')")
        meant = [(r.ts_ns, r.cpu, r.pid, r.tid, *r.values.values()) for r in group]
        for found, wanted in zip(table.fetchall(), meant, strict=True):
            assert all(map(same, found, wanted)), (event, found, wanted)
        schema = schema_of(event)
        assert table.columns == [name for name, _, _ in schema]
        assert [str(each) for each in table.types] == [TYPES.get(format_, "BLOB") for _, format_, _ in schema]
    assert {path.stem for path in directory.glob("*.parquet")} == written


def test_every_event_is_a_table_of_its_declared_types(tmp_path: Path) -> None:
    """Random declarations and values, by DuckDB's own reader; losses are in the metadata."""
    records = corpus(tmp_path / "trace.dat", 60)
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        done = export(trace, "parquet", str(tmp_path / "x"))
    assert done.records == len(records)
    check_tables(tmp_path / "x", records)
    file = next((tmp_path / "x").glob("*.parquet"))
    ((text,),) = sql(f"select value from parquet_kv_metadata('{file}') where key = 'userevents'").fetchall()
    assert b"12 records were lost: 12 ring full" in text
    assert "12 records were lost" in (tmp_path / "x" / "metadata.json").read_text()


def test_pages_of_a_real_kernel_become_tables(tmp_path: Path) -> None:
    """Pages recorded on Linux 6.12, two events of one name among them."""
    kernel_trace(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        records = list(trace.records())
        export(trace, "parquet", str(tmp_path / "x"))
    check_tables(tmp_path / "x", records)


def test_a_choice_of_processes_holds_in_every_table(tmp_path: Path) -> None:
    """Only the rows asked for, and no table for an event that was not."""
    records = corpus(tmp_path / "trace.dat", 20)
    pid = records[0].pid
    assert pid is not None
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        done = export(trace, "parquet", str(tmp_path / "x"), choice=Choice(pids=frozenset([pid])))
    found: list[Any] = [
        sql(f"select distinct pid from read_parquet('{path}')").fetchall()
        for path in (tmp_path / "x").glob("*.parquet")
    ]
    assert {row for rows in found for row in rows} == {(pid,)}
    assert done.records == sum(record.pid == pid for record in records)
