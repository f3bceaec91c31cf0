"""`userevents info`: all there is to know about an event."""

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ..fields.escape import printable
from .complete import complete_event
from .reach import tracefs_option

if TYPE_CHECKING:
    from .facts import EventFacts, Listener, Program

_LABEL_WIDTH = 14
_ENABLED = {"1": "enabled", "1*": "enabled, with triggers", "0*": "not enabled, but attached for its triggers"}


@click.command()
@tracefs_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event.")
@click.argument("events", nargs=-1, required=True, metavar="EVENT...", shell_complete=complete_event)
def info(tracefs: str | None, as_json: bool, events: tuple[str, ...]) -> None:
    """Tell all about the events that EVENT... ([SYSTEM:]EVENT with * ? []) names.

    Declaration, fields with offset and size, id; whether it persists and who holds it; which programs declare
    it, which instances listen, with which filter and triggers; what happened to it lately. Of an event that
    is gone: when it was destroyed, if the tracer remembers. Without a tracer: what live programs declare.

    Exit code 1 if a pattern names no event that exists.
    """
    from .console import warn

    found, absent = _gather(tracefs, events)
    for facts in found:
        if as_json:
            sys.stdout.write(json.dumps(facts.as_json()) + "\n")
        else:
            click.echo("\n".join(printable(line) for line in lines(facts)))
    for pattern in absent:
        warn(f"no event matches '{pattern}' (userevents list shows what live programs declare)")
    if absent or any(facts.gone for facts in found):
        sys.exit(1)


def _gather(tracefs: str | None, patterns: tuple[str, ...]) -> "tuple[list[EventFacts], list[str]]":
    """What is known of each event, each once, and the patterns that name none."""
    from .console import say, warn
    from .facts import Facts, declared_only
    from .reach import NobodyRuns, failing, reach
    from .sessions import declared_events

    declared, problems = declared_events(None, ()) if tracefs is None else ([], [])
    for problem in problems:
        warn(problem)
    with failing():
        try:
            access = reach(tracefs)
        except NobodyRuns:
            say("no tracer runs, so no event is registered and nobody holds any; this is what live programs declare")
            by_pattern = {pattern: declared_only(declared_events(pattern, ())[0]) for pattern in patterns}
        else:
            with contextlib.closing(access):
                facts = Facts(access, declared)
                by_pattern = {pattern: facts.matching(pattern) for pattern in patterns}
    each_once = {(item.event, item.declaration): item for matched in by_pattern.values() for item in matched}
    return list(each_once.values()), [pattern for pattern, matched in by_pattern.items() if not matched]


def lines(facts: "EventFacts") -> Iterator[str]:
    """What is told of one event, a blank line at the end."""
    if facts.gone:
        ago = facts.history[-1].seconds_ago if facts.history else 0.0
        yield f"{facts.event} was destroyed {ago:.1f} s ago"
    else:
        yield facts.event
    yield from _block("declaration", [facts.declaration])
    yield from _block("id", [] if facts.id is None else [str(facts.id)])
    yield from _block("persists", _persistence(facts.persist))
    yield from _block("fields", _fields(facts))
    yield from _block("held by", [f"{kind:8} {who}".rstrip() for kind, who in facts.held_by or ()])
    yield from _block("programs", [_program(program) for program in facts.programs or ()])
    yield from _block("listeners", _listeners(facts.listeners))
    yield from _block("history", [_happened(*entry) for entry in facts.history or ()])
    yield ""


def _block(label: str, told: list[str]) -> Iterator[str]:
    for number, line in enumerate(told):
        yield f"  {'' if number else label:{_LABEL_WIDTH}}{line}"


def _persistence(persist: bool | None) -> list[str]:
    if persist is None:
        return []
    return ["yes, until it is unregistered" if persist else "no: it goes when nobody holds it"]


def _fields(facts: "EventFacts") -> list[str]:
    if facts.fields is None:
        return []
    if not facts.fields:
        return ["none"]
    width = max(len("TYPE"), *(len(field.ctype) for field in facts.fields))
    table = [f"{field.offset:6}  {field.size:4}  {field.ctype:{width}}  {field.name}" for field in facts.fields]
    return [f"OFFSET  SIZE  {'TYPE':{width}}  NAME", *table]


def _program(program: "Program") -> str:
    if program.state == "refused":
        return f"pid {program.pid} refused: {program.reason} ({program.program})"
    counts = "" if program.attempts is None else f", {program.attempts:,} attempts, {program.dropped:,} lost"
    return f"pid {program.pid} {program.state}{counts} ({program.program})"


def _listeners(listeners: "list[Listener] | None") -> list[str]:
    if listeners is None:
        return []
    told = []
    for listener in listeners:
        what = [_ENABLED[listener.enabled]] if listener.enabled in _ENABLED else []
        if listener.filter_error:
            what.append(f"no filter ('{listener.filter}' was refused: {listener.filter_error})")
        elif listener.filter:
            what.append(f"filter {listener.filter}")
        what += [f"trigger {line}" for line in listener.triggers]
        if what:
            told.append(f"{listener.instance}: {'; '.join(what)}")
    return told or ["none"]


def _happened(seconds_ago: float, what: str, who: str) -> str:
    return f"{seconds_ago:10.3f} s ago  {what}" + (f": {who}" if who else "")
