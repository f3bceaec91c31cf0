"""DuckDB's extension module without the Python package around it, which takes 0.2 s to import and a query does not use.

What the package does for a query is one thing: it tells the extension how to read an object that speaks Arrow. That is
not public, so it is done only for the version it was tried with; every other comes as its package makes it.
"""

import sys
from types import SimpleNamespace
from typing import Any, Final

_TRIED: Final = "2.0."


def duckdb_alone() -> Any:
    """Return the extension module, ready to read our columns; None where `import duckdb` is to be used instead."""
    if "duckdb" in sys.modules:
        return None
    try:
        import _duckdb

        if not _duckdb.__version__.startswith(_TRIED):
            return None
        _duckdb._set_arrow_sources(_SOURCES)
    except (ImportError, AttributeError, TypeError):
        return None
    return _duckdb


class _Node:
    """A part of a filter that the extension would have a source apply; ours apply none."""

    def __init__(self, *_: object) -> None:
        pass


class _Source:
    """An object with Arrow's two methods, as the extension wants to have it."""

    one_shot = False
    schema_is_stable = False
    pull_under_gil = False

    def __init__(self, columns: Any) -> None:
        self._columns = columns

    def __arrow_c_schema__(self) -> object:
        return self._columns.__arrow_c_schema__()

    def rows(self) -> None:
        """How many rows there are: not known before they are read."""

    def accepts(self, _predicate: object) -> bool:
        """Whether rows would be filtered."""
        return False

    def stream(self, _columns: object, _filters: object) -> tuple[object, bool]:
        """Return a stream, and whether it holds just the columns that were asked for."""
        return self._columns.__arrow_c_stream__(), False


_SOURCES: Final = SimpleNamespace(adapt=_Source, nodes=SimpleNamespace(Col=_Node, Lit=_Node, Binary=_Node))
