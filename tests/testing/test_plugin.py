"""The plugin in a pytest of its own, with xdist: reports, kept traces, and tests in parallel."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

import pytest

from userevents.formats import open_trace

TESTS: Final = """
import pytest
from userevents import event, u32

@event
def request(id: u32, path: str) -> None: ...

@pytest.mark.parametrize("number", range(4))
def test_in_parallel(user_events, number):
    for _ in range(100):
        request(number, "/")
    assert {record.id for record in user_events["request"]} == {number}
    assert user_events["request"].count == 100

def test_that_fails(user_events):
    for id in range(30):
        request(id, "/shop")
    assert user_events["request"].count == 31

def test_that_asks_for_nothing():
    request(77, "/unasked")
    assert False

@pytest.fixture
def broken(user_events):
    request(5, "/setup")
    raise ValueError

def test_whose_fixture_fails(broken): ...
"""


def _pytest(directory: Path, *options: str, code: int = 1) -> str:
    (directory / "test_shop.py").write_text(TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "userevents.testing.plugin", "-p", "no:cacheprovider", *options]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # others take long to load
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout or done.stderr


def test_pytest_finds_the_plugin_by_itself() -> None:
    """It is an entry point of the installed package."""
    assert "userevents.testing.plugin" in {each.value for each in entry_points(group="pytest11")}


def test_a_failed_test_shows_its_last_events_and_tests_run_in_parallel(tmp_path: Path) -> None:
    """The section is in the report, also through xdist; tests that run at once see nothing of each other."""
    said = _pytest(tmp_path, "-p", "xdist", "-n", "2")
    assert "4 passed" in said
    assert "... 10 earlier events" in said
    assert "request(id=29, path='/shop')" in said
    assert "request(id=9, " not in said
    assert "request(id=5, path='/setup')" in said
    assert "/unasked')" not in said


def test_a_test_file_is_not_taken_for_the_directory_of_traces(tmp_path: Path) -> None:
    """What follows the option is its value: the run ends before a test does, and says how to write it."""
    said = _pytest(tmp_path, "--userevents-record", "test_shop.py", code=pytest.ExitCode.USAGE_ERROR)
    assert "takes a directory, and 'test_shop.py' is none; write --userevents-record=DIR" in said


def test_traces_of_failing_tests_are_kept_under_their_names(tmp_path: Path) -> None:
    """With --userevents-record every test is recorded, and the report names the file."""
    said = _pytest(tmp_path, "--userevents-record=kept")
    files = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert files == [
        "test_shop.py.test_that_asks_for_nothing.trace.dat",
        "test_shop.py.test_that_fails.trace.dat",
        "test_shop.py.test_whose_fixture_fails.trace.dat",
    ]
    assert f"trace: kept/{files[0]}" in said
    with open_trace(str(tmp_path / "kept" / files[0])) as trace:
        assert [record.values for record in trace.records()] == [{"id": 77, "path": "/unasked"}]
