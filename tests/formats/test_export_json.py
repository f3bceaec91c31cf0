"""JSON lines: every record as it was, read back by Python's json and by DuckDB, also the pages of a real kernel."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.buffer import recorded
from tests.formats.corpus import corpus
from tests.formats.kernel_trace import kernel_trace
from userevents.formats import open_trace
from userevents.formats.export import export
from userevents.formats.model import Record
from userevents.formats.text import json_value

duckdb = pytest.importorskip("duckdb", reason="duckdb comes with ./dev setup")


def exported(source: Path, place: Path) -> tuple[list[Record], dict[str, Any], list[dict[str, Any]]]:
    """Return a trace's records, and the first and the other lines of its export."""
    with open_trace(str(source)) as trace:
        records = list(trace.records())
        done = export(trace, "json", str(place))
    assert done.records == len(records)
    first, *lines = place.read_bytes().split(b"\n")
    assert lines.pop() == b""
    return records, json.loads(first)["metadata"], [json.loads(line) for line in lines]


def as_line(record: Record) -> dict[str, Any]:
    """Return what a line is to say of a record."""
    return {
        "ts_ns": record.ts_ns, "cpu": record.cpu, "pid": record.pid, "tid": record.tid, "comm": record.comm,
        "system": record.event.system, "event": record.event.name,
        "fields": {key: json_value(value) for key, value in record.values.items()},
    }  # fmt: skip


def test_random_records_come_back_by_two_readers(tmp_path: Path) -> None:
    """Every type; control characters, empty texts, numbers up to 2^64-1 with every digit; bytes as hex."""
    written = corpus(tmp_path / "t.dat", 60)
    records, metadata, lines = exported(tmp_path / "t.dat", tmp_path / "t.json")
    assert len(records) == len(written)
    assert lines == [as_line(record) for record in records]
    assert metadata["losses"] == ["12 records were lost: 12 ring full"]
    columns = "{ts_ns: 'UBIGINT', cpu: 'INT', tid: 'INT', event: 'VARCHAR', fields: 'JSON'}"
    source = f"read_json('{tmp_path / 't.json'}', columns = {columns}, format = 'newline_delimited')"
    rows = duckdb.sql(f"FROM {source} WHERE event IS NOT NULL").fetchall()
    assert [row[:4] for row in rows] == [(each.ts_ns, each.cpu, each.tid, each.event.name) for each in records]
    assert [json.loads(row[4]) for row in rows] == [line["fields"] for line in lines]


def test_pages_of_a_real_kernel_become_lines(tmp_path: Path) -> None:
    """Pages recorded on Linux 6.12: its events, what it said of losses, and the bytes that were written."""
    kernel_trace(tmp_path / "k.dat")
    records, metadata, lines = exported(tmp_path / "k.dat", tmp_path / "k.json")
    assert lines == [as_line(record) for record in records]
    assert {line["cpu"] for line in lines} == set(range(len(recorded.NAMES)))
    assert {(line["pid"], line["system"]) for line in lines} == {(None, "user_events")}
    assert any("lost" in sentence for sentence in metadata["losses"])
    (scalars,) = (line for line in lines if line["cpu"] == recorded.NAMES.index("all_scalar_types"))
    found = json.loads((recorded.PAGES / "all_scalar_types.json").read_text(encoding="utf-8"))
    payload = bytes.fromhex(found["writes"][0]["iov"][0])[4:]
    wanted = struct.unpack_from("<bBhHiIqQ", payload)
    assert tuple(scalars["fields"].values())[:8] == wanted
    assert (scalars["fields"]["o"], scalars["fields"]["r"]) == ("abcd", "ok")
