"""Columns: every record of an event, its values exact, taken by consumers of Arrow without a copy."""

import gc
import struct
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.buffer.made import needs_native
from tests.formats.maker import Maker
from tests.formats.test_rows import BODY, PAYLOAD, page_with
from tests.formats.test_text import EVENT
from userevents.buffer import merge as merging
from userevents.buffer.merge import PureMerge, interleave
from userevents.buffer.native import native
from userevents.buffer.run import PureRun, Run
from userevents.errors import Unusable
from userevents.fields import parse_fields
from userevents.fields.payload import readings
from userevents.formats import columns as module
from userevents.formats import open_trace
from userevents.formats.arrow import _given, _structures
from userevents.formats.columns import Columns, PureCollector, collect, schema_of
from userevents.formats.model import make_event

nanoarrow = pytest.importorskip("nanoarrow", reason="nanoarrow comes with ./dev setup")


def who(_tag: object, _cpu: int, tid: int, _ts_ns: int) -> tuple[int | None, bool]:
    """Give some threads a process."""
    return (tid + 1000 if tid % 3 else None), bool(tid % 2)


def rows_of(columns: Any) -> list[dict[str, Any]]:
    """Return what a consumer of Arrow reads."""
    return [row for chunk in columns.chunks for row in nanoarrow.Array(chunk).to_pylist()]


def collected(bodies: list[bytes], pure: bool, shift: int = 0, left_out: bytes = b"", coded: bool = False) -> Columns:
    """Return the columns of EVENT in a page of these records, in one form or the other."""
    data, ts_ns = page_with(bodies)
    merge: Any = PureMerge() if pure or native is None else native.Merge()
    merge.push((PureRun if pure or native is None else native.Run)(data, ts_ns, 5, "tag"))
    schema = schema_of(EVENT, coded=coded)
    collector: Any = (
        PureCollector(EVENT, schema, who, shift, left_out)
        if pure or native is None
        else native.Columns(EVENT.id, readings(EVENT.fields), schema, who, shift, left_out)
    )
    while (batch := merge.drain(None)) is not None:
        assert collector.add(batch) == len(batch)
    return Columns(EVENT, tuple(name for name, _, _ in schema), (collector.take(),))


@given(st.lists(BODY, max_size=30))
@settings(max_examples=60)
def test_columns_hold_what_the_records_hold(bodies: list[bytes]) -> None:
    """Every kind of field; what a record does not hold is null, text that is no UTF-8 as a report shows it."""
    data, ts_ns = page_with(bodies)
    wanted = [[time, 5, who(None, 5, row[0], 0)[0], row[0], *row[1]] for time, row in _decoded(data, ts_ns)]
    for pure, coded in product((True, False), repeat=2):
        found = [list(row.values()) for row in rows_of(collected(bodies, pure, coded=coded))]
        assert repr(found) == repr(wanted)


@given(st.lists(BODY, max_size=30), st.sets(st.integers(0, len(schema_of(EVENT)) - 1)))
@settings(max_examples=60)
def test_columns_that_are_left_out_are_null_and_the_others_as_ever(bodies: list[bytes], numbers: set[int]) -> None:
    """In both forms, each field and each common column."""
    left_out = bytes(number in numbers for number in range(len(schema_of(EVENT))))
    for pure, coded in product((True, False), repeat=2):
        wanted = [
            [None if is_left_out else value for value, is_left_out in zip(row.values(), left_out, strict=True)]
            for row in rows_of(collected(bodies, pure))
        ]
        found = [list(row.values()) for row in rows_of(collected(bodies, pure, left_out=left_out, coded=coded))]
        assert repr(found) == repr(wanted)


