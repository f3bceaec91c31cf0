"""`userevents report`: what a trace holds, as a table, lines like trace-cmd's, JSON, or a summary."""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import click

from .options import file_argument, file_event_option, file_pid_option

if TYPE_CHECKING:
    from ..formats import Trace
    from ..formats.choice import Choice, Pattern
    from ..formats.summary import Summary, Top

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
@file_argument
@click.option("--format", "form", type=click.Choice(["table", "text", "json"]), default="table", show_default=True)
@click.option("--summary", is_flag=True, help="Events by process with counts and rates, and the loss ledger.")
@click.option("--top", metavar="EVENT.FIELD", help="The records with the highest values of a number field.")
@click.option("-n", "limit", type=click.IntRange(1), help="At most so many records [with --top: 10].")
@file_event_option
@file_pid_option
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

    FILE is a trace.dat (of record, or of trace-cmd), a perf.data with tracepoints, or the FILE.part of a recorder that
    was killed. `text` is like the lines of trace-cmd report; `json` is one object per record, bytes as {"hex": ...}.
    What is not printable is escaped. What was lost is said first: on stdout before a table or summary, on stderr
    otherwise.
    """
    from ..formats.choice import Pattern
    from .opening import opened

    wish = Wish(form, summary, top, limit, tuple(map(Pattern.parse, patterns)), frozenset(pids))
    with opened(file, losses=False) as trace:
        _show(trace, wish)


def _show(trace: "Trace", wish: Wish) -> None:
    from ..formats.choice import Choice

    top = _top(trace, wish)
    _tell_rules(trace, wish)
    _tell_losses(trace, wish)
    choice = Choice(wish.patterns, wish.pids)
    _tell_unmatched(trace, choice)
    if wish.summary or top:
        _show_digest(trace, wish, choice, top)
    else:
        _show_records(trace, wish, choice)


def _top(trace: "Trace", wish: Wish) -> "Top | None":
    """Return what collects the highest records; a field that no event has is a wrong request."""
    from ..fields.escape import printable
    from ..formats.choice import no_event
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
    if matching:
        said = f"event '{event}' has no field '{key}': its fields are {', '.join(names) or 'none'}"
    else:
        said = no_event(event, trace.events.values())
    raise click.BadParameter(printable(said), param_hint="--top")


def _tell_rules(trace: "Trace", wish: Wish) -> None:
    """Say which flight rules the trace was written for, and how its window was held."""
    from .console import say

    for line in trace.flight.lines():
        if wish.form == "table":
            click.echo(line)
        else:
            say(line)


def _tell_losses(trace: "Trace", wish: Wish) -> None:
    from ..fields.escape import printable
    from .console import warn

    on_stdout = wish.form == "table"
    for sentence in trace.losses():
        if on_stdout:
            click.echo(f"LOSSES: {printable(sentence)}")
        else:
            warn(printable(sentence))


def _tell_unmatched(trace: "Trace", choice: "Choice") -> None:
    """Say which patterns name no event of the trace: what is shown is then less than was asked for."""
    from .console import warn

    for sentence in choice.unmatched(trace.events.values()):
        warn(sentence)


def _show_records(trace: "Trace", wish: Wish, choice: "Choice") -> None:
    from ..formats import text
    from .console import warn

    if wish.form == "table":
        sys.stdout.write(text.TABLE_HEAD + "\n")
    left = wish.limit
    found_any = False
    for lines in _lines(trace, wish.form, choice):
        found_any = found_any or bool(lines)
        shown = lines if left is None else lines[:left]
        if shown:
            sys.stdout.write("\n".join(shown) + "\n")
        if left is not None:
            left -= len(shown)
            if not left:
                break
    if not found_any and wish.pids:
        warn(_no_record(trace, wish))


def _no_record(trace: "Trace", wish: Wish) -> str:
    """Return what to say where the processes that were asked for have no record, with those that the trace has."""
    asked = " or ".join(map(str, sorted(wish.pids)))
    events = f" of {' or '.join(map(str, wish.patterns))}" if wish.patterns else ""
    names = {process.pid: process.comm for process in trace.processes} or dict(trace.comms)
    known = ", ".join(f"{pid} ({name})" for pid, name in sorted(names.items())[:_TOP_LIMIT])
    more = f" and {len(names) - _TOP_LIMIT} more" if len(names) > _TOP_LIMIT else ""
    return f"the trace has no record{events} of process {asked}; it has processes {known or 'none'}{more}"


def _lines(trace: "Trace", form: str, choice: "Choice") -> "Iterable[list[str]]":
    """Return the lines of all records, many at once."""
    from ..formats import text

    if trace.hosts and form != "text":
        return _lines_of_hosts(trace, form, choice)
    if form != "json":
        return trace.lines(text.TEXT if form == "text" else text.TABLE, choice)
    lines = map(text.json_line, trace.records(choice))
    return iter(lambda: list(islice(lines, _LINES_AT_ONCE)), [])


def _lines_of_hosts(trace: "Trace", form: str, choice: "Choice") -> "Iterator[list[str]]":
    """Yield the lines of a trace of several hosts; ``~`` marks those that may have come before another host's."""
    from ..formats.order import placed
    from ..formats.text import host_line, host_table_line

    found = placed(trace.records(choice), trace.hosts)
    while some := list(islice(found, _LINES_AT_ONCE)):
        if form == "json":
            yield [host_line(each.record, each.name, each.in_doubt, {"host_pid": each.host_pid}) for each in some]
        else:
            yield [host_table_line(each.record, each.name, each.in_doubt) for each in some]


def _show_digest(trace: "Trace", wish: Wish, choice: "Choice", top: "Top | None") -> None:
    """Show the summary, and the highest records."""
    from .tables import show_hosts, show_ledger, show_summary, show_top

    summary = trace.summary(choice) if wish.summary else None
    if top:
        for row in trace.rows(choice.only(top.pattern)):
            top.add(row)
        if top.no_numbers and not top.seen:
            raise click.BadParameter(f"'{wish.top}' holds no number, and nothing else is highest", param_hint="--top")
    if wish.form == "json":
        _write_json(trace, summary, top)
        return
    if summary:
        show_summary(trace, summary)
    if top:
        show_top(top)
    if summary:
        show_hosts(trace.hosts)
        show_ledger(trace.ledger)


def _write_json(trace: "Trace", summary: "Summary | None", top: "Top | None") -> None:
    import json

    from ..formats.hosts import to_json
    from ..formats.summary import summary_json
    from ..formats.text import json_line

    if summary is not None:
        found = summary_json(summary, trace.ledger, trace.flight)
        if trace.hosts:
            found["hosts"] = list(map(to_json, trace.hosts))
        click.echo(json.dumps(found))
    for record in top.records() if top else ():
        click.echo(json_line(record))
