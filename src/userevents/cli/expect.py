"""`run --expect`: what must come of a program, looked at while it runs and told at the end."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import IO, Any

import click

from ..control.events import EventName
from ..engine import UserEvent, Writer
from ..fields import decode
from ..fields.near import instead
from ..formats.text import show_time, show_values
from ..host import Tracer
from ..instance import Selection as ProcessSelection
from ..instance import Watch
from .complete import complete_event
from .console import count, details, say, warn
from .expectation import Denied, Expectation, Observed, Seen, Selection, Wrong
from .reach import shown

UNMET = 1
_CATCH_UPS = 1000


def expect_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --expect and --json, as `expectations` and `results`."""
    command = click.option(
        "--json",
        "results",
        type=click.File("w", lazy=False),  # what cannot be written is told before the PROGRAM runs
        metavar="FILE",
        help="Write what became of the expectations to FILE, as JSON.",
    )(command)
    return click.option(
        "--expect",
        "expectations",
        multiple=True,
        metavar="'EVENT>=3'",
        callback=_expectations,
        shell_complete=complete_event,
        help="Fail unless this comes: 'EVENT', 'EVENT==0', 'EVENT.FIELD==7 >= 2', 'A before B'. Repeatable.",
    )(command)


def _expectations(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> list[Expectation]:
    try:
        return [Expectation(os.fsencode(text).decode("latin-1")) for text in value]
    except Wrong as wrong:
        raise click.BadParameter(shown(str(wrong))) from None


@contextlib.contextmanager
def expecting(tracer: Tracer, expectations: list[Expectation]) -> Iterator[Observed]:
    """Look at all that the descendants of this process declare and write, from now on until this ends."""
    observed = Observed(expectations)
    if not expectations:
        yield observed
        return

    def keep(event: UserEvent, ts_ns: int, body: bytes, writer: Writer) -> None:
        observed.take(Seen(_name(event), event.fields, ts_ns, body, writer.cpu, writer.comm, writer.tid))

    watch = tracer.loop.call(lambda: _watch(tracer, keep, observed))
    lost_before = tracer.loop.call(tracer.lost)
    try:
        yield observed
    finally:
        _catch_up(tracer)
        observed.lost = tracer.loop.call(tracer.lost) - lost_before + watch.lost
        tracer.loop.call(lambda: tracer.remove_instance(watch.name))


def _watch(tracer: Tracer, keep: Callable[[UserEvent, int, bytes, Writer], None], observed: Observed) -> Watch:
    watch = Watch(
        f"expect-{os.getpid()}",
        tracer.group,
        tracer.instances[""].machine,
        keep,
        lambda event: observed.declare(_name(event), event.fields),
        lambda text, who, refused: observed.refuse(Denied(text, who, str(refused))),
    )
    watch.set_selection(ProcessSelection.parse(f"tree {os.getpid()}"))
    tracer.add_instance(watch)
    return watch


def _name(event: UserEvent) -> EventName:
    return EventName(event.system, event.tracepoint_name)


def _catch_up(tracer: Tracer) -> None:
    """Take in all that was written before now."""
    for _ in range(_CATCH_UPS):
        if not tracer.loop.call(tracer.drain):
            return


def verdict(observed: Observed, code: int, results: IO[str] | None, *, quiet: bool) -> int:
    """Tell what became of the expectations; returns the exit code: the program's, or 1 if only they failed."""
    unmet = [expectation for expectation in observed.expectations if not expectation.is_met]
    total = count(len(observed.expectations), "expectation")
    if unmet:
        warn(f"{len(unmet)} of {total} not met" + (f" (and the program ended with {code})" if code else ""))
        told: set[str] = set()
        for expectation in unmet:
            details([shown(line) for line in _why(observed, expectation, told)])
    elif observed.expectations and not quiet:
        say(f"{total} met")
    if observed.lost:
        warn(f"{count(observed.lost, 'record')} were lost on the way, so the counts may be too low")
    if results is not None:
        try:
            results.write(json.dumps(_facts(observed, code)) + "\n")
            results.close()
        except OSError as error:
            warn(f"'{results.name}': {error.strerror}")
            return code or UNMET
    return code or (UNMET if unmet else 0)


def _why(observed: Observed, expectation: Expectation, told: set[str]) -> Iterator[str]:
    """The expectation, what came instead, and the last records of its events, but for those `told` already."""
    yield f"{expectation.text}: {_what_came(observed, expectation)}"
    for selection in expectation.selections:
        yield from (f"    {reason}" for reason in selection.refusals.values())
        yield from (f"    {denied}" for denied in observed.refusals(selection))
        if selection.event not in told and (expectation.other is not None or selection.count or selection.condition):
            told.add(selection.event)
            for seen in observed.last(selection):
                yield f"    {_line(seen)}"


def _what_came(observed: Observed, expectation: Expectation) -> str:
    if any(selection.refusals for selection in expectation.selections):
        return "the condition does not suit the event"
    if expectation.other is None:
        return _came(observed, expectation.selection, expectation.wanted)
    missing = [selection for selection in expectation.selections if not selection.count]
    if missing:
        return "; ".join(f"{selection.text}: {_came(observed, selection, '')}" for selection in missing)
    return f"{expectation.other.text} came first"


def _came(observed: Observed, selection: Selection, wanted: str) -> str:
    """How many came, and why there were none."""
    declared = [key for key, event in observed.names.items() if selection.covers(event)]
    written = sum(observed.counts[key] for key in declared)
    expected = f", expected {wanted}" if wanted else ""
    if selection.count or (written and not selection.condition):
        return f"{selection.count:,} came{expected}"
    if written:
        return f"none of {written:,} passed{expected}"
    if declared:
        return f"declared, and never written{expected}"
    if any(denied.text for denied in observed.refusals(selection)):
        return f"no declaration was accepted{expected}"
    names = (event.registered_name for event in observed.names.values())
    return f"never declared; {instead(selection.pattern.event, names, 'declared were:')}"


def _line(seen: Seen) -> str:
    values = dict(zip([field.name for field in seen.fields], decode(seen.fields, seen.body), strict=True))
    return f"{show_time(seen.ts_ns)}  {seen.comm}-{seen.tid}  {seen.event.name}: {show_values(values)}"


def _facts(observed: Observed, code: int) -> dict[str, object]:
    return {
        "program_exit_code": code,
        "met": all(expectation.is_met for expectation in observed.expectations),
        "expectations": [
            {
                "expectation": shown(expectation.text),
                "met": expectation.is_met,
                "counts": [selection.count for selection in expectation.selections],
                "told": [] if expectation.is_met else [shown(line) for line in _why(observed, expectation, set())],
            }
            for expectation in observed.expectations
        ],
        "lost": observed.lost,
        "events": {shown(key): number for key, number in observed.counts.items()},
    }
