"""A trace as tables of an SQL database (DuckDB): one for each event, and `events`, `processes`, `losses`, `spans`.

DuckDB reads records straight from the trace, as Arrow columns that are made while it asks for them: what a statement
does not need is not in memory. Needs the extra `sql`, which is imported here when a database is made.

The SQL may come from anywhere: it reads and writes no file and loads no extension, unless that was allowed.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from ..buffer.merge import Batch
from ..errors import Unusable, UserEventsError
from .arrow import LazyColumns, PureChunk, Schema
from .columns import schema_of
from .model import Event
from .pairs import Pair
from .spans import SCHEMA as SPAN_SCHEMA
from .spans import span_chunks
from .sql_columns import names_needed, needed_columns
from .sql_events import SCHEMA as EVENTS_SCHEMA
from .sql_events import event_chunks, events_view
from .sql_text import (
    EVENTS,
    HOSTS,
    LOSSES,
    PROCESSES,
    RECORDS,
    SPANS,
    host_in_sql,
    host_rows,
    literal,
    loss_rows,
    quoted,
    table_names,
)
from .summary import process_names
from .trace import Trace

_PROCESS_COLUMNS: Final = (
    "pid BIGINT, process VARCHAR, comm VARCHAR, cmdline VARCHAR[], first_ns BIGINT, last_ns BIGINT, threads INT"
)
_PROCESS_OF_HOST: Final = ", host VARCHAR, host_pid BIGINT"
_HOST_COLUMNS: Final = (
    "number INT, name VARCHAR, offset_ns BIGINT, uncertainty_ns BIGINT, drift_ppm DOUBLE, missing UBIGINT, "
    "missing_records UBIGINT, ended BOOLEAN"
)
_LOSS_COLUMNS: Final = "pid BIGINT, process VARCHAR, event VARCHAR, what VARCHAR, reason VARCHAR, records UBIGINT"


class BadQuery(UserEventsError, ValueError):
    """SQL that DuckDB refuses: its own words, with the place in the text where it knows one."""


class Table(NamedTuple):
    """A table to query. `rows` is None where counting would mean making it."""

    name: str
    columns: tuple[tuple[str, str], ...]
    """Name and SQL type."""
    rows: int | None
    about: str


class Result(NamedTuple):
    """What a statement gave; `rows` comes as it is fetched."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


