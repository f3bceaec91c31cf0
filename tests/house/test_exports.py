"""What each room shows: `__all__` is sorted, complete and true."""

import ast
import builtins
import importlib
import re
from pathlib import Path

import pytest

from tests.house.sources import PACKAGE, room, short, tree

FRONTS = sorted(PACKAGE.glob("__init__.py")) + sorted(PACKAGE.glob("*/__init__.py"))


def _declared(path: Path) -> list[str] | None:
    """Return the names in a front's `__all__`, None where it has none."""
    for node in tree(path).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            value = getattr(node, "value", None)
            assert isinstance(value, ast.List | ast.Tuple), f"{short(path)}: __all__ is not a plain list"
            return [ast.literal_eval(element) for element in value.elts]
    return None


def _bound(path: Path) -> set[str]:
    """Return the public names that a front imports from its room or defines itself, submodules left out."""
    names: set[str] = set()
    for node in tree(path).body:
        match node:
            case ast.ImportFrom(level=level, names=imported, module=module) if level > 0 and module:
                names |= {alias.asname or alias.name for alias in imported}
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case _:
                pass
    return {name for name in names if not name.startswith("_") and name != "TYPE_CHECKING"}


def _order(name: str) -> tuple[int, list[tuple[int, str]]]:
    """Sort as ruff sorts `__all__`: constants, classes, functions; numbers in names by their value (s8, s16)."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, [(int(part or 0), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


@pytest.mark.parametrize("path", FRONTS, ids=room)
def test_a_room_lists_what_it_shows_sorted_and_complete(path: Path) -> None:
    """`__all__` holds every public name of the room's front, in order; a front without names needs none.

    Not those of Python itself, which a ``from userevents import *`` must not hide.
    """
    declared = _declared(path)
    if declared is None:
        assert not _bound(path), f"{short(path)} has public names and no __all__"
        return
    assert declared == sorted(set(declared), key=_order)
    assert not set(declared) & set(dir(builtins))
    missing = _bound(path) - set(declared) - set(dir(builtins))
    assert not missing, f"{short(path)}: public and not in __all__: {', '.join(sorted(missing))}"


@pytest.mark.parametrize("path", FRONTS, ids=room)
def test_what_a_room_lists_can_be_imported(path: Path) -> None:
    """The room imports by itself, and every name in its `__all__` is there."""
    module = importlib.import_module(".".join(path.parent.relative_to(PACKAGE.parent).parts))
    absent = [name for name in _declared(path) or [] if not hasattr(module, name)]
    assert not absent, f"{short(path)}: in __all__ and not there: {', '.join(absent)}"
