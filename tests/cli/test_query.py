"""`userevents query`: every record in its table, in every form, hostile names, and no way to the machine's files."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.formats.maker import Maker
from userevents.cli.complete import complete_sql
from userevents.cli.query import query
from userevents.formats import open_trace
from userevents.formats.sql_text import table_names

duckdb = pytest.importorskip("duckdb", reason="duckdb comes with ./dev setup")

EVENTS = {
    20: "request u32 id; s64 total; __rel_loc char[] path; struct f64 took 8; struct raw raw 3",
    21: "Request u64 big",
    22: "tick.0 u32 a; u32 A; u32 order",
    23: "events u32 a",
    24: 'odd" u8 a',
    30: "begin u32 id; __rel_loc char[] path",
    31: "end u32 id; s32 status",
}
EVIL = "<b>\x1b[31m'\"\u202e\n</script>"


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """Return a trace of two processes, with losses, and spans that interleave."""
    maker = Maker()
    one, two = maker.session(100, "server", EVENTS), maker.session(200, EVIL[:7], EVENTS)
    for number in range(100):
        now = 10**9 + number * 1000
        one.add_values(now, 20, number, -number, f"/{number % 4}{EVIL}", number / 4, b"\0\xff<")
        two.add_values(now + 1, 21, 2**64 - 1 - number)
        one.add_values(now + 2, 22, number, 2 * number, 3)
        one.add_values(now + 3, 30, number, f"/{number % 2}", cpu=1)
        if number:
            one.add_values(now + 4, 31, number - 1, -number, cpu=0)
    two.add_values(10**9 + 200_005, 23, 7)
    two.add_values(10**9 + 200_006, 24, 1)
    one.close(drops={20: {"ring_full": 3}}, missed=2, committed=sum(one.counts.values()) + 2)
    two.close()
    path = tmp_path / "t.dat"
    maker.trace(path)
    return str(path)


def run(*arguments: str, text: str | None = None) -> Result:
    """Run the verb."""
    return CliRunner().invoke(query, arguments, input=text)


def rows(*arguments: str) -> list[dict[str, Any]]:
    """Return what the verb writes as JSON."""
    done = run("--format", "json", *arguments)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_record_is_in_the_table_of_its_event(trace: str) -> None:
    """With exact values, in time order, and the same once more in `events`."""
    with open_trace(trace) as opened:
        records = list(opened.records())
        names = table_names(opened.events.values())
    for event in {record.event for record in records}:
        wanted = [
            [each.ts_ns, each.cpu, each.pid, each.tid, *each.values.values()]
            for each in records
            if each.event.id == event.id
        ]
        table = '"' + names[event.id].replace('"', '""') + '"'
        found = [list(row.values()) for row in rows(trace, f"FROM {table}")]
        assert found == [[{"hex": v.hex()} if isinstance(v, bytes) else v for v in row] for row in wanted]
    every = rows(trace, "SELECT * FROM events ORDER BY ts_ns")
    assert [(row["ts_ns"], row["event"], row["pid"]) for row in every] == [
        (each.ts_ns, each.event.name, each.pid) for each in records
    ]
    assert next(row["fields"]["big"] for row in every if row["event"] == "Request") == 2**64 - 1
    assert every[0]["fields"]["path"] == f"/0{EVIL}"
    assert every[0]["process"] == "server"


def test_names_that_are_taken_or_no_identifiers_are_found_all_the_same(trace: str) -> None:
    """By quotes, by a number where only the case differs or the name is ours; --tables shows how to write them."""
    out = run(trace).stdout
    heads = [line for line in out.splitlines() if not line.startswith(" ")]
    for head in ("request  100 rows", '"tick.0"  100 rows', '"odd"""  1 row', "events_2  1 row", "Request_2  100 rows"):
        assert any(line.startswith(head) for line in heads), (head, heads)
    (row,) = rows(trace, 'SELECT sum(a) AS a, sum("A_1") AS big, max("order") AS o FROM "tick.0"')
    assert row == {"a": 4950, "big": 9900, "o": 3}
    assert rows(trace, "SELECT a FROM events_2") == [{"a": 7}]
    described = [json.loads(line) for line in run(trace, "--tables", "--format", "json").stdout.splitlines()]
    assert {table["name"]: table["rows"] for table in described}["events"] == 501


def test_joins_percentiles_and_asof_work(trace: str) -> None:
    """Across tables, also by time."""
    (row,) = rows(trace, "SELECT quantile_disc(total, 0.5) AS half, count(*) AS n FROM request")
    assert row == {"half": -50, "n": 100}
    (row,) = rows(trace, 'SELECT count(*) AS n FROM request ASOF JOIN "tick.0" t ON request.ts_ns >= t.ts_ns')
    assert row == {"n": 99}
    (row,) = rows(trace, "SELECT count(*) AS n, any_value(process) AS p FROM request JOIN processes USING (pid)")
    assert row == {"n": 100, "p": "server"}


