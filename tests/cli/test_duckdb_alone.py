"""A query without DuckDB's package: the same answers, and the package wherever it is not sure."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.formats.maker import Maker
from userevents.cli import duckdb_alone as module
from userevents.cli import main
from userevents.cli.duckdb_alone import duckdb_alone

duckdb = pytest.importorskip("duckdb", reason="duckdb comes with ./dev setup")
VALUES = (
    "SELECT id, path, took, raw, ts_ns::VARCHAR, 1.5::DECIMAL(4,2), '2020-01-01'::TIMESTAMP_NS, 2::HUGEINT, [1, 2], "
    "{'a': 1}, map([1], [2]), INTERVAL 1 DAY, TIME '12:00', DATE '2020-01-01', 'a'::BLOB, NULL, "
    "TIMESTAMPTZ '2020-01-01 00:00:00+00' FROM request JOIN processes USING (pid) "
    "WHERE path > '/1' AND id < 40 ORDER BY id"
)
SHOWN = (
    "import sys; from userevents.cli import main\n"
    "try: main(sys.argv[1:])\n"
    "finally: print('duckdb' in sys.modules, file=sys.stderr)"
)


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """Return a trace of an event with fields of several kinds."""
    maker = Maker()
    one = maker.session(
        100, "server", {20: "request u32 id; __rel_loc char[] path; struct f64 took 8; struct raw raw 3"}
    )
    for number in range(50):
        one.add_values(10**9 + number, 20, number, f"/{number % 4}", number / 4, bytes([number]) * 3)
    one.close()
    maker.trace(tmp_path / "t.dat")
    return str(tmp_path / "t.dat")


def test_a_query_answers_the_same_and_does_not_import_the_package(trace: str, tmp_path: Path) -> None:
    """Values of every kind, and an error, whose words are DuckDB's; Parquet is written with the package."""
    if not duckdb.__version__.startswith(module._TRIED):
        pytest.skip(f"DuckDB {duckdb.__version__} comes as its package makes it")
    for arguments in (["--format", "json", trace, VALUES], [trace, "SELECT nope FROM request"]):
        command = [sys.executable, "-c", SHOWN, "query", *arguments]
        alone = subprocess.run(command, capture_output=True, text=True, check=False)
        *said, is_imported = alone.stderr.splitlines()
        whole = CliRunner().invoke(main, ["query", *arguments])
        assert (alone.stdout, said, alone.returncode) == (whole.stdout, whole.stderr.splitlines(), whole.exit_code)
        assert is_imported == "False"
    output = str(tmp_path / "r.parquet")
    command = [sys.executable, "-c", SHOWN, "query", "-o", output, trace, "FROM request"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()[-1] == "True"
    assert duckdb.sql(f"SELECT count(*) FROM '{output}'").fetchall() == [(50,)]


def test_the_package_is_used_where_it_is_loaded_or_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not public is touched in one version only."""
    assert duckdb_alone() is None
    monkeypatch.delitem(sys.modules, "duckdb")
    monkeypatch.setattr(module, "_TRIED", "0.")
    assert duckdb_alone() is None
    monkeypatch.setattr(module, "_TRIED", "")
    monkeypatch.setattr(sys.modules["_duckdb"], "_set_arrow_sources", None)
    assert duckdb_alone() is None
