"""`userevents report`: what a trace holds, as a table, lines like trace-cmd's, JSON, or a summary."""

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import click

if TYPE_CHECKING:
    from ..formats import Record, Trace
    from ..formats.summary import Pattern, Summary, Top

_LINES_AT_ONCE = 256
_TOP_LIMIT = 10


class Wish(NamedTuple):
    """What was asked for on the command line."""

    form: str
    summary: bool
    top: str | None
    limit: int | None
    patterns: "tuple[Pattern, ...]"
    pids: frozenset[int]


@click.command()
@click.argument("file", type=click.Path())
@click.option("--format", "form", type=click.Choice(["table", "text", "json"]), default="table", show_default=True)
@click.option("--summary", is_flag=True, help="Events by process with counts and rates, and the loss ledger.")
@click.option("--top", metavar="EVENT.FIELD", help="The records with the highest values of a number field.")
@click.option("-n", "limit", type=click.IntRange(1), help="At most so many records [with --top: 10].")
@click.option("-e", "patterns", multiple=True, metavar="PATTERN", help="Only [SYSTEM:]EVENT, with * ? []. Repeatable.")
@click.option("-p", "--pid", "pids", multiple=True, type=click.IntRange(0), help="Only this process. Repeatable.")
def report(
    file: str,
    form: str,
    summary: bool,
    top: str | None,
    limit: int | None,
    patterns: tuple[str, ...],
    pids: tuple[int, ...],
) -> None:
    """Show what the trace FILE holds, in time order over all processes and CPUs.

    FILE is a trace.dat (of record, or of trace-cmd) or the FILE.part of a recorder that was killed. `text` is like
    the lines of trace-cmd report; `json` is one object per record, bytes as {"hex": ...}. What is not printable
    is escaped. What was lost is said first: on stdout before a table or summary, on stderr otherwise.
    """
    from ..errors import Malformed
    from ..formats import open_trace
    from ..formats.summary import Pattern

    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")
    wish = Wish(form, summary, top, limit, tuple(map(Pattern.parse, patterns)), frozenset(pids))
    try:
        with open_trace(file) as trace:
            _show(trace, wish)
    except Malformed as error:
        _unreadable(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        _unreadable(f"'{file}' cannot be read: {error.strerror or error}")


def _unreadable(text: str) -> NoReturn:
    from ..fields.escape import printable
    from .console import fail

    fail(printable(text))


def _show(trace: "Trace", wish: Wish) -> None:
    from ..formats.summary import chosen

    top = _top(trace, wish)
    _tell_losses(trace, wish)
    told = _tell_notes(trace, 0)
    records = chosen(trace.records(), wish.patterns, wish.pids)
    if wish.summary or top:
        _show_digest(trace, wish, records, top)
    else:
        _show_records(records, wish)
    sys.stdout.flush()
    _tell_notes(trace, told)


def _top(trace: "Trace", wish: Wish) -> "Top | None":
    """Return what collects the highest records; a field that no event has is a wrong request."""
    from ..fields.escape import printable
    from ..formats.summary import Top

    if wish.top is None:
        return None
    event, dot, key = wish.top.rpartition(".")
    if not dot:
        raise click.BadParameter(f"'{wish.top}' names no field; write EVENT.FIELD", param_hint="--top")
    top = Top(event, key, wish.limit or _TOP_LIMIT)
    matching = [each for each in trace.events.values() if top.pattern.matches(each)]
    if any(key in each.keys for each in matching):
        return top
    names = sorted({name for each in matching for name in each.keys})
    found = f"its fields are {', '.join(names) or 'none'}" if matching else "the trace has no such event"
    raise click.BadParameter(printable(f"event '{event}' has no field '{key}': {found}"), param_hint="--top")


def _tell_losses(trace: "Trace", wish: Wish) -> None:
    from ..fields.escape import printable
    from .console import warn

    on_stdout = wish.form == "table"
    for sentence in trace.losses():
        if on_stdout:
            click.echo(f"LOSSES: {printable(sentence)}")
        else:
            warn(printable(sentence))


def _tell_notes(trace: "Trace", told: int) -> int:
    """Say on stderr what is noteworthy about the trace, from number `told` on; return how many notes there are."""
    from ..fields.escape import printable
    from .console import warn

    for note in trace.notes[told:]:
        warn(printable(note))
    return len(trace.notes)


def _show_records(records: "Iterable[Record]", wish: Wish) -> None:
    from ..formats import text

    makers: dict[str, Callable[[Record], str]] = {
        "table": text.table_line,
        "text": text.text_line,
        "json": text.json_line,
    }
    make = makers[wish.form]
    lines = [text.TABLE_HEAD] if wish.form == "table" else []
    for number, record in enumerate(records, 1):
        lines.append(make(record))
        if len(lines) >= _LINES_AT_ONCE:
            sys.stdout.write("\n".join(lines) + "\n")
            lines.clear()
        if number == wish.limit:
            break
    if lines:
        sys.stdout.write("\n".join(lines) + "\n")


def _show_digest(trace: "Trace", wish: Wish, records: "Iterable[Record]", top: "Top | None") -> None:
    """Read all records once, for the summary and the highest ones together, and show them."""
    from ..formats.summary import Summary, process_names
    from .tables import show_ledger, show_summary, show_top

    summary = Summary()
    names = process_names(trace.processes)
    for record in records:
        if wish.summary:
            summary.add(record, names)
        if top:
            top.add(record)
    if wish.form == "json":
        _write_json(trace, summary if wish.summary else None, top)
        return
    if wish.summary:
        show_summary(trace, summary)
    if top:
        show_top(top)
    if wish.summary:
        show_ledger(trace.ledger)


def _write_json(trace: "Trace", summary: "Summary | None", top: "Top | None") -> None:
    import json

    from ..formats.summary import summary_json
    from ..formats.text import json_line

    if summary is not None:
        click.echo(json.dumps(summary_json(summary, trace.ledger)))
    for record in top.records() if top else ():
        click.echo(json_line(record))
