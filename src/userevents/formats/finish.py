"""Finishing a recording: its sessions merged per CPU in exact time order, the ledger closed, one trace.dat written."""

import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..buffer.encode import Encoder
from ..buffer.merge import interleave
from ..buffer.run import Run
from . import facts
from .hosts import to_json as host_json
from .ledger import AFTER_WORDS, Ledger, to_json
from .model import Process
from .output import OutputFile
from .pages import Pages, closed
from .recording import Recording
from .text import show_time
from .tracedat_writer import TraceDatWriter

Progress = Callable[[int, int], None]
"""Called with the bytes of page data done and how many there are in all."""

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
    merger = _Merger(pages, progress)
    with OutputFile(path) as output:
        events = [pages.events[event_id] for event_id in sorted(pages.events)]
        writer = TraceDatWriter(output, events, len(merger.by_cpu))
        spans = merger.write_all(writer)
        if merger.late:
            recording.note(f"{merger.late} records came out of order and got the time of the one before them")
        ledger = closed(recording, pages)
        processes = [stream.process for stream in recording.streams.values()]
        writer.finish(
            comms={tid: name for process in processes for tid, name in process.tids.items()},
            statistics=[_statistics(cpu, span, ledger) for cpu, span in enumerate(spans)],
            uname=f"Linux {facts.text(recording.header, 'host')} {facts.text(recording.header, 'release')}",
            trace_id=facts.count(recording.header, "mono_ns") & 0xFFFFFFFFFFFFFFFF,
            section=_section(recording, pages, processes, ledger),
        )
    return Finished(path, merger.records, len(merger.by_cpu), merger.copied, merger.built, ledger, recording.notes)


class _Span(NamedTuple):
    """What one CPU's pages hold: how many records, and the times of the first and the last."""

    records: int
    first_ns: int
    last_ns: int


def _statistics(cpu: int, span: _Span, ledger: Ledger) -> str:
    """Return one CPU's counts in the kernel's words. Rings belong to programs, so all losses stand with CPU 0."""
    overrun = sum(map(ledger.total, AFTER_WORDS)) if cpu == 0 else 0
    dropped = sum(ledger.dropped.values()) if cpu == 0 else 0
    times = f"oldest event ts: {show_time(span.first_ns)}\nnow ts: {show_time(span.last_ns)}\n" if span.records else ""
    return (
        f"CPU: {cpu}\nentries: 0\noverrun: {overrun}\ncommit overrun: 0\nbytes: 0\n{times}"
        f"dropped events: {dropped}\nread events: {span.records}\n"
    )


def _section(recording: Recording, pages: Pages, processes: list[Process], ledger: Ledger) -> dict[str, object]:
    """Return what our own section of the file holds."""
    section: dict[str, object] = {
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
                **({"host": process.host, "host_pid": process.host_pid} if process.host else {}),
            }
            for process in processes
        ],
        "ledger": to_json(ledger),
        "notes": recording.notes,
        "rules": recording.rules,
    }
    if recording.hosts:
        section["hosts"] = [host_json(host) for host in recording.hosts.by_name.values()]
    return section


class _Merger:
    """Writes CPU after CPU: each one's records of all pages in time order."""

    def __init__(self, pages: Pages, progress: Progress | None) -> None:
        recording = pages.recording
        self._pages = pages
        self._progress = progress
        self._opened = self._to_open = 0
        self.by_cpu = [array("Q") for _ in range(recording.cpus)]
        self.records = self.copied = self.built = self.late = 0
        for number in recording.pages_by_time():
            for cpu in pages.cpus_of(number):
                self.by_cpu += [array("Q") for _ in range(len(self.by_cpu), cpu + 1)]
                self.by_cpu[cpu].append(number)
                self._to_open += 1

    def write_all(self, writer: TraceDatWriter) -> list[_Span]:
        """Write the pages of every CPU; return what each holds."""
        return [self._write_cpu(writer, cpu, numbers) for cpu, numbers in enumerate(self.by_cpu)]

    def _write_cpu(self, writer: TraceDatWriter, cpu: int, numbers: "array[int]") -> _Span:
        writer.begin_cpu()
        encoder = Encoder()
        for batch in interleave(self._open(cpu, numbers)):
            writer.write_pages(encoder.add(batch))
        writer.write_pages(encoder.finish())
        self.records += encoder.records
        self.copied += encoder.copied
        self.built += encoder.built
        self.late += encoder.late
        return _Span(encoder.records, encoder.first_ns, encoder.last_ns)

    def _open(self, cpu: int, numbers: "array[int]") -> Iterator[Run]:
        total = self._pages.recording.data_size
        for number in numbers:
            run = self._pages.open(number, cpu)
            self._opened += 1
            if self._progress and (self._opened % _PROGRESS_EVERY == 0 or self._opened == self._to_open):
                self._progress(total * self._opened // self._to_open, total)
            yield run
