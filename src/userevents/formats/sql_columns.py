"""Which columns a statement needs, read out of DuckDB's own plan for it; whatever is not sure needs all of them.

DuckDB does not tell a table like ours which of its columns it wants. But it plans a statement the same way each time:
so it is asked for a plan first, then run. In the plan that is asked for nothing is optimized but the choice of columns:
no filter, constant or join has been worked away, so the plan that runs reads no column more.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from .arrow import Schema

SCAN: Final = "PYTHON_ARROW_SCAN"
KEPT: Final = ("unused_columns", "cte_inlining")
"""The optimizers that are left for the plan: columns nobody uses are dropped, CTEs stand where they are used."""
UNSURE: Final = re.compile(
    r"\b(query|query_table|json_execute_serialized_sql|random|(gen_random_)?uuid\w*|setseed|nextval|currval|setval"
    r"|sleep_ms|write_log|stats|vector_type|error|current_(query|query_id|transaction_id|connection_id))"
    r"\"?\s*(\(|/\*|--)",
    re.IGNORECASE,
)
"""Calls that may choose other columns the second time: what differs by the call, and SQL that is made by SQL."""


def needed_columns(duckdb: Any, connection: Any, sql: str) -> list[frozenset[str]] | None:
    """Return the columns that each scan of a lazy table needs, by name; None where that is not sure.

    Sure is only one SELECT that DuckDB plans, without anything that may be planned otherwise the next time.
    """
    if UNSURE.search(sql):
        return None
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            return None
        plan = json.loads(_plan(connection, sql))
        return [_projected(scan) for scan in _scans(plan)]
    except (duckdb.Error, ValueError, LookupError, TypeError):
        return None


def _plan(connection: Any, sql: str) -> str:
    """Return the plan as JSON; DuckDB's settings are afterwards what they were."""
    ((before,),) = connection.execute("SELECT current_setting('disabled_optimizers')").fetchall()
    known = [name for (name,) in connection.execute("SELECT name FROM duckdb_optimizers()").fetchall()]
    try:
        connection.execute(f"SET disabled_optimizers = '{','.join(name for name in known if name not in KEPT)}'")
        ((_, plan),) = connection.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()
    finally:
        connection.execute(f"SET disabled_optimizers = '{before}'")
    return str(plan)


def _scans(nodes: Any) -> Iterator[Any]:
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        waiting.extend(node["children"])
        if node["name"] == SCAN:
            yield node


def _projected(scan: Any) -> frozenset[str]:
    projected = scan["extra_info"]["Projections"]
    return frozenset([projected] if isinstance(projected, str) else projected)


def names_needed(scans: list[frozenset[str]] | None, schemas: Iterable[Schema]) -> frozenset[str] | None:
    """Return the names that any scan needs, of tables with these columns; None (all of them) where that is not sure.

    A plan does not say which table is scanned, so a column is needed in all that have one of this name.
    """
    tables = [[name for name, _, _ in schema] for schema in schemas]
    if scans is None or len(scans) < len(tables) or not all(map(_are_plain, tables)):
        return None
    needed = frozenset[str]().union(*scans)
    return needed if needed <= {name for table in tables for name in table} else None


def _are_plain(names: list[str]) -> bool:
    """Whether DuckDB calls columns by these names, and writes each into a plan as it is."""
    if len({name.casefold() for name in names}) < len(names):
        return False
    return all(name and name.isprintable() and name == name.strip() for name in names)
