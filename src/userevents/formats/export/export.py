"""Which formats there are, and writing one of them."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ...errors import Unusable
from ..choice import ALL, Choice
from ..output import OutputDirectory, OutputFile
from ..pairs import Pair, check
from ..trace import Trace
from . import ctf, json_lines, otlp, parquet, perf, perfetto
from .job import Endpoint, Job, Progress, Sink

STREAM: Final = "stream"
FILE: Final = "file"
DIRECTORY: Final = "directory"
ENDPOINT: Final = "endpoint"


class Target(NamedTuple):
    """A format that traces can be written in: how its files are called, and what writes one.

    `place` is what it is written to: STREAM takes bytes only, FILE is written back in too, DIRECTORY takes files,
    ENDPOINT takes requests.
    """

    suffix: str
    place: str
    write: Callable[[Job, Any], None]
    takes_pairs: bool = False


FORMATS: Final[dict[str, Target]] = {
    "perfetto": Target(".pftrace", STREAM, perfetto.write, takes_pairs=True),
    "perf": Target(".perf.data", FILE, perf.write),
    "ctf": Target(".ctf", DIRECTORY, ctf.write),
    "parquet": Target(".parquet", DIRECTORY, parquet.write),
    "otlp": Target("", ENDPOINT, otlp.write),
    "json": Target(".jsonl", STREAM, json_lines.write),
}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written where. `notes` are warnings about what the format cannot hold or did not find."""

    path: str
    records: int
    size: int
    losses: list[str]
    notes: list[str]


def export(
    trace: Trace,
    to: str,
    out: str | Sink | Endpoint,
    *,
    choice: Choice = ALL,
    pairs: tuple[Pair, ...] = (),
    progress: Progress | None = None,
) -> Exported:
    """Write an opened trace in the format `to` (one of `FORMATS`) to a path, into an open sink, or to an endpoint.

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
    if isinstance(out, Endpoint) != (target.place == ENDPOINT):
        raise Unusable(f"'{to}' is sent to an endpoint" if target.place == ENDPOINT else f"'{to}' is not sent anywhere")
    if not isinstance(out, str | Endpoint) and target.place != STREAM:
        raise Unusable(f"'{to}' cannot be written to stdout, it is {_WHY[target.place]}: name its place with -o")
    job = Job(trace, choice, pairs, progress)
    if isinstance(out, Endpoint):
        target.write(job, out)
    elif not isinstance(out, str):
        target.write(job, job.counted(out))
    elif target.place == DIRECTORY:
        with OutputDirectory(out) as directory:
            target.write(job, directory)
    else:
        with OutputFile(out) as output:
            target.write(job, job.counted(output) if target.place == STREAM else output)
            job.size = output.tell()
    place = out.url if isinstance(out, Endpoint) else out if isinstance(out, str) else ""
    return Exported(place, job.records, job.size, job.losses, job.notes)


_WHY: Final = {FILE: "written to here and there", DIRECTORY: "a directory"}


def default_out(path: str, to: str) -> str:
    """Return the file beside a trace that an export of it is written to.

    >>> default_out("/tmp/trace.dat", "perfetto")
    '/tmp/trace.pftrace'
    """
    base, extension = os.path.splitext(path)
    return (base if extension in (".dat", ".part", ".data") else path) + FORMATS[to].suffix
