"""One model for any trace that can be read: `open_trace` a trace.dat, ours or trace-cmd's, or a raw recording.

`records()` gives what happened in time order over all processes and CPUs, page by page, so that a trace may be
larger than memory.
"""

import os
from collections.abc import Callable, Iterator
from struct import Struct
from types import TracebackType
from typing import Protocol

from ..abi.ring_buffer import RECORD_HEADER, TYPE_LEN_MASK
from ..buffer import stream as wire
from ..buffer.page import record_end
from ..errors import Malformed
from . import tracedat as layout
from .cursor import reader_of
from .decoder import Decoder
from .interleave import Slice, interleave
from .ledger import Ledger
from .model import Event, Process, Record
from .recording import Recording
from .sources import PageRun, RecordingSource, TraceDatSource
from .tracedat_reader import TraceDat

_HEAD = Struct(RECORD_HEADER)


class Source(Protocol):
    """Where a trace's pages and facts come from."""

    events: dict[int, Event]
    processes: list[Process]
    notes: list[str]
    header: dict[str, object]
    clock: str
    kind: str

    def runs(self) -> Iterator[PageRun]:
        """Yield every page in the order of its time stamp."""

    def ledger(self) -> Ledger | None:
        """Return the closed ledger, None if the file has none."""

    def losses(self) -> list[str]:
        """Say what a file without a ledger tells about losses."""

    def who(self, tid: int, ts_ns: int) -> tuple[int | None, str, bool]:
        """Return the process a thread belonged to at a time, its name, and whether that holds at any time."""


class Trace:
    """An opened trace; use it in a `with` block, or `close` it.

    `events` by id; `processes` and `ledger` are empty and None in files that do not carry them; `notes` are
    warnings for the person who reads it, and may grow while records are read.
    """

    def __init__(self, path: str, source: Source, close: Callable[[], None]) -> None:
        self.path = path
        self._source = source
        self.close = close
        self.kind = source.kind
        self.events = source.events
        self.header = source.header
        self.clock = source.clock
        self.notes = source.notes
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
            self._ledger, self._has_ledger = self._source.ledger(), True
        return self._ledger

    @property
    def processes(self) -> list[Process]:
        """The traced processes; of a raw recording only known in full once `ledger` was asked for."""
        return self._source.processes

    def losses(self) -> list[str]:
        """Say what was lost, a sentence each, from the ledger or from what the file tells otherwise; empty: nothing."""
        ledger = self.ledger
        return self._source.losses() if ledger is None else ledger.losses()

    def records(self) -> Iterator[Record]:
        """Yield every record in time order; equal times by CPU. Damaged pages end early and add a note."""
        source, unpack_head = self._source, _HEAD.unpack_from
        decoders: dict[int, Decoder] = {}
        known: dict[int, tuple[int | None, str, bool]] = {}
        for ts_ns, start, run in _singles(source):
            data = run.data
            kind = data[start] & TYPE_LEN_MASK
            body = data[start + 4 : start + 4 + (kind << 2)] if kind else data[start + 8 : record_end(data, start)]
            event_id, _, _, tid = unpack_head(body)
            decoder = decoders.get(event_id)
            if decoder is None:
                decoder = decoders[event_id] = Decoder(self.events.get(event_id), event_id)
            process = run.process
            pid: int | None
            if process is not None:
                pid, comm = process.pid, process.tids.get(tid, process.comm)
            else:
                who = known.get(tid) or source.who(tid, ts_ns)
                pid, comm, is_fixed = who
                if is_fixed:
                    known[tid] = who
            yield Record(ts_ns, run.cpu, tid, pid, comm, decoder.event, decoder.values(body))


def _singles(source: Source) -> Iterator[tuple[int, int, PageRun]]:
    """Yield (time, start of the record in its page's data, page) of every record in time order."""
    for batch in interleave(source.runs()):
        if isinstance(batch, Slice):
            run, first, stop = batch
            for ts_ns, start in zip(run.times[first:stop], run.starts[first:stop], strict=True):
                yield ts_ns, start, run
        else:
            for ts_ns, _, start, run in batch:
                yield ts_ns, start, run


def open_trace(path: str) -> Trace:
    """Open a trace.dat (version 6 or 7, uncompressed) or a raw recording, told apart by how they begin.

    Raises `OSError` if the file cannot be opened and `Malformed` if it is neither, or damaged beyond use.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return Trace(path, _source(fd, path), lambda: os.close(fd))
    except BaseException:
        os.close(fd)
        raise


def _source(fd: int, path: str) -> Source:
    start = os.pread(fd, len(layout.MAGIC), 0)
    if start.startswith(wire.MAGIC):
        return RecordingSource(Recording.of_fd(fd, path))
    if start == layout.MAGIC:
        return TraceDatSource(TraceDat(reader_of(fd, path), os.fstat(fd).st_size, path))
    raise Malformed(
        path,
        f"begins with {start!r}: it is neither a trace.dat nor a raw recording"
        if start
        else "is empty: it is neither a trace.dat nor a raw recording",
    )
