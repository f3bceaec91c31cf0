"""`userevents hist`: how often each value of a field occurs, in a trace or live."""

import contextlib
import json
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import click

from .complete import complete_hist
from .console import time_option
from .options import where_option
from .reach import tracefs_option

if TYPE_CHECKING:
    from ..control import Access
    from ..control.live_hist import LiveHist
    from ..formats.counting import Axis, Counts
    from .console import Progress

_TURN_S = 0.1
_TOP = 40
_BAR_SIZE = 40


def _axes(ctx: click.Context, param: click.Parameter, value: str) -> "tuple[Axis, ...]":
    from ..formats.counting import Axis

    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        raise click.BadParameter("name a field, or several with commas between")
    return tuple(map(Axis, names))


def _bucket(ctx: click.Context, param: click.Parameter, value: str | None) -> "str | int":
    if value is None or value == "log2":
        return value or ""
    if not value.isascii() or not value.isdigit() or not 0 < int(value) < 1 << 32:
        raise click.BadParameter(f"'{value}' is neither log2 nor a width, such as 100")
    return int(value)


@click.command()
@click.option(
    "--key", "axes", required=True, callback=_axes, metavar="F[,F2]", help="The field whose values are counted."
)
@click.option("--bucket", callback=_bucket, metavar="log2|N", help="Group numbers by powers of two, or by N.")
@click.option("--val", "values", multiple=True, metavar="F", help="Add up this field, too. Repeatable.")
@where_option
@click.option("-n", "--top", "top", type=click.IntRange(0), default=_TOP, show_default=True, help="Rows shown, 0: all.")
@click.option(
    "--duration", "--for", "for_s", callback=time_option, metavar="TIME", help="Live: count for so long [until Ctrl-C]."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a row, and one of totals.")
@tracefs_option
@click.argument("words", nargs=-1, required=True, metavar="[FILE] EVENT", shell_complete=complete_hist)
def hist(
    axes: "tuple[Axis, ...]",
    bucket: str | int,
    values: tuple[str, ...],
    where: str,
    top: int,
    for_s: float | None,
    as_json: bool,
    tracefs: str | None,
    words: tuple[str, ...],
) -> None:
    """Count the records of EVENT ([SYSTEM:]EVENT with * ? []) by the values of a field.

    With FILE: those of a trace. Without: those that happen from now on, counted by the tracer (the kernel's hist
    trigger), until Ctrl-C or --duration TIME. Both count alike. common_pid and common_cpu are fields of every event.

    \b
    userevents hist trace.dat request --key path
    userevents hist request --key latency_ns --bucket log2 --duration 5s
    """
    from ..formats.counting import Axis

    if len(words) > 2:
        raise click.UsageError("give EVENT, or FILE and EVENT")
    if len(words) == 2 and (for_s is not None or tracefs):
        raise click.UsageError("--duration and --tracefs are for live events; a FILE has its own")
    question = _Question(words[-1], tuple(Axis(axis.field, bucket) for axis in axes), values, where)
    counts = _of_file(words[0], question) if len(words) == 2 else _live(tracefs, question, for_s)
    _show_json(counts) if as_json else _show(counts, top)


class _Question(NamedTuple):
    """What is counted: records of these events that pass a filter, by keys, with sums of values."""

    event: str
    axes: "tuple[Axis, ...]"
    values: tuple[str, ...]
    where: str


def _of_file(file: str, question: _Question) -> "Counts":
    from ..formats.choice import Pattern
    from ..formats.counting import count
    from .console import Progress
    from .opening import opened
    from .reach import kernel_text

    with opened(file) as trace, Progress(lambda done: f"reading {file}: {done} %") as progress:
        source = trace.source

        def told() -> None:
            progress.at(100 * source.done_size // max(source.data_size, 1))

        event, axes, values, where = question
        return count(trace, Pattern.parse(event), axes, values, kernel_text(where), told)


def _live(tracefs: str | None, question: _Question, for_s: float | None) -> "Counts":
    from .console import log_trouble
    from .reach import failing
    from .tracing import reached_or_own

    with failing(), reached_or_own(tracefs, log_trouble) as access:
        return _count_live(access, question, for_s)


def _count_live(access: "Access", question: _Question, for_s: float | None) -> "Counts":
    from ..control.events import Pattern
    from ..control.live_hist import HistKey, LiveHist
    from ..errors import Refused
    from ..formats.counting import Counts, Entry, ordered
    from .console import Progress, details, say
    from .reach import kernel_text, shown

    event, axes, values, where = question
    keys = [HistKey(kernel_text(axis.field), axis.bucket) for axis in axes]
    pattern = Pattern.parse(kernel_text(event))
    with contextlib.closing(LiveHist(access, pattern, keys, [*map(kernel_text, values)], kernel_text(where))) as live:
        try:
            live.look()
            if not live.events:
                say(f"no event matches '{event}' yet; waiting for one")
            with Progress(lambda hits: f"{hits:,} records counted; Ctrl-C shows them") as progress:
                _wait(live, for_s, progress)
        except Refused as refused:
            say(str(refused), color="red")
            details(shown(live.log).splitlines())
            sys.exit(1)
        table = live.table()
    entries = [
        Entry(tuple(shown(part) if isinstance(part, str) else part for part in row.key), row.hits, row.sums)
        for row in table.rows
    ]
    return Counts(axes, values, ordered(axes, entries), table.hits, table.dropped)


def _wait(live: "LiveHist", for_s: float | None, progress: "Progress") -> None:
    """Let the tree count until it is time to end."""
    from .console import Stop

    stop = Stop()
    end = None if for_s is None else time.monotonic() + for_s
    while not stop and (end is None or time.monotonic() < end):
        time.sleep(_TURN_S if end is None else max(min(_TURN_S, end - time.monotonic()), 0))
        live.look()
        if progress.is_due:
            progress.at(live.table().hits)


def _show(counts: "Counts", top: int) -> None:
    """Show a bar for each row; what is not printable in a key is escaped."""
    from ..fields.escape import escape
    from .console import count, say, warn

    shown = counts.entries[:top] if top else counts.entries
    most = max((entry.hits for entry in counts.entries), default=0)
    labels = [[escape(axis.label(part)) for axis, part in zip(counts.axes, entry.key, strict=True)] for entry in shown]
    heads = [escape(axis.field).upper() for axis in counts.axes]
    widths = [max(map(len, column)) for column in zip(heads, *labels, strict=True)]
    numeric = [all(not isinstance(entry.key[place], str) for entry in shown) for place in range(len(heads))]
    sums = "".join(f"  {escape(name).upper():>15}" for name in counts.values)
    click.echo(f"{_cells(heads, widths, numeric)}  {'COUNT':>10}{sums}")
    for entry, label in zip(shown, labels, strict=True):
        added = "".join(f"  {number:>15,}" for number in entry.sums)
        bar = "█" * max(round(_BAR_SIZE * entry.hits / most), 1)
        click.echo(f"{_cells(label, widths, numeric)}  {entry.hits:>10,}{added}  {bar}")
    rest = len(counts.entries) - len(shown)
    more = f", {rest:,} of them not shown (--top 0 shows all)" if rest else ""
    sys.stdout.flush()
    say(f"{count(counts.hits, 'record')}, {count(len(counts.entries), 'key')}{more}")
    if counts.dropped:
        warn(f"{count(counts.dropped, 'record')} had keys for which the tracer's table has no room")


def _cells(cells: list[str], widths: list[int], numeric: list[bool]) -> str:
    return "  ".join(
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    )


def _show_json(counts: "Counts") -> None:
    for entry in counts.entries:
        key = {axis.field: part for axis, part in zip(counts.axes, entry.key, strict=True)}
        sums = dict(zip(counts.values, entry.sums, strict=True))
        label = ", ".join(axis.label(part) for axis, part in zip(counts.axes, entry.key, strict=True))
        click.echo(json.dumps({"key": key, "label": label, "count": entry.hits, "sums": sums}))
    click.echo(json.dumps({"records": counts.hits, "keys": len(counts.entries), "dropped": counts.dropped}))
