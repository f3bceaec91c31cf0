"""`userevents record`: trace a program, or every program, into a trace.dat."""

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import click

from .complete import complete_declared
from .console import fail, size_option, time_option
from .launch import NOT_EXECUTABLE
from .options import calls_option, provider_option, quiet_option
from .rule_options import RuleWish, rule_options

if TYPE_CHECKING:
    from .recording import Recording, Wish

_BUFFER_MAX = 64 << 20


def _is_chosen(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is not click.core.ParameterSource.DEFAULT


def _buffer_size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    size = size_option(ctx, param, value)
    if size is not None and size > _BUFFER_MAX:
        raise click.BadParameter(f"'{value}' is more than the 64M that each program can have")
    return size


def _refuse_what_does_not_go_together(
    rotate: int | None, max_size: int | None, flight: bool, calls: tuple[str, ...], is_aimed: bool
) -> None:
    if rotate and not max_size:
        raise click.UsageError("--rotate N keeps N files of --max-size; say how large: --max-size 64M")
    if calls and not is_aimed:
        raise click.UsageError("--calls watches functions of a certain program: add -- PROGRAM, or --pid PID")
    if flight and max_size:
        raise click.UsageError("--flight writes nothing before the end, so there is no --max-size to it")


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option(
    "-e",
    "--event",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    shell_complete=complete_declared,
    help="Events to record, [SYSTEM:]EVENT with * ? [] (default: all). Also those declared later. Repeatable.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where the trace goes (mode 0600) [trace.dat]; with --on a directory for its traces [.].",
)
@click.option(
    "-p",
    "--pid",
    "pids",
    multiple=True,
    type=click.IntRange(1),
    help="Record this process; attach to a running Python 3.14+ that declares nothing. Repeatable.",
)
@click.option("-a", "--all", "everyone", is_flag=True, help="With a PROGRAM: record all other programs, too.")
@click.option("--duration", callback=time_option, metavar="TIME", help="Stop recording after this long (10s, 5m).")
@click.option(
    "--max-size", callback=size_option, metavar="SIZE", help="Stop at this much data (64M), or begin the next file."
)
@click.option("--flight", is_flag=True, help="Keep only the newest, in memory; write it out at the end or by 'dump'.")
@rule_options
@click.option(
    "--buffer-size", callback=_buffer_size, metavar="SIZE", help="Memory for each program's events (64K to 64M) [2M]."
)
@click.option("--rotate", type=click.IntRange(1), metavar="N", help="Keep N files of --max-size: FILE, FILE.1, ...")
@provider_option
@click.option(
    "--door",
    type=click.Choice(["auto", "none", "fuse", "seccomp", "socket"]),
    default="auto",
    show_default=True,
    help="How native programs reach the recorder: see 'run'. auto: none for a PROGRAM that is a Python.",
)
@calls_option
@quiet_option
@click.argument("program", nargs=-1, type=click.UNPROCESSED)
def record(
    patterns: tuple[str, ...],
    output: str | None,
    pids: tuple[int, ...],
    everyone: bool,
    duration: float | None,
    max_size: int | None,
    flight: bool,
    asked: RuleWish | None,
    buffer_size: int | None,
    rotate: int | None,
    providers: tuple[str, ...],
    door: str,
    calls: tuple[str, ...],
    quiet: bool,
    program: tuple[str, ...],
) -> None:
    """Record the events of PROGRAM and all its children, or, without one, of every program until Ctrl-C.

    Unmodified Python programs are recorded too: what they log, the files they open, what they connect to
    and start (--provider). Native programs that use user_events are, in the same file (--door). The exit code is the
    PROGRAM's.

    \b
    userevents record -- python app.py
    userevents record -e 'request*' -o slow.dat --duration 10s
    userevents record -p 1234
    userevents record --calls 'shop.*:*' -- python app.py
    userevents record --calls 'shop.*:*' --pid 1234
    userevents record --flight --buffer-size 16M -- python app.py
    userevents record --flight --on 'request if status >= 500' --before 10s --after 5s -o flights
    """
    from .recording import Wish

    _refuse_what_does_not_go_together(rotate, max_size, flight, calls, bool(program or pids))
    wish = Wish(
        patterns=patterns or ("*",),
        output=output or ("." if asked else "trace.dat"),
        pids=pids,
        everyone=everyone,
        duration_s=duration,
        max_size=max_size,
        keep=rotate,
        buffer_size=buffer_size,
        providers=(*providers, "calls") if calls and "calls" not in providers else providers,
        calls=calls,
        quiet=quiet,
        argv=program,
        door=door,
        asks=_is_chosen("providers") or bool(calls),
    )
    if asked:
        from .flight_rules import RuleRecording

        _run(wish, partial(RuleRecording, asked=asked))
    from .flight import FlightRecording
    from .recording import Recording

    _run(wish, FlightRecording if flight else Recording)


def _run(wish: "Wish", kind: "Callable[[Wish, str | None], Recording]") -> NoReturn:
    """Record once, and end with the exit code."""
    from ..errors import NoTracer, Refused, Unusable
    from .launch import NotStarted, find_or_fail

    path = find_or_fail(wish.argv[0]) if wish.argv else None
    try:
        sys.exit(kind(wish, path).run())
    except NotStarted as error:
        fail(str(error), NOT_EXECUTABLE)
    except (NoTracer, Unusable, Refused) as error:
        fail(str(error))
