"""`userevents tail`: events as they happen, a line each, for a person or a pipe."""

import sys
import time
from typing import TYPE_CHECKING

import click

from .complete import complete_event
from .options import quiet_option, where_option
from .reach import tracefs_option

if TYPE_CHECKING:
    from ..control import Access
    from ..control.events import EventName
    from ..errors import Refused
    from .console import Stop
    from .following import Following

_TURN_S = 0.02
_LOOK_S = 0.1


@click.command()
@tracefs_option
@where_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a record.")
@click.option("-n", "limit", type=click.IntRange(1), metavar="N", help="End after N records.")
@quiet_option
@click.argument("events", nargs=-1, required=True, metavar="EVENT...", shell_complete=complete_event)
def tail(
    tracefs: str | None, where: str, as_json: bool, limit: int | None, quiet: bool, events: tuple[str, ...]
) -> None:
    """Show the events that EVENT... ([SYSTEM:]EVENT with * ? []) names as they happen, until Ctrl-C.

    Works through the tracer that runs, or is one itself meanwhile; nobody else's recording is touched. EXPR is a
    filter as the kernel has them. What could not be shown is said at the end.

    \b
    userevents tail request
    userevents tail 'http_*' --where 'status >= 500' --json | jq .fields
    """
    from .console import log_trouble
    from .reach import failing
    from .tracing import reached_or_own

    with failing(), reached_or_own(tracefs, log_trouble) as access:
        _Tail(access, events, where, as_json, limit, quiet).run()


class _Tail:
    """One run of the verb."""

    def __init__(
        self,
        access: "Access",
        events: tuple[str, ...],
        where: str,
        as_json: bool,
        limit: int | None,
        quiet: bool,
    ) -> None:
        from ..control.events import Pattern
        from ..formats import text
        from .reach import kernel_text

        self._access = access
        self._names = events
        self._patterns = [Pattern.parse(kernel_text(event)) for event in events]
        self._where = kernel_text(where)
        self._line = text.json_line if as_json else text.text_line
        self._left = limit
        self._quiet = quiet
        self._refused: set[str] = set()

    def run(self) -> None:
        """Show until it is over, then say what was lost."""
        from ..control.live import live
        from .console import Stop, take_any_text
        from .following import Following

        stop = Stop()
        take_any_text()
        with live(self._access, self._patterns, self._where, refused=self._tell_refused) as events:
            self._follow(Following(events), stop)
            self._tell_lost(*events.settle())

    def _follow(self, records: "Following", stop: "Stop") -> None:
        from .console import reader_left, say

        found_any = records.look()
        if not found_any and self._refused:
            sys.exit(1)
        if not found_any and not self._quiet:
            say(f"no event matches {', '.join(map(repr, self._names))} yet; waiting for one")
        looked = time.monotonic()
        while not stop and self._left != 0:
            if time.monotonic() - looked > _LOOK_S:
                records.look()
                looked = time.monotonic()
            found = records.take()
            if self._left is not None:
                found = found[: self._left]
                self._left -= len(found)
            if found and not self._write("".join(f"{self._line(record)}\n" for record in found)):
                return
            if not found:
                if reader_left():
                    return
                time.sleep(_TURN_S)

    def _write(self, lines: str) -> bool:
        """Write lines at once; False when whoever read them has gone, which is no error."""
        from .console import leave_pipe

        try:
            sys.stdout.write(lines)
            sys.stdout.flush()
        except BrokenPipeError:
            leave_pipe()
            return False
        return True

    def _tell_refused(self, name: "EventName", refused: "Refused", log: str) -> None:
        """Say why an event is not followed; if nothing else is, that is the end."""
        from .console import details, warn
        from .reach import shown

        self._refused.add(str(name))
        warn(f"{shown(str(name))} is left out: {refused}")
        details(shown(log).splitlines())

    def _tell_lost(self, overwritten: int, dropped: int) -> None:
        from .console import count, warn

        if overwritten:
            warn(f"{count(overwritten, 'record')} came faster than they were shown, and are lost")
        if dropped:
            warn(f"{count(dropped, 'record')} never left the programs that wrote them (userevents list says why)")
