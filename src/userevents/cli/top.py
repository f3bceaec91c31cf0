"""`userevents top`: what live programs' events do, on a screen."""

import sys

import click

from .console import fail
from .reach import tracefs_option


@click.command()
@tracefs_option
def top(tracefs: str | None) -> None:
    """Watch the events of live programs: rates, bits, losses; switch events on and see what they say.

    The keys stand at the bottom. What is switched on here is on for this screen only, in an instance of its own, and
    off again at the end. Rates are of events that somebody has on: one that is off counts nothing. Events of native
    programs, and with --tracefs those of a kernel, are counted while they are on here.
    """
    try:
        from .top_screen import Top
    except ImportError:
        fail("top needs textual, which is not installed: pip install 'userevents[tui]'")
    from .reach import failing
    from .tracing import reached_or_own
    from .watching import watching

    if not sys.stdout.isatty():
        fail("top needs a terminal; userevents list --json and userevents tail --json are for programs")
    with failing(), reached_or_own(tracefs) as access, watching(access, sessions=tracefs is None) as watch:
        Top(watch).run()
