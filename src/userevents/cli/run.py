"""`userevents run`: one native program that finds user_events where it looks for them."""

import os
import sys
from typing import IO

import click

from .console import fail, say
from .expect import expect_options, expecting, verdict
from .expectation import Expectation
from .launch import NOT_EXECUTABLE, NOT_FOUND


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option(
    "--door",
    type=click.Choice(["auto", "fuse"]),
    default="auto",
    show_default=True,
    help="How the program reaches the tracer: fuse is a file system of its own.",
)
@expect_options
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    door: str, expectations: list[Expectation], results: IO[str] | None, quiet: bool, program: tuple[str, ...]
) -> None:
    """Run PROGRAM and its children with a tracing tree of their own at /sys/kernel/tracing. Needs no root.

    For native programs that use user_events. Nobody else sees that tree; this process is the tracer, so that
    'userevents enable', 'cat' and all the others drive it from outside. The exit code is the PROGRAM's.

    \b
    userevents run -- ./server --port 8080
    userevents run -- sh -c 'echo 1 > /sys/kernel/tracing/events/enable; ./server; cat /sys/kernel/tracing/trace'
    """
    from ..doors.fuse import PrivateMount
    from ..errors import Unusable
    from .launch import Program, find_program
    from .reach import failing
    from .serving import serving

    try:
        path = find_program(program[0])
    except Unusable as error:
        fail(str(error), NOT_FOUND if "not found" in str(error) else NOT_EXECUTABLE)
    with failing(), serving() as served, expecting(served.tracer, expectations) as observed:
        private = PrivateMount(path, program, os.environ | served.tracing.environment())
        with served.door(private.mounted):
            if not quiet:
                say(f"'{program[0]}' finds user_events at /sys/kernel/tracing (door: fuse)")
            running = Program(private.process)
            private.go()
            code = running.wait()
    sys.exit(verdict(observed, code, results, quiet=quiet))
