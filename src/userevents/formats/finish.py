"""Finishing a recording: its sessions merged per CPU in exact time order, the ledger closed, one trace.dat written."""

import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..abi.ring_buffer import PAGE_DATA_SIZE
from ..buffer.page import PageBuilder, whole_page
from . import facts
from .interleave import Mixed, Slice, interleave
from .ledger import Ledger, to_json
from .model import Process
from .output import OutputFile
from .pages import OpenPage, Pages
from .recording import Recording
from .text import show_time
from .tracedat_writer import TraceDatWriter

Progress = Callable[[int, int], None]
"""Called with the bytes of page data done and how many there are in all."""

_WORTH_COPYING = PAGE_DATA_SIZE // 2
_PROGRESS_EVERY = 64


@dataclass(slots=True)
class Finished:
    """What a finished trace holds."""

    path: str
    records: int
    cpus: int
    copied_pages: int
    merged_pages: int
    ledger: Ledger
    notes: list[str]


def finish_recording(part: str, path: str, progress: Progress | None = None) -> Finished:
    """Merge the raw recording at `part` into a trace.dat at `path`; `part` is left as it is.

    Raises `Malformed` for a file that is no recording, and `OSError` naming the file that could not be read
    or written; then no output is left behind.
    """
    fd = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return merge(Recording.of_fd(fd, part), path, progress)
    finally:
        os.close(fd)


def merge(recording: Recording, path: str, progress: Progress | None = None) -> Finished:
    """Write an indexed recording to a trace.dat at `path`. Raises as `finish_recording` does."""
    pages = Pages(recording)
    cpus = recording.cpus
    by_cpu = [array("Q") for _ in range(cpus)]
    for number in recording.pages_by_time():
        by_cpu[recording.page_cpu[number]].append(number)
    with OutputFile(path) as output:
        writer = TraceDatWriter(output, [pages.events[event_id] for event_id in sorted(pages.events)], cpus)
        merger = _Merger(pages, writer, progress)
        spans = [merger.write_cpu(numbers) for numbers in by_cpu]
        if merger.late:
            recording.note(f"{merger.late} records came out of order and got the time of the one before them")
        ledger = Ledger(tuple(pages.settle()), recording.end is not None)
        processes = [stream.process for stream in recording.streams.values()]
        writer.finish(
            comms={tid: name for process in processes for tid, name in process.tids.items()},
            statistics=[_statistics(cpu, span, ledger) for cpu, span in enumerate(spans)],
            uname=f"Linux {facts.text(recording.header, 'host')} {facts.text(recording.header, 'release')}",
            trace_id=facts.count(recording.header, "mono_ns") & 0xFFFFFFFFFFFFFFFF,
            section=_section(recording, pages, processes, ledger),
        )
    return Finished(path, merger.records, cpus, merger.copied, merger.built, ledger, recording.notes)


class _Span(NamedTuple):
    """What one CPU's pages hold: how many records, and the times of the first and the last."""

    records: int
    first_ns: int
    last_ns: int


def _statistics(cpu: int, span: _Span, ledger: Ledger) -> str:
    """Return one CPU's counts in the kernel's words. Rings belong to programs, so all losses stand with CPU 0."""
    overrun = ledger.total("overwritten") + ledger.total("missed") if cpu == 0 else 0
    dropped = sum(ledger.dropped.values()) if cpu == 0 else 0
    times = f"oldest event ts: {show_time(span.first_ns)}\nnow ts: {show_time(span.last_ns)}\n" if span.records else ""
    return (
        f"CPU: {cpu}\nentries: 0\noverrun: {overrun}\ncommit overrun: 0\nbytes: 0\n{times}"
        f"dropped events: {dropped}\nread events: {span.records}\n"
    )


