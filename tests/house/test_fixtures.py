"""The fixtures of tests/conftest.py keep their promises: shown on small test files, run by a pytest of their own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.house.sources import ROOT


def _pytest(tmp_path: Path, text: str) -> tuple[dict[str, str], str]:
    """Run a test file with tests/conftest.py; return what came of each test, and all that was printed."""
    (tmp_path / "test_it.py").write_text(text, encoding="utf-8")
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), "-p", "tests.conftest"]
    settings += ["-v", "-o", "pythonpath=", "-o", f"cache_dir={tmp_path}/cache"]
    command = [sys.executable, "-P", "-m", "pytest", *settings, str(tmp_path)]
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", "USEREVENTS_REQUIRE")}
    python = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=clean | python, capture_output=True, text=True)
    outcomes: dict[str, str] = {}
    for line in done.stdout.splitlines():
        place, _, rest = line.partition("::")
        if place.endswith("test_it.py") and rest.endswith("]"):
            name, outcome, *_ = rest.split()
            outcomes[name] = f"{outcomes[name]} {outcome}" if name in outcomes else outcome
    return outcomes, done.stdout


def test_a_test_that_hangs_fails_where_it_hangs_and_the_run_goes_on(tmp_path: Path) -> None:
    """The limit ends a wait even inside `except Exception`, in the test and in its teardown."""
    outcomes, output = _pytest(
        tmp_path,
        """
import pytest, time

@pytest.mark.time_limit(1)
def test_hangs():
    try:
        time.sleep(30)
    except Exception:
        pass

@pytest.fixture
def slow_to_leave():
    yield
    time.sleep(30)

@pytest.mark.time_limit(1)
def test_hangs_afterwards(slow_to_leave):
    pass

def test_next():
    pass
""",
    )
    assert outcomes == {"test_hangs": "FAILED", "test_hangs_afterwards": "PASSED ERROR", "test_next": "PASSED"}
    assert "still running after 1 s" in output
    assert ">       time.sleep(30)" in output


def test_the_runtime_directory_is_private_and_looked_through_afterwards(tmp_path: Path) -> None:
    """It is 0700 and removed; a file left in it is an error, unless the test says why or failed anyway."""
    outcomes, output = _pytest(
        tmp_path,
        """
import os, pytest

def test_private(runtime_dir):
    assert os.environ["USEREVENTS_DIR"] == str(runtime_dir)
    assert runtime_dir.stat().st_mode & 0o777 == 0o700
    (runtime_dir / "rings").mkdir()
    (runtime_dir / "tracer.lock").touch()
    print("directory", runtime_dir)

def test_leaves_a_ring(runtime_dir):
    (runtime_dir / "rings").mkdir()
    (runtime_dir / "rings" / "1-ab.1").touch()

@pytest.mark.leaves_files("on purpose")
def test_leaves_a_session(runtime_dir):
    (runtime_dir / "1-ab.session").touch()

def test_fails_first(runtime_dir):
    (runtime_dir / "1-ab.session").touch()
    assert False
""",
    )
    assert outcomes == {
        "test_private": "PASSED",
        "test_leaves_a_ring": "PASSED ERROR",
        "test_leaves_a_session": "PASSED",
        "test_fails_first": "FAILED",
    }
    assert "left behind in the runtime directory: rings/1-ab.1" in output


def test_a_missing_tool_skips_a_test_but_fails_it_where_it_was_promised(tmp_path: Path) -> None:
    """On somebody's machine the reason is shown; CI must not pass because it lacks its own tools."""
    outcomes, output = _pytest(
        tmp_path,
        """
from tests.conftest import require

def test_here():
    require("no-such-tool")

def test_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "true")
    require("no-such-tool")

def test_promised(monkeypatch):
    monkeypatch.setenv("USEREVENTS_REQUIRE", "babeltrace2,no-such-tool")
    require("no-such-tool")
""",
    )
    assert outcomes == {"test_here": "SKIPPED", "test_in_ci": "FAILED", "test_promised": "FAILED"}
    assert ": no-such-tool is not installed\n" in output, "the reason is shown"
    assert output.count("Failed: no-such-tool is not installed, and here it must be") == 2
