"""Files and functions keep a size that one can read at a sitting, and say what they are for."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.house.sources import ROOT, short, tracked, tree

FILE_LIMIT: Final = 400
FUNCTION_LIMIT: Final = 60

# Debts. A number here may only fall, and goes away when it is below the limit.
LONGER_FILES: Final[dict[str, int]] = {}
LONGER_FUNCTIONS: Final[dict[str, int]] = {}

EMPTY_NAMES: Final = re.compile(r"test_?(\d+|basic|works?|ok|simple|misc|stuff)?$")


def _sources() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _ratchet(found: dict[str, int], limit: int, debts: dict[str, int]) -> list[str]:
    """Return what is over its limit or over its debt, and the debts that are larger than they need be."""
    problems = [f"{name}: {size} lines" for name, size in found.items() if size > debts.get(name, limit)]
    for name, debt in debts.items():
        size = found.get(name, 0)
        if size < debt:
            problems.append(
                f"{name}: the debt of {debt} lines is {'paid' if size <= limit else f'now {size}'}; lower it"
            )
    return problems


def test_every_source_file_says_what_lives_there() -> None:
    """Each Python file begins with a docstring."""
    silent = [short(path) for path in _sources() if path.stat().st_size and not ast.get_docstring(tree(path))]
    assert not silent, ", ".join(silent)


def test_no_source_file_grows_too_long() -> None:
    """A file is at most 400 lines, or not longer than the debt that is written down for it."""
    sizes = {short(path): len(path.read_bytes().splitlines()) for path in _sources()}
    assert _ratchet(sizes, FILE_LIMIT, LONGER_FILES) == []


def test_no_function_grows_too_long() -> None:
    """A function is at most 60 lines, or not longer than the debt that is written down for it."""
    sizes = {
        f"{short(path)}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in _sources()
        for function in _functions(path)
    }
    assert _ratchet(sizes, FUNCTION_LIMIT, LONGER_FUNCTIONS) == []


def test_every_test_has_a_sentence_for_a_name_and_for_a_docstring() -> None:
    """A test says what must hold: in its name, and in a docstring of one sentence."""
    problems = []
    for path in _sources():
        if not path.is_relative_to(ROOT / "tests") or not path.name.startswith("test_"):
            continue
        for test in _functions(path):
            if not test.name.startswith("test"):
                continue
            if not (ast.get_docstring(test) or "").strip().endswith("."):
                problems.append(f"{short(path)}:{test.lineno}: {test.name} has no docstring that is a sentence")
            if EMPTY_NAMES.fullmatch(test.name):
                problems.append(f"{short(path)}:{test.lineno}: the name {test.name} says nothing")
    assert not problems, "\n  ".join(["", *problems])


def test_the_ratchet_lets_a_debt_only_fall() -> None:
    """Over the limit, over a debt, and under a debt are each reported; exactly the debt is not."""
    assert _ratchet({"a": 401}, 400, {}) == ["a: 401 lines"]
    assert _ratchet({"a": 451}, 400, {"a": 450}) == ["a: 451 lines"]
    assert _ratchet({"a": 430}, 400, {"a": 450}) == ["a: the debt of 450 lines is now 430; lower it"]
    assert _ratchet({}, 400, {"a": 450}) == ["a: the debt of 450 lines is paid; lower it"]
    assert _ratchet({"a": 450}, 400, {"a": 450}) == []
