"""What an event costs, in instructions: the one measure of speed that other work on the machine does not change."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import require, require_native

_FILE = Path(__file__).resolve().parents[2] / "bench" / "instructions.py"


@pytest.fixture
def bench() -> ModuleType:
    """bench/instructions.py."""
    spec = importlib.util.spec_from_file_location("bench_instructions", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the budget is that of CPython 3.11")
@pytest.mark.time_limit(300)
@pytest.mark.parametrize("pure", [False, True], ids=["native", "pure"])
def test_an_event_stays_within_its_budget_of_instructions(bench: ModuleType, pure: bool) -> None:
    """./dev bench instructions --write sets a new budget; that is a decision, and stands in the commit."""
    require("valgrind")
    require("gcc")
    if not pure:
        require_native()
    assert bench.excess(bench.measure(makes=(pure,))) == []
