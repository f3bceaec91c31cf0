"""`userevents view`: a trace in the Perfetto UI, offline."""

import os
import signal
import sys
import tempfile
import threading
import time
from typing import IO, TYPE_CHECKING

import click

from .options import file_argument
from .spans import pair_option

if TYPE_CHECKING:
    from ..formats import Trace
    from ..formats.pairs import Pair
    from .viewing import Viewing

_TURN_S = 0.1
_QUIET_NS = 3_000_000_000
"""How long after the trace was fetched nothing more is asked for, with --once."""


@click.command()
@click.option("--no-browser", is_flag=True, help="Only say the address.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Listen on this port of 127.0.0.1 [any].")
@click.option("--once", is_flag=True, help="End when the page has loaded the trace.")
@pair_option
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but the address, warnings and errors.")
@file_argument
def view(no_browser: bool, port: int, once: bool, pairs: "tuple[Pair, ...]", quiet: bool, file: str) -> None:
    """Show the trace FILE in the Perfetto UI, served from this machine to its own browser, until Ctrl-C.

    Nothing leaves the machine: the interface comes out of an installed package (extra 'view'), the address holds a
    secret and is answered on loopback only, and the page may ask nobody else for anything.

    \b
    userevents view trace.dat
    userevents view trace.dat --pair request_begin:request_end:id
    """
    from ..formats.export import default_out
    from .console import fail
    from .opening import opened
    from .viewing import Viewing, interface_files

    with opened(file, pairs) as trace, tempfile.TemporaryFile(prefix="userevents-view-") as made:
        files = interface_files()
        _export(trace, file, made, pairs, quiet)
        with Viewing(files, made, port, os.path.basename(default_out(file, "perfetto"))) as viewing:
            click.echo(viewing.url)
            sys.stdout.flush()
            if not no_browser and click.launch(viewing.url):
                fail("no browser could be started: open the address above in one (--no-browser only says it)")
            _serve(viewing, once=once, quiet=quiet)


def _export(trace: "Trace", file: str, made: IO[bytes], pairs: "tuple[Pair, ...]", quiet: bool) -> None:
    """Write the trace as the interface reads it."""
    from ..formats.export import export
    from .console import Progress

    with Progress(lambda done: f"reading {file}: {done} %", enabled=not quiet) as progress:
        export(
            trace, "perfetto", made, pairs=pairs, progress=lambda done, total: progress.at(100 * done // max(total, 1))
        )
    made.flush()


def _serve(viewing: "Viewing", *, once: bool, quiet: bool) -> None:
    from .console import ENDING, say

    stopped = threading.Event()
    for number in ENDING:
        signal.signal(number, lambda *_: stopped.set())
    if not quiet:
        say("showing it until Ctrl-C" if not once else "showing it; ends when the page has it")
    while not stopped.wait(_TURN_S):
        if once and viewing.served.is_set() and time.monotonic_ns() - viewing.last_ns > _QUIET_NS:
            return