class Database:
    """An open trace in DuckDB. `progress` is told how many records a statement has read so far, in any thread.

    `duckdb` is the module to use, which is imported if it is None. Without its package, `write_parquet` is not there.
    `pairs` become the rows of `spans`. With `allow_files` the SQL may read and write files and load extensions.
    Raises `Unusable` where duckdb is not installed, and for pairs that the trace has not.
    """

    def __init__(
        self,
        trace: Trace,
        pairs: Sequence[Pair] = (),
        *,
        allow_files: bool = False,
        duckdb: Any = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._trace = trace
        self._pairs = tuple(pairs)
        self._progress = progress
        self._duckdb = duckdb or _duckdb()
        self._names = table_names(trace.events.values(), (HOSTS,) if trace.hosts else ())
        self._bound: dict[int | str, Schema] = {}
        self._together: dict[int, tuple[PureChunk, ...]] = {}
        self._problem: BaseException | None = None
        self._read = 0
        self._reading = threading.Lock()
        self._connection = self._duckdb.connect(config={"python_enable_replacements": "false"})
        self._sealed = allow_files
        self._is_sure = not allow_files  # a file may be another one, or a pipe, the second time
        self._needed: frozenset[str] | None = None
        self._make_tables()

    def close(self) -> None:
        """Let go of everything; the trace stays open."""
        self._connection.close()

    def query(self, sql: str) -> Result:
        """Run statements, and return the rows of the last one. Raises `BadQuery`, and what is wrong with the file."""
        self._seal()
        self._begin(sql)
        with self._explained():
            cursor = self._connection.execute(sql)
        if cursor is None:
            raise BadQuery("there is no statement in it")
        described = cursor.description or []
        names, types = (tuple(str(each[place]) for each in described) for place in (0, 1))
        return Result(names, types, self._rows(cursor))

    def write_parquet(self, sql: str, path: str) -> None:
        """Write the rows of one SELECT into a Parquet file (zstd) at `path`, before any `query`; it is replaced."""
        self._seal(path)
        self._begin(sql)
        with self._explained():
            relation = self._connection.sql(self._without_end(sql))
            if relation is None:
                raise BadQuery("there is no statement in it that gives rows")
            relation.create_view(_RESULT)
            self._connection.execute(
                f"COPY (FROM {_RESULT}) TO {literal(path)} (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
            )

    def _without_end(self, sql: str) -> str:
        """Return SQL without the semicolon at its end and the comments behind that, which a view does not take."""
        duckdb = self._duckdb
        for place, kind in reversed(duckdb.tokenize(sql)):
            at = len(sql.encode()[:place].decode("utf-8", "ignore"))
            if kind != duckdb.token_type.comment and not sql.startswith(";", at):
                break
            sql = sql[:at]
        return sql

    def tables(self) -> list[Table]:
        """Describe every table that has rows, and what there is always; counting reads the file once, undecoded."""
        counts = self._trace.counts()
        found = []
        for event in self._trace.events.values():
            if counts.get(event.id):
                name = self._names[event.id]
                about = f"{event.system}:{event.name}" if name != event.name else ""
                found.append(Table(name, self._columns(name), counts[event.id], about))
        found.sort(key=lambda table: (-(table.rows or 0), table.name))
        found.append(Table(EVENTS, self._columns(EVENTS), sum(counts.values()), "every record, its fields as JSON"))
        own = ((PROCESSES, "who was traced"), (LOSSES, "what is missing, and why"))
        for name, about in own + (((HOSTS, "where, and by which clock"),) if self._trace.hosts else ()):
            rows = self._connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()
            found.append(Table(name, self._columns(name), rows[0] if rows else 0, about))
        if self._pairs:
            found.append(Table(SPANS, self._columns(SPANS), None, ", ".join(pair.name for pair in self._pairs)))
        return found

    def names(self) -> list[str]:
        """The names that may stand after FROM."""
        hosts = [HOSTS] if self._trace.hosts else []
        return sorted({*self._names.values(), EVENTS, PROCESSES, LOSSES, *([SPANS] if self._pairs else []), *hosts})

    def _columns(self, name: str) -> tuple[tuple[str, str], ...]:
        described = self._connection.execute(f"DESCRIBE {quoted(name)}").fetchall()
        return tuple((row[0], row[1]) for row in described)

    # Making tables.

    def _make_tables(self) -> None:
        # How many rows there are is not known before they are read; were they few, DuckDB would compare all with all.
        self._connection.execute("SET asof_loop_join_threshold = 0")
        for event in self._trace.events.values():
            self._make_table(event)
        if self._trace.hosts:
            self._fill(HOSTS, _HOST_COLUMNS, host_rows(self._trace))
        self._make_processes()
        self._make_losses()
        self._make_events()
        if self._pairs:
            self._connection.register(SPANS, LazyColumns(SPAN_SCHEMA, self._spans, failed=self._failed))

    def _make_table(self, event: Event) -> None:
        """Make the table of one event; in a trace of several hosts, one that names them."""
        name = self._names[event.id]
        if not self._trace.hosts or any(key.casefold() == "host" for key in event.keys):
            self._connection.register(name, self._lazy(event))
            return
        lazy = f"{name} by pid"
        self._connection.register(lazy, self._lazy(event))
        host = host_in_sql(self._trace)
        self._connection.execute(f"CREATE VIEW {quoted(name)} AS SELECT *, {host} AS host FROM {quoted(lazy)}")

    def _lazy(self, event: Event) -> LazyColumns:
        schema = schema_of(event, coded=True)
        return self._table(event.id, schema, lambda: self._chunks(event, self._needed))

    def _table(self, key: int | str, schema: Schema, chunks: Callable[[], Iterator[PureChunk]]) -> LazyColumns:
        """Return columns that are noted as bound, under their key, when DuckDB asks what they are."""
        return LazyColumns(schema, chunks, lambda: self._bound.update({key: schema}), self._failed)

    def _make_processes(self) -> None:
        _ = self._trace.ledger  # of a raw recording, this is what makes the processes known in full
        names = process_names(self._trace.processes)
        rows = [
            (each.pid, names[each.pid], each.comm, list(each.cmdline), each.first_ns, each.last_ns, len(each.tids))
            + ((each.host, each.host_pid) if self._trace.hosts else ())
            for each in self._trace.processes
        ]
        self._fill(PROCESSES, _PROCESS_COLUMNS + (_PROCESS_OF_HOST if self._trace.hosts else ""), rows)

    def _make_losses(self) -> None:
        self._fill(LOSSES, _LOSS_COLUMNS, list(loss_rows(self._trace)))

    def _fill(self, name: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
        """Make a small table of our own."""
        self._connection.execute(f"CREATE TABLE {quoted(name)} ({columns})")
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._connection.executemany(f"INSERT INTO {quoted(name)} VALUES ({marks})", rows)

    def _make_events(self) -> None:
        """Make the table of all records, and the view of it."""
        chunks = partial(event_chunks, self._trace, self._counted)
        self._connection.register(RECORDS, self._table(RECORDS, EVENTS_SCHEMA, lambda: chunks(self._needed)))
        self._connection.execute(events_view(self._trace))

    def _seal(self, output: str | None = None) -> None:
        """Let no SQL reach a file, but for `output`; this can be said once, and not be taken back."""
        if self._sealed:
            return
        self._sealed = True
        if output is not None:
            self._connection.execute(f"SET allowed_paths = [{literal(output)}]")
        self._connection.execute("SET autoinstall_known_extensions = false")
        self._connection.execute("SET enable_external_access = false")

    # Reading while DuckDB asks.

    def _begin(self, sql: str) -> None:
        self._bound.clear()
        self._needed = self._needs(sql)
        self._bound.clear()
        self._together.clear()
        self._problem = None
        self._read = 0

    def _needs(self, sql: str) -> frozenset[str] | None:
        """Return the names of the columns that a statement needs; None for all.

        After a statement of which that was not sure, it never is: it may have made a macro, or set something.
        """
        scans = needed_columns(self._duckdb, self._connection, sql) if self._is_sure else None
        self._is_sure = scans is not None
        return names_needed(scans, self._bound.values())

    def _chunks(self, event: Event, needed: frozenset[str] | None) -> Iterator[PureChunk]:
        """Give an event's records: as they are read; of a small trace, those of several events are read together."""
        bound = {each for each in self._bound if isinstance(each, int)}
        if len(bound) < 2 or self._trace.source.data_size > _TOGETHER_SIZE:
            yield from self._trace.chunks(event, self._counted, needed)
            return
        with self._reading:
            if event.id not in self._together:
                events = [self._trace.events[each] for each in {*bound, event.id}]
                for each, columns in zip(events, self._trace.columns_of(events, self._counted, needed), strict=True):
                    self._together[each.id] = columns.chunks
        yield from self._together[event.id]

    def _spans(self) -> Iterator[PureChunk]:
        return span_chunks(self._trace, self._pairs, self._told)

    def _counted(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield batch
            self._told(len(batch))

    def _told(self, number: int) -> None:
        self._read += number
        self._progress(self._read)

    def _failed(self, problem: BaseException) -> None:
        self._problem = problem

    def _rows(self, cursor: Any) -> Iterator[tuple[Any, ...]]:
        while True:
            with self._explained():
                rows = cursor.fetchmany(_ROWS_AT_ONCE)
            if not rows:
                return
            yield from rows

    def _explained(self) -> "_Explained":
        return _Explained(self)


_RESULT: Final = "userevents_result"
_TOGETHER_SIZE: Final = 64 << 20
"""Up to so many bytes of pages, the columns of a statement's events are kept while it runs, and not read for each."""
_ROWS_AT_ONCE: Final = 1024


class _Explained:
    """What DuckDB raises in here, as one of our errors; or what went wrong with the file, which comes first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        database = self._database
        if database._problem is not None:
            raise database._problem from None
        if isinstance(error, database._duckdb.Error):
            raise BadQuery(_words(str(error), database.names())) from None


def _words(text: str, names: Sequence[str]) -> str:
    """Return DuckDB's words, with the tables that there are where it found none, and not those of its catalogue."""
    if "Table with name" in text and "does not exist" in text:
        shown = ", ".join(names[:_NAMES_SHOWN]) + (" ..." if len(names) > _NAMES_SHOWN else "")
        first, _, rest = text.partition("\n")
        place = "\n".join(line for line in rest.split("\n") if not line.startswith("Did you mean"))
        return f"{first}\nThere are: {shown}\n{place}".rstrip()
    if "disabled by configuration" in text or "disabled through configuration" in text:
        return f"{text}\nA query reads and writes no files unless it is allowed to (--allow-files)"
    return text


_NAMES_SHOWN: Final = 30


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError:
        raise Unusable("queries need duckdb, which is not installed: pip install 'userevents[sql]'") from None
    return duckdb
