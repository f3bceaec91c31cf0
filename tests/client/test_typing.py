"""The type checkers find wrong calls of an event: mypy and pyright, on real files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import userevents

GOOD = """
from userevents import char16, context, event, from_context, register, s64, u32

@event
def request(id: u32, latency_ns: s64, method: char16, path: str) -> None:
    "One HTTP request."

@event(prefix="shop", persist=True)
def order(number: int, total: float, paid: bool, blob: bytes = b"") -> None: ...

request(1, 250_000, "GET", path="/x")
if request:
    request(id=2, latency_ns=3, method="GET", path="/")
order(1, 2.5, True)
order.write(1, 2.5, True, blob=b"x")
raw = register("raw u32 a")
raw(1)

@event
def query(sql: str, request_id: u32 = from_context()) -> None: ...

with context(request_id=7, user="x"):
    query("SELECT 1")
    query("SELECT 1", request_id=8)
"""

WRONG = {
    "a wrong type": 'request("one", 250_000, "GET", "/x")',
    "a missing argument": 'request(1, 250_000, "GET")',
    "an argument too many": 'request(1, 250_000, "GET", "/x", 5)',
    "an unknown keyword": 'request(1, 250_000, "GET", "/x", colour=1)',
    "a wrong type for a bound field": 'query("SELECT 1", request_id="eight")',
    "a wrong type in an event with options": 'order(1, "much", True)',
}


def check(tool: str, file: Path) -> subprocess.CompletedProcess[str]:
    """Run a checker on a file."""
    command = [sys.executable, "-m", "mypy", "--strict"] if tool == "mypy" else [shutil.which(tool) or _beside(tool)]
    env = {**os.environ, "MYPYPATH": "", "PYTHONPATH": ""}
    return subprocess.run([*command, str(file)], capture_output=True, text=True, check=False, cwd=file.parent, env=env)


def _beside(tool: str) -> str:
    return str(Path(sys.executable).parent / tool)


@pytest.mark.parametrize("tool", ["mypy", "basedpyright"])
def test_right_calls_pass_and_each_wrong_call_is_found(tool: str, tmp_path: Path) -> None:
    """One run over the right calls finds nothing; over the wrong ones, an error on every one of them."""
    if tool != "mypy" and not (shutil.which(tool) or os.path.exists(_beside(tool))):
        pytest.fail(f"{tool} is not installed: ./dev setup installs it")
    package = str(Path(userevents.__file__).parents[1])
    settings = {"typeCheckingMode": "standard", "extraPaths": [package]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    good = tmp_path / "good.py"
    good.write_text(GOOD)
    assert check(tool, good).returncode == 0, check(tool, good).stdout
    wrong = tmp_path / "wrong.py"
    wrong.write_text(GOOD + "".join(f"{call}\n" for call in WRONG.values()))
    said = check(tool, wrong).stdout
    first = GOOD.count("\n") + 1
    for number, (mistake, call) in enumerate(WRONG.items(), first):
        assert f"wrong.py:{number}:" in said, f"{tool} did not find {mistake} ({call}):\n{said}"