def test_spans_have_their_latency_and_the_fields_of_both_ends(trace: str) -> None:
    """--pair makes the table; a begin without an end is not in it."""
    pair = ("--pair", "begin:end:id")
    found = rows(*pair, trace, "FROM spans ORDER BY begin_ns")
    assert len(found) == 99
    assert {row["latency_ns"] for row in found} == {1001}
    assert found[0] | {"fields": 0} == {
        "span": "begin-end", "key": "0", "begin_ns": 1000000003, "end_ns": 1000001004, "latency_ns": 1001, "pid": 100,
        "process": "server", "tid": 100, "cpu": 1, "end_tid": 100, "end_cpu": 0, "fields": 0,
    }  # fmt: skip
    (row,) = rows(*pair, trace, "SELECT count(*) AS n FROM spans WHERE fields->>'path' = '/1'")
    assert row == {"n": 49}
    refused = run("--pair", "begin:end:nope", trace, "FROM spans")
    assert (refused.exit_code, "has no field 'nope'" in refused.stderr) == (1, True)
    assert run("--pair", "begin", trace, "FROM spans").exit_code == 2


def test_what_was_lost_is_said_first_and_can_be_queried(trace: str) -> None:
    """Who lost what, and why."""
    done = run(trace, "SELECT process, event, what, reason, records FROM losses ORDER BY ALL")
    assert "5 records were lost: 3 ring full, 2 missed" in done.stderr
    assert [line.split() for line in done.stdout.splitlines()[1:]] == [
        ["server", "request", "dropped", "ring_full", "3"],
        ["server", "-", "missed", "-", "2"],
    ]


def test_a_table_shows_nothing_that_steers_the_terminal(trace: str) -> None:
    """Control characters are escaped, in values and in the names of columns; long tables are cut, which is said."""
    assert run(trace, "SELECT 1 AS one", "-n", str(10**30)).stdout.split() == ["one", "1"]
    done = run(trace, 'SELECT path AS "a\x1b" FROM request', "-n", "3")
    assert done.stdout.splitlines()[:2] == ["a\\e", "/0<b>\\e[31m'\"\\u202e\\n</script>"]
    assert len(done.stdout.splitlines()) == 4
    assert "the first 3 rows" in done.stderr
    assert "\x1b" not in run(trace, "FROM \x1b[31mx").output


def test_csv_json_and_parquet_are_read_back_by_others(trace: str, tmp_path: Path) -> None:
    """The same rows in each; files are private, and appear whole or not at all."""
    sql = "SELECT id, total, path, took FROM request ORDER BY id; -- so"
    wanted = [(number, -number, f"/{number % 4}{EVIL}", number / 4) for number in range(100)]
    for ending in ("csv", "json", "parquet"):
        assert run(trace, sql, "-o", str(tmp_path / f"o.{ending}")).exit_code == 0
        assert os.stat(tmp_path / f"o.{ending}").st_mode & 0o777 == 0o600
    with open(tmp_path / "o.csv", newline="", encoding="utf-8") as file:
        head, *lines = csv.reader(file)
    assert head == ["id", "total", "path", "took"]
    assert [(int(a), int(b), c, float(d)) for a, b, c, d in lines] == wanted
    read = [json.loads(line) for line in (tmp_path / "o.json").read_text(encoding="utf-8").splitlines()]
    assert [tuple(row.values()) for row in read] == wanted
    assert duckdb.sql(f"FROM '{tmp_path}/o.parquet'").fetchall() == wanted
    failed = run(trace, "SELECT error('no')", "-o", str(tmp_path / "bad.csv"))
    assert failed.exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir() if "bad" in path.name) == []
    assert run(trace, sql, "--format", "parquet").exit_code == 2


@pytest.mark.parametrize(
    "sql",
    [
        "FROM read_text('{file}')",
        "FROM '{file}'",
        "COPY (SELECT 1) TO '{file}.out'",
        "ATTACH '{file}.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "EXPORT DATABASE '{file}.dir'",
        "FROM trace",
        "SET allowed_paths = ['{file}']; FROM read_text('{file}')",
    ],
)
def test_sql_reaches_no_file_of_the_machine(trace: str, tmp_path: Path, sql: str) -> None:
    """Nor variables of this program; the error says so, and no file comes about."""
    before = set(tmp_path.iterdir())
    secret = tmp_path / "secret.csv"
    secret.write_text("secret\n", encoding="utf-8")
    done = run(trace, sql.format(file=secret))
    assert (done.exit_code, "secret\n" in done.stdout) == (1, False)
    parquet = run(trace, sql.format(file=secret), "-o", str(tmp_path / "out.parquet"))
    assert parquet.exit_code == 1
    assert set(tmp_path.iterdir()) - before == {secret}