@pytest.mark.parametrize("pure", [True, pytest.param(False, marks=needs_native)])
def test_nobody_is_asked_for_processes_that_are_left_out(pure: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns are there, of every kind, and null."""
    if pure:
        monkeypatch.setattr(module, "native", None)
    event = make_event(22, "s", "one", parse_fields("u32 a; __rel_loc char[] text; struct s raw 5"))
    body = struct.pack("<HHiII5s", 22, 0, 7, 9, (4 << 16) + 5, b"12345") + b"abc\0" + bytes(3)

    def never(*_: object) -> tuple[int | None, bool]:
        raise AssertionError

    made: Any = native
    merge: Any = PureMerge() if pure else made.Merge()
    merge.push((PureRun if pure else made.Run)(*page_with([body] * 30)))
    batches = iter(lambda: merge.drain(None), None)
    (columns,) = module.collect_all([event], batches, never, needed={"a", "text"})
    row = {"ts_ns": None, "cpu": None, "pid": None, "tid": None, "a": 9, "text": "abc", "raw": None}
    assert rows_of(columns) == [row] * 30


def _decoded(data: bytes, ts_ns: int) -> list[tuple[int, tuple[int, tuple[Any, ...]]]]:
    from userevents.buffer.page import body_start, record_end
    from userevents.fields import decode

    run = Run(data, ts_ns)
    found = []
    for time, start in zip(run.times, run.starts, strict=True):
        body = data[body_start(data, start) : record_end(data, start)]
        event_id, _, tid = struct.unpack_from("<HHi", body)
        if event_id == EVENT.id:
            found.append((time, (tid, decode(EVENT.fields, body))))
    return found


def test_the_schema_says_sizes_and_signs() -> None:
    """Common columns first; names are unique; long arrays vary."""
    event = make_event(
        1, "s", "e", parse_fields("u8 cpu; s64 a; struct f64 b 8; char[4] c; struct s d 12; struct s e 300")
    )
    assert schema_of(event)[4:] == (
        ("cpu_2", "C", 1),
        ("a", "l", 8),
        ("b", "g", 8),
        ("c", "u", 0),
        ("d", "w:12", 12),
        ("e", "z", 0),
    )
    assert [name for name, _, _ in schema_of(event)[:4]] == ["ts_ns", "cpu", "pid", "tid"]


def _trace(tmp_path: Path, count: int = 5000) -> Path:
    maker = Maker()
    one = maker.session(7, "server", {20: "request u32 id; __rel_loc char[] path; struct f64 took 8", 21: "tick u8 n"})
    for number in range(count):
        one.add_values(1000 + number, 20, number, f"/x/{number % 10}", number / 8)
        one.add_values(1000 + number, 21, number % 100)
    one.close()
    path = tmp_path / "t.dat"
    maker.trace(path)
    return path


def test_a_trace_gives_an_event_as_columns(tmp_path: Path) -> None:
    """In time order, with the process of each record, in chunks if there are many."""
    with open_trace(str(_trace(tmp_path))) as trace:
        columns = trace.columns("request")
        assert columns.names == ("ts_ns", "cpu", "pid", "tid", "id", "path", "took")
        assert len(columns) == 5000
        rows = rows_of(columns)
        records = [record for record in trace.records() if record.event.name == "request"]
        assert [tuple(row.values()) for row in rows] == [
            (each.ts_ns, each.cpu, each.pid, each.tid, *each.values.values()) for each in records
        ]
        with pytest.raises(Unusable, match="no event 'nothing': it has request, tick"):
            trace.columns("nothing")
        assert len(trace.columns("user_events:tick")) == len(trace.columns(trace.events[21])) == 5000


def test_an_event_without_records_has_columns_without_rows(tmp_path: Path) -> None:
    """Its schema is there all the same."""
    maker = Maker()
    maker.session(1).close()
    path = tmp_path / "t.dat"
    maker.trace(path)
    with open_trace(str(path)) as trace:
        columns = trace.columns("tick")
    assert len(columns) == 0
    assert [field.name for field in nanoarrow.Schema(columns).fields] == ["ts_ns", "cpu", "pid", "tid", "a"]
    assert rows_of(columns) == []


def test_columns_are_read_by_sql_as_they_are(tmp_path: Path) -> None:
    """DuckDB takes them by the name of the variable, more than once, and after the trace is closed."""
    duckdb = pytest.importorskip("duckdb", reason="duckdb comes with ./dev setup")
    with open_trace(str(_trace(tmp_path))) as trace:
        columns = trace.columns("request")
    assert len(columns) == 5000
    for _ in range(2):
        found = duckdb.sql("select count(*), sum(id), min(path), max(took), any_value(pid) from columns").fetchall()
        assert found == [(5000, 12497500, "/x/0", 4999 / 8, 7)]


def test_pure_chunks_are_let_go_when_their_consumers_let_go() -> None:
    """Nothing is kept for capsules that nobody took, nor for what was taken and released."""
    before = len(_given), len(_structures)
    for _ in range(3):
        columns = collected([bytes([20, 0, 0, 0, 1, 0, 0, 0]) + bytes(100)] * 5, pure=True)
        taken = nanoarrow.ArrayStream(columns).read_all()
        columns.__arrow_c_stream__()
        columns.chunks[0].__arrow_c_array__()
        columns.__arrow_c_schema__()
        del columns, taken
    gc.collect()
    assert (len(_given), len(_structures)) == before


@needs_native
def test_a_batch_that_fills_a_chunk_goes_on_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """2^20 rows a chunk, none lost and none twice."""
    assert native is not None
    body = bytes([22, 0, 0, 0, 1, 0, 0, 0])
    event = make_event(22, "s", "none", ())
    page = page_with([body] * 255)
    runs = (Run(page[0], page[1] + 10**9 * number) for number in range(4200))
    columns = collect(event, interleave(runs), who)
    assert [len(chunk) for chunk in columns.chunks] == [1 << 20, 4200 * 255 - (1 << 20)]
    monkeypatch.setattr(module, "_ROWS_MAX", 100)
    monkeypatch.setattr(module, "native", None)
    collector = PureCollector(event, schema_of(event), who)
    merge = PureMerge()
    merge.push(PureRun(*page))
    batch = merge.drain(None)
    assert batch is not None
    assert collector.add(batch) == 100
    assert len(collector.take()) == 100
    assert collector.add(batch, 100) == 200
    assert merging.MAX_OPEN


@needs_native
def test_records_whose_process_cannot_be_told_leave_nothing_behind() -> None:
    """A callback that raises ends the adding, with the columns as they were: what comes then stands in its row."""
    made: Any = native
    event = make_event(22, "s", "one", parse_fields("u32 a; __rel_loc char[] text"))

    def fails(_tag: object, _cpu: int, tid: int, _ts_ns: int) -> tuple[int | None, bool]:
        if tid == 7:
            raise LookupError(tid)
        return (None if tid == 5 else tid), False

    def batch_of(tids: list[int]) -> Any:
        merge = made.Merge()
        bodies = [struct.pack("<HHiII", 22, 0, tid, tid, 4 << 16) + b"abc\0" for tid in tids]
        merge.push(made.Run(*page_with(bodies)))
        return merge.drain(None)

    collector = made.Columns(22, readings(event.fields), schema_of(event), fails)
    assert collector.add(batch_of([1, 5, 2])) == 3
    with pytest.raises(LookupError):
        collector.add(batch_of([3, 5, 7]))
    assert collector.add(batch_of([4, 5])) == 2
    found = Columns(event, (), (collector.take(),))
    assert [(row["pid"], row["tid"], row["a"], row["text"]) for row in rows_of(found)] == [
        (None if tid == 5 else tid, tid, tid, "abc") for tid in (1, 5, 2, 4, 5)
    ]


@needs_native
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=600))
@settings(max_examples=30)
def test_texts_of_any_bytes_and_lengths_are_those_of_the_twin(texts: list[bytes]) -> None:
    """Also more than are taken together, with bytes that grow when they are written out."""
    made: Any = native
    event = make_event(22, "s", "one", parse_fields("__rel_loc char[] text; u8 n"))
    pages = []
    for at in range(0, len(texts), 60):
        bodies = [
            struct.pack("<HHiIB", 22, 0, 1, len(text) << 16 | 1, number & 255) + text + bytes(-(13 + len(text)) % 4)
            for number, text in enumerate(texts[at : at + 60])
        ]
        pages.append(page_with(bodies))
    found = []
    for pure, coded in product((True, False), repeat=2):
        merge: Any = PureMerge() if pure else made.Merge()
        for number, (data, ts_ns) in enumerate(pages):
            merge.push((PureRun if pure else made.Run)(data, ts_ns + number * 10**9))
        schema = schema_of(event, coded=coded)
        collector: Any = PureCollector(event, schema, who)
        if not pure:
            collector = made.Columns(22, readings(event.fields), schema, who)
        while (batch := merge.drain(None)) is not None:
            assert collector.add(batch) == len(batch)
        found.append(rows_of(Columns(event, (), (collector.take(),))))
    assert all(each == found[0] for each in found)


@needs_native
@pytest.mark.parametrize("texts", [3, 700, 9000])
def test_a_dictionary_holds_each_text_once_unless_they_hardly_come_again(texts: int) -> None:
    """Few texts, as many as make the hash grow, and nearly as many as there are rows: the values are the same."""
    made: Any = native
    event = make_event(22, "s", "one", parse_fields("__rel_loc char[] text"))
    wanted = [f"/item/{number * 7919 % texts}" for number in range(9000)]
    merge = made.Merge()
    for at in range(0, len(wanted), 100):
        packed = [text.encode() + bytes(4 - len(text) % 4) for text in wanted[at : at + 100]]
        bodies = [struct.pack("<HHiI", 22, 0, 1, len(text) << 16) + text for text in packed]
        data, ts_ns = page_with(bodies)
        merge.push(made.Run(data, ts_ns + at * 10**6))
    collector = made.Columns(22, readings(event.fields), schema_of(event, coded=True), who)
    while (batch := merge.drain(None)) is not None:
        collector.add(batch)
    chunk = collector.take()
    assert [row["text"] for row in rows_of(Columns(event, (), (chunk,)))] == wanted
    found = nanoarrow.c_array(chunk).child(4).dictionary.length
    assert found == texts if texts < 9000 else 4000 < found <= 9000


@needs_native
@given(PAYLOAD)
def test_a_schema_that_does_not_go_with_its_fields_is_refused(payload: bytes) -> None:
    """The extension writes into columns of these widths: it believes nobody."""
    assert native is not None
    plan, schema = readings(EVENT.fields), schema_of(EVENT)
    wrong = [schema[1:], (*schema[:-1], ("x", "w:3", 3)), (("ts_ns", "l", 4), *schema[1:]), schema[:4]]
    wrong.append(tuple((name, "d:u", 4) if width else (name, kind, width) for name, kind, width in schema))
    for each in wrong:
        with pytest.raises(ValueError, match="does not go"):
            native.Columns(20, plan, each, who)
    for flags in (b"\1", bytes(len(schema) + 1)):
        with pytest.raises(ValueError, match="does not go"):
            native.Columns(20, plan, schema, who, 0, flags)
    with pytest.raises((TypeError, ValueError)):
        native.Columns(20, ((0, 8, 8 + len(payload) * 16 + 3, False),), schema[:5], who)
