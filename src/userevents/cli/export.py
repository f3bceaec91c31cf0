"""`userevents export`: a trace as a file that other tools open."""

import os
import sys
import time
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from .opening import check_output, opened
from .options import file_argument, file_event_option, file_pid_option, quiet_option
from .spans import pair_option

if TYPE_CHECKING:
    from ..formats.export import Endpoint
    from ..formats.pairs import Pair

# The keys of formats.export.FORMATS, known without importing it; a test holds them together.
FORMATS = ("perfetto", "perf", "ctf", "parquet", "otlp", "json")
_QUIET_S = 0.5
_ENDPOINT = "http://localhost:4318"


def _assignments(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Read NAME=VALUE words. For an option's callback."""
    found = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"'{value}' is no NAME=VALUE")
        found[name.strip()] = text.strip()
    return found


@click.command()
@file_argument
@click.option("--to", required=True, type=click.Choice(FORMATS), help="What to write.")
@click.option("-o", "--output", type=click.Path(), help="Where to [default: beside FILE]; - is stdout.")
@file_event_option
@file_pid_option
@pair_option
@click.option("--endpoint", metavar="URL", help=f"The collector (otlp) [default: {_ENDPOINT}, or as OTEL_* say].")
@click.option(
    "--header", "headers", multiple=True, metavar="NAME=VALUE", callback=_assignments, help="Sent to the collector."
)
@click.option(
    "--resource",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_assignments,
    help="An attribute of the resource (otlp).",
)
@quiet_option
def export(
    file: str,
    to: str,
    output: str | None,
    patterns: tuple[str, ...],
    pids: tuple[int, ...],
    pairs: "tuple[Pair, ...]",
    endpoint: str | None,
    headers: dict[str, str],
    resource: dict[str, str],
    quiet: bool,
) -> None:
    """Write the trace FILE in a format that other tools open.

    \b
    perfetto   FILE.pftrace      ui.perfetto.dev, trace_processor; --pair adds slices
    perf       FILE.perf.data    perf script, perf report
    ctf        FILE.ctf/         babeltrace2, Trace Compass
    parquet    FILE.parquet/     a table for each event: DuckDB, pandas, Spark
    otlp       to a collector    OpenTelemetry logs over HTTP
    json       FILE.jsonl        one object a line, behind a line of metadata

    FILE is whatever `report` reads. It is streamed: memory stays small whatever the size. What was lost is in the
    result, as far as its format has a place for it, and is said here.
    """
    from ..formats.choice import Choice, Pattern
    from ..formats.export import export as write
    from .console import count, human_size, say, warn

    for name, given in (("--endpoint", endpoint), ("--header", headers), ("--resource", resource)):
        if given and to != "otlp":
            raise click.UsageError(f"{name} is for --to otlp")
    out = _endpoint(endpoint, headers, resource, output) if to == "otlp" else _place(file, to, output)
    with opened(file, pairs, losses=False) as trace, _Bar(f"exporting {file}", enabled=not quiet) as bar:
        choice = Choice(map(Pattern.parse, patterns), frozenset(pids))
        for sentence in choice.unmatched(trace.events.values()):
            warn(sentence)
        done = write(trace, to, out, choice=choice, pairs=pairs, progress=bar.show)
    for text in [*done.notes, *done.losses]:
        warn(text)
    if not quiet and done.path:
        say(f"{count(done.records, 'event')}, {human_size(done.size)}: {done.path}")


def _place(file: str, to: str, output: str | None) -> "str | BinaryIO":
    """Return where to write; what lies there already is only replaced if it was named."""
    from ..formats.export import default_out

    if output == "-":
        if sys.stdout.isatty():
            raise click.UsageError("the result is no text for a terminal; redirect it, or name a file with -o")
        return sys.stdout.buffer
    out = output or default_out(file, to)
    check_output(file, out, is_named=output is not None)
    return out


def _endpoint(url: str | None, headers: dict[str, str], resource: dict[str, str], output: str | None) -> "Endpoint":
    """Return the collector: as the command line says, else as the OTEL_EXPORTER_OTLP_* variables do."""
    from ..formats.export import Endpoint

    if output is not None:
        raise click.UsageError("otlp is sent to a collector; name it with --endpoint, not -o")
    variables = os.environ
    base = variables.get("OTEL_EXPORTER_OTLP_ENDPOINT") or _ENDPOINT
    chosen = url or variables.get("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT") or base.rstrip("/") + "/v1/logs"
    said: dict[str, dict[str, str]] = {}
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_RESOURCE_ATTRIBUTES"):
        words = (word.partition("=") for word in variables.get(name, "").split(",") if "=" in word)
        said[name] = {key.strip(): value.strip() for key, _, value in words}
    if service := variables.get("OTEL_SERVICE_NAME"):
        said["OTEL_RESOURCE_ATTRIBUTES"]["service.name"] = service
    return Endpoint(chosen, said["OTEL_EXPORTER_OTLP_HEADERS"] | headers, said["OTEL_RESOURCE_ATTRIBUTES"] | resource)


class _Bar:
    """A progress bar on stderr, on a terminal only, and only for what takes a while."""

    def __init__(self, text: str, *, enabled: bool) -> None:
        self._text = text
        self._enabled = enabled and sys.stderr.isatty()
        self._since = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, total: int) -> None:
        """Show how much is done."""
        if self._bar is None:
            if not self._enabled or time.monotonic() - self._since < _QUIET_S:
                return
            self._start(total)
        self._bar.update(self._task, completed=done, total=total)

    def _start(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        from ..fields.escape import printable

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(printable(self._text), total=total)
        self._bar.start()
