"""One model for any trace that can be read: `open_trace` a trace.dat, ours or trace-cmd's, or a raw recording.

`records()` gives what happened in time order over all processes and CPUs, page by page, so that a trace may be
larger than memory.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType

from ..buffer import stream as wire
from ..buffer.merge import Batch
from ..errors import Malformed
from ..fields.escape import escape
from ..fields.payload import Reading
from . import perfdata, tracedat
from .arrow import PureChunk
from .choice import ALL, Choice
from .columns import Columns, Needed, chosen_event, chunks_of, collect_all
from .cursor import reader_of
from .decoder import Decoder
from .ledger import Ledger
from .model import Event, Process, Record
from .perfdata_reader import PerfData
from .perfdata_source import PerfSource
from .recording import Recording
from .rows import Plan, Row, Rows
from .sources import RecordingSource, Source, TraceDatSource
from .summary import Summary, counts_by_event, summarize
from .text import Layout
from .tracedat_reader import TraceDat
from .transcode import Coding, Piece, Program, Transcoder, joined

_PIECES_SIZE = 1 << 18

Reader = Callable[[Iterator[Batch]], Iterator[Batch]]
"""Hands batches on, and may look at them as they pass: for progress."""
_AT_ONCE = 1 << 14
"""Records read for one chunk of columns."""


class Trace:
    """An opened trace; use it in a `with` block, or `close` it.

    `events` by id; `processes` and `ledger` are empty and None in files that do not carry them; `notes` are
    warnings for the person who reads it, and may grow while records are read.
    """

    def __init__(self, path: str, source: Source, close: Callable[[], None]) -> None:
        self.path = path
        self.source = source
        """Where it is read from, for those who need pages and not records."""
        self.close = close
        self.kind = source.kind
        self.events = source.events
        self.header = source.header
        self.hosts = source.hosts
        """Where its processes ran, if it is a trace of several hosts; else empty."""
        self.clock = source.clock
        self.notes = source.notes
        self.flight = source.flight
        """The flight rules that it was written for."""
        self._ledger: Ledger | None = None
        self._has_ledger = False

    def __enter__(self) -> "Trace":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def ledger(self) -> Ledger | None:
        """The closed loss ledger; reading it from a raw recording reads the whole recording once."""
        if not self._has_ledger:
            self._ledger, self._has_ledger = self.source.ledger(), True
        return self._ledger

    @property
    def processes(self) -> list[Process]:
        """The traced processes; of a raw recording only known in full once `ledger` was asked for."""
        return self.source.processes

    @property
    def comms(self) -> Mapping[int, str]:
        """The names of threads, where the file tells them and not their processes."""
        return self.source.comms

    def format_text(self, event_id: int) -> str | None:
        """Return the `format` text of a kernel event as the file has it, one character a byte; None for user events."""
        return self.source.format_texts.get(event_id)

    def losses(self) -> list[str]:
        """Say what was lost, a sentence each, from the ledger or from what the file tells otherwise; empty: nothing."""
        ledger = self.ledger
        return self.source.losses() if ledger is None else ledger.losses()

    def records(self, choice: Choice = ALL) -> Iterator[Record]:
        """Yield every record in time order; equal times by CPU. Damaged pages end early and add a note."""
        for ts_ns, cpu, tid, (pid, comm), decoder, values in self.rows(choice):
            event = decoder.event
            yield Record(ts_ns, cpu, tid, pid, comm, event, dict(zip(event.keys, values, strict=False)))

    def rows(self, choice: Choice = ALL) -> Iterator[Row]:
        """Yield the rows that `records` are made of, in the same order; who is (pid, name)."""
        for rows in self.row_lists(choice):
            yield from rows

    def row_lists(self, choice: Choice = ALL) -> Iterator[list[Row]]:
        """Yield the same rows, many at once."""
        source = self.source

        def who(tag: Process | None, _cpu: int, tid: int, ts_ns: int) -> tuple[tuple[int | None, str] | None, bool]:
            pid, comm, holds = source.who(tag, tid, ts_ns)
            return (pid, comm) if choice.wants_thread(pid, tid) else None, holds

        rows = Rows(self._plan(choice, None), who, escape, source.shift_ns)
        for batch in source.batches():
            yield rows.records(batch)

    def lines(self, layout: Layout, choice: Choice = ALL) -> Iterator[list[str]]:
        """Yield the lines of all records in time order, many at once."""
        source = self.source

        def who(tag: Process | None, cpu: int, tid: int, ts_ns: int) -> tuple[str | None, bool]:
            pid, comm, holds = source.who(tag, tid, ts_ns)
            return layout.who(comm, pid, tid, cpu) if choice.wants_thread(pid, tid) else None, holds

        rows = Rows(self._plan(choice, layout), who, escape, source.shift_ns, layout.time_first)
        for batch in source.batches():
            yield list(map(str.rstrip, rows.lines(batch)))

    def pieces(
        self, coding: Coding, choice: Choice = ALL, progress: Callable[[int, int], None] | None = None
    ) -> Iterator[list[Piece]]:
        """Yield the records of a choice in time order as bytes of another format, a few hundred KiB at once.

        `progress` is called now and then with the bytes of pages done, and how many there are.
        """
        source = self.source

        def plan(event_id: int) -> Program | None:
            decoder = Decoder(self.events.get(event_id), event_id)
            steps = coding.steps(decoder) if choice.wants_event(decoder.event) else None
            return None if steps is None else (joined(steps), decoder.readings, decoder)

        def who(tag: Process | None, _cpu: int, tid: int, ts_ns: int) -> tuple[bytes | None, bool]:
            pid, comm, holds = source.who(tag, tid, ts_ns - coding.shift_ns)
            return coding.who(pid, tid, comm) if choice.wants_thread(pid, tid) else None, holds

        coder = Transcoder(plan, who, coding.quote, source.shift_ns + coding.shift_ns, coding.by_cpu)
        for batch in source.batches():
            if coder.add(batch) >= _PIECES_SIZE:
                if progress:
                    progress(*self.progress)
                yield [Piece(*each) for each in coder.take()]
        yield [Piece(*each) for each in coder.take()]
        if coder.left_out:
            self.notes.append(f"{coder.left_out} records are too large for this format, and were left out")

    def _plan(self, choice: Choice, layout: Layout | None) -> Plan:
        """Return what tells how to decode the records of an event."""

        def plan(event_id: int) -> tuple[Decoder, str, tuple[Reading, ...]] | None:
            decoder = Decoder(self.events.get(event_id), event_id)
            if not choice.wants_event(decoder.event):
                return None
            return decoder, layout.template(decoder.event) if layout else "", decoder.readings

        return plan

    def summary(self, choice: Choice = ALL) -> Summary:
        """Count the records by process and event; none is decoded."""
        return summarize(self.source, choice)

    def columns(self, event: str | Event) -> Columns:
        """Return all records of one event as columns, for whatever reads Arrow (pyarrow, DuckDB, Polars, ...).

        `event` is ``[SYSTEM:]NAME``, or one of `events`. Raises `Unusable` for a name that the trace has not, or twice.
        """
        found = chosen_event(self.events, event)
        return self._collected([found], self.source.batches(found.id))[0]

    def columns_of(self, events: Sequence[Event], read: Reader = iter, needed: Needed = None) -> list[Columns]:
        """Return all records of each of these events as `coded` columns; the file is read once, through `read`."""
        return self._collected(events, read(self.source.batches()), needed, coded=True)

    def _collected(
        self, events: Sequence[Event], batches: Iterator[Batch], needed: Needed = None, *, coded: bool = False
    ) -> list[Columns]:
        who, shift = self._pid_of, self.source.shift_ns
        return collect_all(events, batches, who, shift, needed, coded=coded, progress=lambda: self.progress)

    def chunks(self, event: Event, read: Reader = iter, needed: Needed = None) -> Iterator[PureChunk]:
        """Yield all records of one event as `coded` columns, some at a time, while they are asked for."""
        batches = read(self.source.batches(event.id))
        return chunks_of(event, batches, self._pid_of, self.source.shift_ns, needed, at_once=_AT_ONCE)

    @property
    def progress(self) -> tuple[int, int]:
        """How far the pages were read by whom read last, and how much there is, in bytes."""
        return self.source.done_size, self.source.data_size

    def counts(self) -> dict[int, int]:
        """Count the records by event id; none is decoded."""
        return counts_by_event(self.source)

    def _pid_of(self, tag: Process | None, _cpu: int, tid: int, ts_ns: int) -> tuple[int | None, bool]:
        pid, _, holds = self.source.who(tag, tid, ts_ns)
        return pid, holds


def open_trace(path: str) -> Trace:
    """Open a trace.dat (version 6 or 7), a perf.data or a raw recording, told apart by how they begin.

    Raises `OSError` if the file cannot be opened and `Malformed` if it is neither, or damaged beyond use.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            raise OSError(errno.ESPIPE, "a pipe; a trace is read here and there: write it to a file first", path)
        return Trace(path, _source(fd, path), lambda: os.close(fd))
    except BaseException:
        os.close(fd)
        raise


def _source(fd: int, path: str) -> Source:
    start = reader_of(fd, path)(0, len(tracedat.MAGIC))
    if start.startswith(wire.MAGIC):
        return RecordingSource(Recording.of_fd(fd, path))
    if start == tracedat.MAGIC:
        return TraceDatSource(TraceDat(reader_of(fd, path), os.fstat(fd).st_size, path))
    if start.startswith(perfdata.MAGIC):
        return PerfSource(PerfData(reader_of(fd, path), os.fstat(fd).st_size, path))
    if start.startswith(perfdata.MAGIC[::-1]):
        raise Malformed(path, "is a perf.data of another kind of machine (big endian)", 0)
    raise Malformed(
        path,
        f"begins with {start!r}: it is neither a trace.dat, nor a perf.data, nor a raw recording"
        if start
        else "is empty: it is neither a trace.dat, nor a perf.data, nor a raw recording",
    )