def _section(recording: Recording, pages: Pages, processes: list[Process], ledger: Ledger) -> dict[str, object]:
    """Return what our own section of the file holds."""
    return {
        "header": recording.header,
        "end": recording.end,
        "events": [
            {"id": event.id, "system": event.system, "name": event.name, "fields": event.args}
            for event in pages.events.values()
        ],
        "processes": [
            {
                "pid": process.pid,
                "comm": process.comm,
                "cmdline": process.cmdline,
                "start_time": process.start_time,
                "tids": {str(tid): name for tid, name in process.tids.items()},
                "first_ns": process.first_ns,
                "last_ns": process.last_ns,
            }
            for process in processes
        ],
        "ledger": to_json(ledger),
        "notes": recording.notes,
    }


class _Merger:
    """Writes CPU after CPU: pages that overlap no other are copied, the others built anew record by record."""

    def __init__(self, pages: Pages, writer: TraceDatWriter, progress: Progress | None) -> None:
        self._pages = pages
        self._writer = writer
        self._progress = progress
        self._done = 0
        self._opened = 0
        self.records = 0
        self.copied = 0
        self.built = 0
        self.late = 0

    def write_cpu(self, numbers: "array[int]") -> _Span:
        """Write the next CPU's pages, in time order."""
        self._writer.begin_cpu()
        self._builder = PageBuilder()
        self._missed = 0
        self._has_gaps = False
        before, first_ns, last_ns = self.records, 0, 0
        for batch in interleave(self._open(numbers)):
            if isinstance(batch, Slice):
                page, first, stop = batch
                first_ns, last_ns = first_ns or page.times[first], page.times[stop - 1]
                self.records += stop - first
                self._write_slice(page, first, stop)
            else:
                first_ns, last_ns = first_ns or batch[0][0], batch[-1][0]
                self.records += len(batch)
                self._write_mixed(batch)
        self._flush()
        self.late += self._builder.late
        return _Span(self.records - before, first_ns, last_ns)

    def _open(self, numbers: "array[int]") -> Iterator[OpenPage]:
        total = self._pages.recording.data_size
        for page in self._pages.open_all(numbers):
            self._done += len(page.data)
            self._opened += 1
            self._has_gaps = self._has_gaps or page.has_gap
            if self._progress and (self._opened % _PROGRESS_EVERY == 0 or self._done == total):
                self._progress(self._done, total)
            yield page

    def _write_slice(self, page: OpenPage, first: int, stop: int) -> None:
        if page.has_gap and first == 0:
            self._mark_gap()
        if first == 0 and stop == len(page.times) and self._may_copy(page):
            self._copy(page)
            return
        while (first := self._builder.append_walked(page.data, page.walk, first, stop)) < stop:
            self._flush()

    def _write_mixed(self, batch: Mixed[OpenPage]) -> None:
        """Write single records of several pages; where some page begins after a gap, a new page begins too."""
        first = 0
        for number, (_, _, start, page) in enumerate(batch if self._has_gaps else ()):
            if page.has_gap and start == page.starts[0]:
                self._build(batch, first, number)
                self._mark_gap()
                first = number
        self._build(batch, first, len(batch))

    def _build(self, batch: Mixed[OpenPage], first: int, stop: int) -> None:
        while (first := self._builder.append_mixed(batch, first, stop)) < stop:
            self._flush()

    def _mark_gap(self) -> None:
        self._flush()
        self._missed = -1

    def _may_copy(self, page: OpenPage) -> bool:
        """Whether a page may go to the file as it is: nothing to leave out, full enough, and not late."""
        return page.is_whole and len(page.data) >= _WORTH_COPYING and page.times[0] >= self._builder.last_ns

    def _copy(self, page: OpenPage) -> None:
        self._flush()
        self._writer.write_page(whole_page(page.data, page.walk, missed=self._missed))
        self._builder.last_ns = page.times[-1]
        self._missed = 0
        self.copied += 1

    def _flush(self) -> None:
        """Write the page under construction, if there is anything in it."""
        if len(self._builder):
            self._writer.write_page(self._builder.take(missed=self._missed))
            self._missed = 0
            self.built += 1
