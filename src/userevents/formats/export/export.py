"""Which formats there are, and writing one of them."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from ...errors import Unusable
from ..choice import ALL, Choice
from ..output import OutputFile
from ..pairs import Pair, check
from ..trace import Trace
from . import json_lines, perfetto
from .job import Job, Progress, Sink


class Target(NamedTuple):
    """A format that traces can be written in: how its files are called, what opens them, and what writes one."""

    suffix: str
    about: str
    write: Callable[[Job, Sink], None]
    takes_pairs: bool = False


FORMATS: Final[dict[str, Target]] = {
    "perfetto": Target(".pftrace", "ui.perfetto.dev and trace_processor", perfetto.write, takes_pairs=True),
    "json": Target(".jsonl", "JSON lines, one object a record", json_lines.write),
}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written where. `notes` are warnings about what the format cannot hold or did not find."""

    path: str
    records: int
    size: int
    losses: list[str]
    notes: list[str]


class _Counted:
    """A sink that counts what goes into another."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self._sink.write(data)


def export(
    trace: Trace,
    to: str,
    out: str | Sink,
    *,
    choice: Choice = ALL,
    pairs: tuple[Pair, ...] = (),
    progress: Progress | None = None,
) -> Exported:
    """Write an opened trace in the format `to` (one of `FORMATS`) to a path, or into an open sink.

    A file appears whole or not at all. Raises `Unusable` for a format, pair or place that cannot serve, `OSError`
    naming the file for one that cannot be written.
    """
    if to not in FORMATS:
        raise Unusable(f"there is no format '{to}'; there are: {', '.join(FORMATS)}")
    target = FORMATS[to]
    if pairs and not target.takes_pairs:
        able = ", ".join(name for name, each in FORMATS.items() if each.takes_pairs)
        raise Unusable(f"'{to}' has no slices for pairs of events; {able} has")
    check(pairs, trace.events.values())
    job = Job(trace, choice, pairs, progress)
    if isinstance(out, str):
        with OutputFile(out) as output:
            size = _write(target, job, output)
    else:
        size = _write(target, job, out)
    return Exported(out if isinstance(out, str) else "", job.records, size, job.losses, job.notes)


def _write(target: Target, job: Job, sink: Sink) -> int:
    counted = _Counted(sink)
    target.write(job, counted)
    return counted.size


def default_out(path: str, to: str) -> str:
    """Return the file beside a trace that an export of it is written to.

    >>> default_out("/tmp/trace.dat", "perfetto")
    '/tmp/trace.pftrace'
    """
    base, extension = os.path.splitext(path)
    return (base if extension in (".dat", ".part", ".data") else path) + FORMATS[to].suffix
