"""`userevents run`: one native program that finds user_events where it looks for them."""

import os
import sys
from typing import IO

import click

from .console import fail, say
from .expect import expect_options, expecting, verdict
from .expectation import Expectation
from .options import quiet_option


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option(
    "--door",
    type=click.Choice(["auto", "fuse", "seccomp", "socket"]),
    default="auto",
    show_default=True,
    help="How the program reaches the tracer; auto takes the first of them that works here.",
)
@expect_options
@quiet_option
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    door: str, expectations: list[Expectation], results: IO[str] | None, quiet: bool, program: tuple[str, ...]
) -> None:
    """Run PROGRAM and its children with a tracing tree of their own at /sys/kernel/tracing. Needs no root.

    For native programs that use user_events. Nobody else sees that tree; this process is the tracer, so that
    'userevents enable', 'cat' and all the others drive it from outside. The exit code is the PROGRAM's, or 1 if only
    an --expect was not met.

    Doors: fuse is a file system in namespaces of the program's own; seccomp hands single files of one to a program
    that opens them for writing, without namespaces; socket needs no FUSE at all, and hides failed writes from it.

    \b
    userevents run -- ./server --port 8080
    userevents run --expect 'tick>=3' --expect 'tick.count==7' -- ./my-test
    userevents run -- sh -c 'echo 1 > /sys/kernel/tracing/events/enable; ./server; cat /sys/kernel/tracing/trace'
    """
    from .doors import behind_door
    from .launch import NOT_EXECUTABLE, NotStarted, find_or_fail
    from .reach import failing
    from .serving import serving

    path = find_or_fail(program[0])
    with (
        failing(),
        serving(beside=True) as served,
        expecting(served.tracer, expectations) as observed,
        behind_door(served, door, path, program, os.environ | served.tracing.environment()) as doored,
    ):
        if not quiet:
            say(f"'{program[0]}' finds user_events at /sys/kernel/tracing ({doored})")
            if served.is_beside:
                say(f"another tracer runs, so this one is apart: USEREVENTS_DIR={os.environ['USEREVENTS_DIR']}")
        try:
            code = doored.start().wait()
        except NotStarted as error:
            fail(str(error), NOT_EXECUTABLE)
    sys.exit(verdict(observed, code, results, quiet=quiet))
