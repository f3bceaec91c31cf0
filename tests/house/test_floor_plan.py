"""The floor plan: imports only go down, the lower rooms do no I/O, and what runs in traced programs starts fast."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import rooms, sources
from tests.house.sources import PACKAGE, Import, imports, package_files, room, room_of_module, short


def _listed(problems: list[str]) -> str:
    return "\n  ".join(["", *problems])


def _neighbours(path: Path) -> list[tuple[str, Import]]:
    """Return the other rooms a file imports, each with the import."""
    found = [(room_of_module(one.module), one) for one in imports(path)]
    return [(name, one) for name, one in found if name is not None and name != room(path)]


def test_every_room_is_on_the_floor_plan() -> None:
    """A new package or module right under userevents is a decision: it goes into rooms.ALLOWED first."""
    unknown = {room(path) for path in package_files()} - set(rooms.ALLOWED)
    assert not unknown, f"not in tests/house/rooms.py: {', '.join(sorted(unknown))}"


def test_imports_only_go_down() -> None:
    """No room imports one that the floor plan does not allow it, in functions and for types included."""
    problems = [
        f"{short(path)}:{one.line}: {room(path)} imports {name} ({one.module})"
        for path in package_files()
        for name, one in _neighbours(path)
        if name not in rooms.ALLOWED.get(room(path), set())
    ]
    assert not problems, _listed(problems)


def test_rooms_do_not_import_each_other_in_a_circle() -> None:
    """Where the plan allows two rooms to import each other, only one of them does."""
    reached: dict[str, set[str]] = {}
    for path in package_files():
        reached.setdefault(room(path), set()).update(name for name, _ in _neighbours(path))
    remaining = dict(reached)
    while leaves := [name for name, below in remaining.items() if not below & set(remaining)]:
        for name in leaves:
            del remaining[name]
    assert not remaining, f"these rooms import each other in a circle: {', '.join(sorted(remaining))}"


def test_the_package_names_itself_only_by_relative_imports() -> None:
    """Traced programs may load the package under another name, so no file of it says ``import userevents``."""
    problems = [
        f"{short(path)}:{one.line}: {one.module}"
        for path in package_files()
        for one in imports(path)
        if one.module.partition(".")[0] == "userevents" and not one.relative
    ]
    assert not problems, _listed(problems)


def test_no_import_is_hidden_behind_a_computed_name() -> None:
    """Only the files of rooms.COMPUTED_IMPORTS look modules up by a computed name; elsewhere imports can be read."""
    problems = [
        f"{short(path)}:{one.line}"
        for path in package_files()
        for one in imports(path)
        if one.module == "(computed)" and short(path) not in rooms.COMPUTED_IMPORTS
    ]
    assert not problems, _listed(problems)


def test_the_lower_rooms_do_no_input_or_output() -> None:
    """From abi up to tracefs values go in and values come out: no module that opens, waits or tells the time."""
    problems = []
    for path in package_files():
        if room(path) not in rooms.WITHOUT_IO:
            continue
        for one in imports(path):
            if one.module.partition(".")[0] in rooms.IO_MODULES:
                problems.append(f"{short(path)}:{one.line}: imports {one.module}")
        for node in ast.walk(sources.tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in rooms.IO_BUILTINS:
                problems.append(f"{short(path)}:{node.lineno}: calls {node.func.id}()")
    assert not problems, _listed(problems)


def test_what_traced_programs_load_does_not_load_slow_modules() -> None:
    """Rooms that run inside traced programs import expensive modules only in the function that needs them."""
    problems = [
        f"{short(path)}:{one.line}: {one.module}"
        for path in package_files()
        if room(path) in rooms.IN_TRACED_PROGRAMS
        for one in imports(path)
        if one.runs_at_import and one.module.partition(".")[0] in rooms.SLOW_MODULES
    ]
    assert not problems, _listed(problems)


def test_importing_userevents_really_loads_no_slow_module() -> None:
    """The same rule seen from outside: beyond what typing loads itself, `import userevents` adds none of them."""
    if not (PACKAGE / "__init__.py").exists():
        pytest.skip("there is no front door yet")
    program = "import sys, typing; before = set(sys.modules); import userevents; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert not rooms.SLOW_MODULES & set(done.stdout.split())


def test_a_traced_program_loads_nothing_that_reads_traces() -> None:
    """`userevents.open` brings the room `formats` in when it is called, not before."""
    program = "import sys, userevents; print(*[name for name in sys.modules if name.startswith('userevents.')])"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[1] for name in done.stdout.split()}
    assert loaded & {"formats", "buffer", "host"} <= {"buffer"}
    assert "client" in loaded


def test_the_import_finder_sees_every_way_to_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports in functions, for types only and by name are found, each with its place and its time."""
    package = tmp_path / "userevents"
    (package / "client").mkdir(parents=True)
    (package / "host.py").touch()
    text = (
        "from typing import TYPE_CHECKING\n"
        "from .. import host\n"
        "if TYPE_CHECKING:\n    from ..host import Tracer\n"
        "def later():\n    import json\n    import_module('.packing')\n    import_module(later)\n"
    )
    path = package / "client" / "event.py"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(sources, "PACKAGE", package)
    assert list(imports(path)) == [
        ("typing.TYPE_CHECKING", False, 1, True),
        ("userevents.host", True, 2, True),
        ("userevents.host.Tracer", True, 4, False),
        ("json", False, 6, False),
        ("userevents.client.packing", True, 7, False),
        ("(computed)", False, 8, False),
    ]
    assert [room_of_module(one.module) for one in imports(path)] == [None, "host", "host", None, "client", None]
