"""Columns a statement needs: with these alone it gives what it gives with all, and what is not sure gets all."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.formats.maker import Maker
from userevents.formats import open_trace, sql
from userevents.formats.pairs import Pair
from userevents.formats.sql_columns import UNSURE, names_needed, needed_columns
from userevents.formats.trace import Trace

duckdb = pytest.importorskip("duckdb", reason="duckdb comes with ./dev setup")

EVENTS = {
    20: "request u32 id; s64 total; __rel_loc char[] path; struct f64 took 8; struct raw raw 3",
    21: 'tick.0 u32 a; u32 A; u32 order; u32 "x"',
    30: "begin u32 id; __rel_loc char[] path",
    31: "end u32 id; s32 status",
}


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trace]:
    """Return a trace with fields of several kinds, two of which differ by case alone."""
    maker = Maker()
    one = maker.session(100, "server", EVENTS)
    for number in range(50):
        now = 10**9 + number * 1000
        one.add_values(now, 20, number, -number, f"/{number % 4}", number / 4, bytes([number]) * 3)
        one.add_values(now + 2, 21, number, 2 * number, 3, 4)
        one.add_values(now + 3, 30, number, f"/{number % 2}")
        one.add_values(now + 4, 31, number, -number)
    one.close()
    path = tmp_path_factory.mktemp("columns") / "t.dat"
    maker.trace(path)
    with open_trace(str(path)) as opened:
        yield opened


def answered(trace: Trace, statement: str) -> tuple[Any, frozenset[str] | None]:
    """Return what a statement gives, and which columns were filled for it."""
    database = sql.Database(trace, [Pair.parse("begin:end:id")])
    try:
        result = database.query(statement)
        return (result.names, result.types, list(result.rows)), database._needed
    finally:
        database.close()


COMMON = {"ts_ns", "cpu", "pid", "tid"}
ALL = {*COMMON, "id", "total", "path", "took", "raw"}
CASES = [
    ("SELECT path, count(*), quantile_cont(total, 0.99) FROM request GROUP BY path ORDER BY 1", {"path", "total"}),
    ("SELECT count(*) FROM request", {"ts_ns"}),
    ("FROM request", ALL),
    ("SELECT * EXCLUDE (raw, path) FROM request WHERE path = '/1'", ALL - {"raw"}),
    ("SELECT * REPLACE (id + 1 AS id) FROM request WHERE 1 = 0", ALL),
    ("SELECT COLUMNS('^t') FROM request", {"ts_ns", "tid", "total", "took"}),
    ("SELECT COLUMNS(lambda c: c LIKE 'r%') FROM request", {"raw"}),
    ("SELECT request FROM request", ALL),
    ("SELECT r.path FROM (SELECT request AS r FROM request)", ALL),
    ("SELECT max(total) FROM request WHERE took > 3 AND path <> '/2'", {"total", "took", "path"}),
    ("SELECT id FROM request ORDER BY total LIMIT 3", {"id", "total"}),
    ("SELECT path, row_number() OVER (PARTITION BY path ORDER BY total) FROM request ORDER BY ALL", {"path", "total"}),
    ("SELECT DISTINCT ON (path) path, id FROM request ORDER BY path, id", {"path", "id"}),
    ("SELECT r.path, e.status FROM request r JOIN \"end\" e USING (id) ORDER BY ALL", {"path", "status", "id"}),
    ("SELECT a.path, b.id FROM request a JOIN request b ON a.id = -b.total ORDER BY ALL", {"path", "id", "total"}),
    (
        "SELECT r.took, b.path FROM request r ASOF JOIN \"end\" e ON r.ts_ns >= e.ts_ns JOIN begin b ON b.id = e.id "
        "ORDER BY ALL",
        {"took", "path", "ts_ns", "id"},
    ),
    (
        "SELECT r.took, e.status FROM request r ASOF JOIN \"end\" e ON r.ts_ns >= e.ts_ns ORDER BY ALL",
        {"took", "status", "ts_ns"},
    ),
    ("WITH a AS (FROM request) SELECT x.took FROM a x JOIN a USING (path) ORDER BY 1", {"took", "path"}),
    ("WITH a AS MATERIALIZED (FROM request) SELECT sum(took) FROM a", {"took"}),
    (
        "SELECT took FROM request r WHERE EXISTS (FROM \"end\" e WHERE e.status = r.total) ORDER BY 1",
        {"took", "status", "total"},
    ),
    ("SELECT (SELECT max(status) FROM \"end\" e WHERE e.id = r.id) FROM request r ORDER BY 1", {*ALL, "status"}),
    ("SELECT sum(total) FROM request WHERE id IN (SELECT id FROM begin WHERE path = '/1')", {"total", "id", "path"}),
    ("FROM (SELECT id FROM request UNION ALL BY NAME SELECT status FROM \"end\") ORDER BY ALL", {"id", "status"}),
    ("SELECT \"PATH\" FROM REQUEST ORDER BY 1", {"path"}),
    ("SELECT \"order\", \"A_1\" FROM \"tick.0\" ORDER BY ALL", None),
    ("SELECT event, count(*) FROM events GROUP BY event ORDER BY 1", {"event"}),
    ("SELECT fields->>'path', time FROM events WHERE event = 'request' ORDER BY ts_ns", {"fields", "ts_ns", "event"}),
    ("SELECT pid, process, cpu FROM events ORDER BY ALL", {"pid", "process", "cpu"}),
    ("SELECT e.tid, path FROM events e JOIN begin USING (ts_ns) ORDER BY ALL", {"tid", "path", "ts_ns"}),
    ("SELECT system FROM events LIMIT 1", {"system"}),
    ("SELECT span, key, latency_ns, fields FROM spans ORDER BY key", None),
    ("SELECT r.path, s.latency_ns FROM request r JOIN spans s ON s.key = r.id::VARCHAR ORDER BY ALL", None),
    ("SELECT process, sum(id) FROM request JOIN processes USING (pid) GROUP BY ALL", {"pid", "id"}),
    ("SUMMARIZE request", ALL),
    ("DESCRIBE request", None),
    ("PIVOT request ON path USING sum(total) GROUP BY tid", None),
    ("UNPIVOT (SELECT id, total FROM request) ON id, total", {"id", "total"}),
    ("CREATE TEMP TABLE x AS SELECT path FROM request; FROM x", None),
    ("CREATE TEMP VIEW v AS FROM request; SELECT id FROM v", None),
    ("SELECT id FROM query('FROM request')", None),
    ("SELECT id, random() < 2 FROM request", None),
    ("SELECT id FROM request -- the last words", {"id"}),
    ("SELECT id FROM request;", {"id"}),
    ("SELECT 1", set()),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "needed"), CASES)
def test_answers_are_those_of_all_columns(
    trace: Trace, statement: str, needed: set[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only the columns in use are filled, where that is sure."""
    found, filled = answered(trace, statement)
    monkeypatch.setattr(sql, "needed_columns", lambda *_: None)
    wanted, nothing = answered(trace, statement)
    assert nothing is None
    assert found == wanted
    assert filled == (None if needed is None else frozenset(needed))


