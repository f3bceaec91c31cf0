"""`userevents export`: a trace as a file that other tools open."""

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from .complete import complete_file_event

if TYPE_CHECKING:
    from ..formats import Trace
    from ..formats.export import Exported, Sink

# The keys of formats.export.FORMATS, known without importing it; a test holds them together.
FORMATS = ("perfetto", "json")
_QUIET_S = 0.5


@click.command()
@click.argument("file", type=click.Path())
@click.option("--to", required=True, type=click.Choice(FORMATS), help="What to write.")
@click.option("-o", "--output", type=click.Path(), help="Where to [default: beside FILE]; - is stdout.")
@click.option(
    "-e",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    shell_complete=complete_file_event,
    help="Only [SYSTEM:]EVENT, with * ? []. Repeatable.",
)
@click.option("-p", "--pid", "pids", multiple=True, type=click.IntRange(0), help="Only this process. Repeatable.")
@click.option(
    "--pair",
    "pairs",
    multiple=True,
    metavar="BEGIN:END:KEY",
    help="Two events with the same KEY as a slice (perfetto), such as request_begin:request_end:id. Repeatable.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors.")
def export(
    file: str,
    to: str,
    output: str | None,
    patterns: tuple[str, ...],
    pids: tuple[int, ...],
    pairs: tuple[str, ...],
    quiet: bool,
) -> None:
    """Write the trace FILE in a format that other tools open.

    \b
    perfetto   FILE.pftrace      ui.perfetto.dev, trace_processor
    json       FILE.jsonl        one object a line, behind a line of metadata

    FILE is whatever `report` reads. It is streamed: memory stays small whatever the size. What was lost is in the
    result, as far as its format has a place for it, and is said here.
    """
    from ..errors import Malformed, Unusable
    from ..fields.escape import printable
    from ..formats import open_trace
    from .console import fail

    out = _place(file, to, output)
    try:
        with open_trace(file) as trace:
            done = _export(trace, to, out, patterns, frozenset(pids), pairs, quiet)
            notes = [*trace.notes, *done.notes]
    except (Malformed, Unusable) as error:
        fail(printable(str(error)))
    except BrokenPipeError:
        raise
    except OSError as error:
        fail(printable(f"'{error.filename or file}': {error.strerror or error}"))
    _tell(done, notes, quiet)


def _place(file: str, to: str, output: str | None) -> str:
    """Return where to write; what lies there already is only replaced if it was named."""
    from ..fields.escape import printable
    from ..formats.export import default_out

    if output == "-" and sys.stdout.isatty():
        raise click.UsageError("the result is no text for a terminal; redirect it, or name a file with -o")
    out = output or default_out(file, to)
    if output is None and os.path.lexists(out):
        raise click.UsageError(printable(f"'{out}' is there already; name the file to write with -o"))
    if os.path.realpath(out) == os.path.realpath(file):
        raise click.UsageError(printable(f"'{out}' is the trace itself; name another file with -o"))
    return out


def _export(
    trace: "Trace",
    to: str,
    out: str,
    patterns: tuple[str, ...],
    pids: frozenset[int],
    pairs: tuple[str, ...],
    quiet: bool,
) -> "Exported":
    from ..formats.choice import Choice, Pattern
    from ..formats.export import export as write
    from ..formats.pairs import Pair

    sink: str | Sink = sys.stdout.buffer if out == "-" else out
    with _Bar(f"exporting {trace.path}", enabled=not quiet) as bar:
        done = write(
            trace,
            to,
            sink,
            choice=Choice(map(Pattern.parse, patterns), pids),
            pairs=tuple(map(Pair.parse, pairs)),
            progress=bar.show,
        )
    if out == "-":
        sys.stdout.buffer.flush()
    return done


def _tell(done: "Exported", notes: list[str], quiet: bool) -> None:
    from .console import count, human_size, say, warn

    for text in [*notes, *done.losses]:
        warn(text)
    if not quiet and done.path:
        say(f"{count(done.records, 'event')}, {human_size(done.size)}: {done.path}")


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
