"""What the house tests read: the checkout's source files, parsed once, and the imports found in them."""

import ast
import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PACKAGE: Final = ROOT / "src" / "userevents"
_LEFT_OUT: Final = {".git", ".venv", ".cache", "__pycache__", "build", "dist"}


class Import(NamedTuple):
    """One import: the absolute module name, whether it was spelled relative, and where it stands."""

    module: str
    relative: bool
    line: int
    runs_at_import: bool


@functools.cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(path.read_bytes(), str(path))


@functools.cache
def package_files() -> tuple[Path, ...]:
    """Return every Python file of the package."""
    return tuple(sorted(PACKAGE.rglob("*.py")))


@functools.cache
def tracked() -> tuple[Path, ...]:
    """Return the files of the checkout that git tracks or would track; without git, all but what ./dev made."""
    listing = None
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(command, capture_output=True, check=False)
        listing = done.stdout if done.returncode == 0 else None
    if listing is None:
        found = (path for path in ROOT.rglob("*") if not _LEFT_OUT & set(path.relative_to(ROOT).parts))
    else:
        found = (ROOT / name.decode() for name in listing.split(b"\0") if name)
    return tuple(sorted(path for path in found if path.is_file() and ".egg-info" not in str(path)))


def short(path: Path) -> str:
    """Return a path as people name it: relative to the checkout."""
    return str(path.relative_to(ROOT))


def room(path: Path) -> str:
    """Return the room a file of the package belongs to; the front door is called ``userevents``."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "userevents" if first == "__init__" else first


def room_of_module(module: str) -> str | None:
    """Return the room an absolute module name belongs to, None for a module of somebody else.

    >>> room_of_module("userevents.fields.grammar"), room_of_module("struct")
    ('fields', None)
    """
    first, _, rest = module.partition(".")
    if first != "userevents":
        return None
    name = rest.partition(".")[0]
    return name if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file() else "userevents"


def imports(path: Path) -> Iterator[Import]:
    """Yield every import of a package file: in functions, under TYPE_CHECKING, and by import_module() too."""
    yield from _imports(tree(path), path.relative_to(PACKAGE.parent), True)


def _imports(node: ast.AST, path: Path, at_import: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(alias.name, False, child.lineno, at_import)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = _absolute(path, module, level)
                for alias in names:
                    yield Import(f"{base}.{alias.name}", level > 0, child.lineno, at_import)
            case ast.Call(args=[first, *_]) if _is_import_call(child.func):
                name = first.value if isinstance(first, ast.Constant) else None
                yield _named_import(name, path, child.lineno, at_import)
            case ast.If(test=test) if _is_type_checking(test):
                for part in child.body:
                    yield from _imports(ast.Module([part], []), path, False)
                for part in child.orelse:
                    yield from _imports(ast.Module([part], []), path, at_import)
                continue
            case _:
                pass
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _imports(child, path, at_import and not function)


def _named_import(name: object, path: Path, line: int, at_import: bool) -> Import:
    """Return the import that ``import_module(name)`` makes; `name` is None where it is computed."""
    if not isinstance(name, str):
        return Import("(computed)", False, line, at_import)
    relative = name.startswith(".")
    return Import(_absolute(path, name[1:], 1) if relative else name, relative, line, at_import)


def _absolute(path: Path, module: str | None, level: int) -> str:
    """Return the absolute name of what ``from <level dots><module>`` names in the file `path`."""
    if level == 0:
        return module or ""
    package = path.with_suffix("").parts
    above = package[: len(package) - level]
    return ".".join([*above, *([module] if module else [])])


def _is_import_call(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