def test_what_ran_before_may_give_words_another_meaning(trace: Trace) -> None:
    """A macro hides what its words call: after a statement that was not sure nothing is."""
    database = sql.Database(trace)
    list(database.query("SELECT id FROM request").rows)
    assert database._needed == frozenset({"id"})
    list(database.query("CREATE MACRO chosen() AS TABLE FROM query('SELECT id FROM request')").rows)
    assert len(list(database.query("FROM chosen()").rows)) == 50
    list(database.query("SELECT id FROM request").rows)
    assert database._needed is None
    database.close()
    database = sql.Database(trace, allow_files=True)
    list(database.query("SELECT id FROM request").rows)
    assert database._needed is None
    database.close()


def test_a_plan_leaves_no_setting_behind(trace: Trace) -> None:
    """Also after a statement that cannot be planned."""
    database = sql.Database(trace)
    database._connection.execute("SET disabled_optimizers = 'top_n'")
    for statement, sure in (("SELECT id FROM request", True), ("SELECT nothing FROM request", False)):
        assert (needed_columns(duckdb, database._connection, statement) is not None) == sure
        setting = "SELECT current_setting('disabled_optimizers')"
        assert database._connection.execute(setting).fetchall() == [("top_n",)]
    database.close()


def test_every_function_that_differs_by_the_call_is_known() -> None:
    """Of those that this DuckDB has; a name that only holds such a word is none."""
    with duckdb.connect() as connection:
        volatile = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability = 'VOLATILE'"
        names = [name for (name,) in connection.execute(volatile).fetchall()]
    assert names
    for name in [*names, "query", "query_table", "json_execute_serialized_sql"]:
        for call in (f"{name}()", f"{name.upper()} (1)", f'"{name}"(1)', f"{name}/**/()", f"'x'.{name}()"):
            assert UNSURE.search(f"SELECT {call} FROM request"), call
    assert not UNSURE.search('SELECT uuid, "random" FROM db_query JOIN query USING (error)')


def test_names_that_a_plan_may_write_otherwise_need_all() -> None:
    """Lines, blanks at the ends, names equal but for their case, and what no table has."""

    def needed(scanned: set[str], *tables: tuple[str, ...]) -> frozenset[str] | None:
        return names_needed([frozenset(scanned)], [tuple((name, "l", 8) for name in table) for table in tables])

    assert needed({"a"}, ("a", "b")) == frozenset({"a"})
    for odd in ("x\na", " a", "A", "", "b\u2028a"):
        assert needed({"a"}, ("a", odd)) is None
    assert needed({"c"}, ("a", "b")) is None
    assert needed({"a"}, ("a",), ("b",)) is None
    assert names_needed(None, []) is None