def test_files_can_be_allowed(trace: str, tmp_path: Path) -> None:
    """To join a trace with what else one knows."""
    known = tmp_path / "known.csv"
    known.write_text("id,owner\n7,ann\n", encoding="utf-8")
    sql = f"SELECT owner FROM request JOIN '{known}' USING (id)"
    assert rows("--allow-files", trace, sql) == [{"owner": "ann"}]


def test_an_error_says_where_and_which_tables_there_are(trace: str) -> None:
    """In DuckDB's words, with the place; exit code 1."""
    done = run(trace, "SELECT *\nFROM reqest")
    assert done.exit_code == 1
    for told in ("reqest does not exist", 'There are: "odd', "request", "LINE 2: FROM reqest", "^"):
        assert told.replace('There are: "odd', "There are: ") in done.stderr
    assert "LINE 1" in run(trace, "SELEC 1").stderr
    assert run(trace, "").exit_code == 1
    assert run("nowhere.dat", "SELECT 1").exit_code == 1
    assert rows(trace, "CREATE TABLE x AS SELECT 1 AS a; SELECT a FROM x") == [{"a": 1}]


def test_counts_are_those_of_trace_cmd(trace: str, trace_cmd: str) -> None:
    """As many records of each event as the stock tool shows lines, and as the ledger says were delivered."""
    shown = subprocess.run([trace_cmd, "report", trace], capture_output=True, text=True, check=True).stdout
    for event, table in (("begin", '"begin"'), ("end", '"end"'), ("tick_0", '"tick.0"')):
        lines = [line for line in shown.splitlines() if f" {event}: " in line]
        assert rows(trace, f"SELECT count(*) AS n FROM {table}") == [{"n": len(lines)}]
    with open_trace(trace) as opened:
        assert opened.ledger is not None
        delivered = opened.ledger.total("delivered")
    assert rows(trace, "SELECT count(*) AS n FROM events") == [{"n": delivered}]


def test_the_shell_completes_tables_and_columns(trace: str) -> None:
    """The last word of the SQL typed so far; names that need quotes come with them."""
    context = click.Context(query)
    context.params["file"] = trace
    parameter = query.params[-1]
    assert complete_sql(context, parameter, "SELECT * FROM req") == ["SELECT * FROM request"]
    assert complete_sql(context, parameter, "tot") == ["total"]
    assert complete_sql(context, parameter, 'FROM "tick') == ['FROM "tick.0"']
    context.params["file"] = "nowhere"
    assert complete_sql(context, parameter, "to") == []


def test_a_result_never_takes_the_place_of_its_trace(trace: str) -> None:
    """Naming it twice would lose what it holds."""
    before = Path(trace).read_bytes()
    done = run(trace, "SELECT 1", "-o", trace, "--format", "csv")
    assert (done.exit_code, "is the trace itself" in done.stderr) == (2, True)
    assert Path(trace).read_bytes() == before


def test_sql_comes_from_stdin_too(trace: str) -> None:
    """`-` stands for it."""
    assert run("--format", "csv", trace, "-", text="SELECT count(*) AS n\nFROM request").stdout == "n\n100\n"


def test_without_duckdb_it_says_what_to_install(trace: str) -> None:
    """And a reader that goes away is no error to tell of."""
    program = (
        "import sys; sys.modules['duckdb'] = None\n"
        "from userevents.cli import main; main(['query', sys.argv[1], 'SELECT 1'])"
    )
    done = subprocess.run([sys.executable, "-c", program, trace], capture_output=True, text=True, check=False)
    assert (done.returncode, "pip install 'userevents[sql]'" in done.stderr) == (1, True)
    piped = f"'{sys.executable}' -m userevents query '{trace}' --format csv 'FROM request, request b' | head -n 1"
    done = subprocess.run(["sh", "-c", piped], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("ts_ns,")
    assert "Traceback" not in done.stderr


def test_a_damaged_file_gives_what_it_has_and_says_so(trace: str, tmp_path: Path) -> None:
    """The rows before the damage, and a note."""
    data = bytearray(Path(trace).read_bytes())
    found = data.find(b"/3<b>")
    data[found - 60 : found] = b"\xff" * 60
    broken = tmp_path / "broken.dat"
    broken.write_bytes(data)
    done = run(str(broken), "SELECT count(*) AS n FROM request", "--format", "csv")
    assert done.exit_code == 0
    assert 0 < int(done.stdout.split()[1]) < 100
    assert "damaged" in done.stderr
    again = run(str(broken), "SELECT count(*) FROM request a JOIN request b USING (id)", "--format", "csv")
    assert again.stderr.count("damaged") == done.stderr.count("damaged")  # read twice, said once
