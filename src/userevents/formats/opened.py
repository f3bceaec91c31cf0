"""A trace for Python programs: `userevents.open`. Records are mappings, events are tables.

What reports and exports read is `Trace`; this is what people type.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from types import TracebackType
from typing import Any

from ..errors import Unusable
from .choice import ALL, Choice, Pattern
from .columns import Columns, chosen_event
from .ledger import Ledger
from .model import Event, Process, Value
from .rows import Row
from .summary import process_names
from .trace import Trace, open_trace


class TraceRecord(Mapping[str, Value]):
    """One event that happened: a mapping of its fields, which are attributes, too.

    `time_ns` (of the trace's clock), `cpu`, `pid` (None where the trace does not say), `tid`, `process` (what people
    call it), `comm` (the thread's name), `event` and `system` say the rest; a field of such a name is an item only.
    """

    __slots__ = ("_event", "_values", "comm", "cpu", "pid", "process", "tid", "time_ns")

    def __init__(self, row: Row, names: Mapping[int, str]) -> None:
        self.time_ns, self.cpu, self.tid, (self.pid, self.comm), decoder, self._values = row
        self._event = decoder.event
        self.process: str = self.comm if self.pid is None else names.get(self.pid, self.comm)

    @property
    def event(self) -> str:
        """The event's name."""
        return self._event.name

    @property
    def system(self) -> str:
        """The system that the event belongs to: ``user_events`` for a program's."""
        return self._event.system

    def __getitem__(self, name: str) -> Value:
        try:
            return self._values[self._event.keys.index(name)]
        except (ValueError, IndexError):
            raise KeyError(name) from None

    def __getattr__(self, name: str) -> Value:
        if name in type(self).__slots__:
            raise AttributeError(name)  # not there yet: it is being copied
        if name in self._event.keys:
            return self[name]
        raise AttributeError(f"event '{self.event}' has no field '{name}': its fields are {', '.join(self)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._event.keys)

    def __len__(self) -> int:
        return len(self._event.keys)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._event.keys]

    def __repr__(self) -> str:
        fields = "".join(f" {name}={value!r}" for name, value in self.items())
        return f"<{self.event} at {self.time_ns} ns, {self.process} ({self.pid}), cpu {self.cpu}:{fields}>"


class _Part:
    """Records of a trace: all of some events, from `start_ns` to before `stop_ns`."""

    def __init__(self, trace: Trace, choice: Choice, start_ns: int | None, stop_ns: int | None) -> None:
        self._trace = trace
        self._choice = choice
        self._start_ns = start_ns
        self._stop_ns = stop_ns

    def __iter__(self) -> Iterator[TraceRecord]:
        names = process_names(self._trace.processes)
        start = self._start_ns
        for row in self._trace.rows(self._choice):
            if start is not None and row[0] < start:
                continue
            if self._stop_ns is not None and row[0] >= self._stop_ns:
                return
            yield TraceRecord(row, names)

    def __len__(self) -> int:
        """How many records there are; counting reads the file once."""
        if self._start_ns is None and self._stop_ns is None:
            wanted = self._choice.wants_event
            events = self._trace.events
            unknown = Event(-1, "unknown", "unknown", (), ())
            return sum(n for number, n in self._trace.counts().items() if wanted(events.get(number, unknown)))
        return sum(1 for _ in self)


class EventTable(_Part):
    """The records of one event: iterate them, or take them as columns."""

    def __init__(self, trace: Trace, event: Event, start_ns: int | None, stop_ns: int | None) -> None:
        super().__init__(trace, _Only(event), start_ns, stop_ns)
        self.event = event

    def between(self, start_ns: int | None = None, stop_ns: int | None = None) -> "EventTable":
        """Return the records from `start_ns` to before `stop_ns` (ns of the trace's clock; None: no bound)."""
        return EventTable(self._trace, self.event, start_ns, stop_ns)

    def arrow(self) -> Columns:
        """Return the records as columns for any consumer of Arrow (pyarrow, DuckDB, Polars, nanoarrow), uncopied.

        Raises `Unusable` for a part between two times: the columns of a trace are whole.
        """
        if self._start_ns is not None or self._stop_ns is not None:
            raise Unusable("columns are of all records of an event: filter them by ts_ns, or use .df()")
        return self._trace.columns(self.event)

    def df(self) -> Any:
        """Return the records as a pandas DataFrame. Raises `Unusable` where pandas, or pyarrow or duckdb, lack."""
        columns = self._trace.columns(self.event)
        frame = _frame(columns)
        if self._start_ns is not None:
            frame = frame[frame["ts_ns"] >= self._start_ns]
        if self._stop_ns is not None:
            frame = frame[frame["ts_ns"] < self._stop_ns]
        return frame.reset_index(drop=True)

    def __repr__(self) -> str:
        return f"<records of {self.event.system}:{self.event.name}: {', '.join(self.event.keys)}>"


class OpenTrace(_Part):
    """An opened trace: iterate its records in time order, or take an event's: ``trace["request"]``.

    Use it in a `with` block, or `close` it.
    """

    def __init__(self, trace: Trace, start_ns: int | None = None, stop_ns: int | None = None) -> None:
        super().__init__(trace, ALL, start_ns, stop_ns)
        self.path = trace.path

    def __getitem__(self, event: str) -> EventTable:
        """The records of ``[SYSTEM:]EVENT``. Raises KeyError naming the events there are."""
        try:
            found = chosen_event(self._trace.events, event)
        except Unusable as error:
            raise KeyError(str(error)) from None
        return EventTable(self._trace, found, self._start_ns, self._stop_ns)

    def __contains__(self, event: object) -> bool:
        return event in self.events

    @property
    def events(self) -> list[str]:
        """The names of the events that the trace describes."""
        return sorted({event.name for event in self._trace.events.values()})

    @property
    def processes(self) -> list[Process]:
        """Who was traced; empty for files that do not say."""
        _ = self._trace.ledger
        return self._trace.processes

    @property
    def ledger(self) -> Ledger | None:
        """Where every attempt went; None for files without one."""
        return self._trace.ledger

    @property
    def losses(self) -> list[str]:
        """What is missing, a sentence each."""
        return self._trace.losses()

    @property
    def notes(self) -> list[str]:
        """What else there is to say of the file; may grow while it is read."""
        return self._trace.notes

    def between(self, start_ns: int | None = None, stop_ns: int | None = None) -> "OpenTrace":
        """Return the part from `start_ns` to before `stop_ns` (ns of the trace's clock; None: no bound)."""
        return OpenTrace(self._trace, start_ns, stop_ns)

    def matching(self, *patterns: str) -> Iterator[TraceRecord]:
        """Yield the records of the events that any ``[SYSTEM:]EVENT`` pattern (``*``, ``?``, ``[]``) matches."""
        choice = Choice(map(Pattern.parse, patterns))
        return iter(_Part(self._trace, choice, self._start_ns, self._stop_ns))

    def sql(self, sql: str) -> list[dict[str, Any]]:
        """Run SQL on the trace's tables and return the rows (docs/query.md). Needs the extra `sql`."""
        from .sql import Database

        database = Database(self._trace)
        try:
            result = database.query(sql)
            return [dict(zip(result.names, row, strict=True)) for row in result.rows]
        finally:
            database.close()

    def close(self) -> None:
        """Close the file."""
        self._trace.close()

    def __enter__(self) -> "OpenTrace":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<trace '{self.path}': {', '.join(self.events)}>"


class _Only(Choice):
    """The records of exactly one event."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self._event_id = event.id

    def wants_event(self, event: Event) -> bool:
        return event.id == self._event_id


def _frame(columns: Columns) -> Any:
    if _module("pandas") is None:
        raise Unusable("a DataFrame needs pandas, which is not installed: pip install pandas")
    if pyarrow := _module("pyarrow"):
        return pyarrow.table(columns).to_pandas()
    if duckdb := _module("duckdb"):
        return duckdb.sql("FROM columns").df()
    raise Unusable("a DataFrame needs pyarrow or duckdb besides: pip install 'userevents[sql]'")


def _module(name: str) -> Any:
    """Return a module of an extra, None where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        return None


def open_for_people(path: str) -> OpenTrace:
    """Open a trace; see `userevents.open`."""
    return OpenTrace(open_trace(path))
