"""`userevents fleet tail`: the events of many hosts as they happen, a line each, for a person or a pipe."""

import sys
from typing import TYPE_CHECKING

import click

from .console import time_option
from .fleeting import Credentials, complete_fleet_event, fleet_options, host_option
from .options import quiet_option, where_option

if TYPE_CHECKING:
    from ..fleet.live import Window

_WINDOW_S = 0.2


@click.command()
@fleet_options
@host_option
@where_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a record.")
@click.option("-n", "limit", type=click.IntRange(1), metavar="N", help="End after N records.")
@click.option(
    "--delay", callback=time_option, default="500ms", show_default=True, metavar="TIME",
    help="How late records may come and still be shown in their order.",
)  # fmt: skip
@quiet_option
@click.argument("events", nargs=-1, required=True, metavar="EVENT...", shell_complete=complete_fleet_event)
def tail(
    servers: str,
    credentials: Credentials,
    hosts: str,
    where: str,
    as_json: bool,
    limit: int | None,
    delay: float,
    quiet: bool,
    events: tuple[str, ...],
) -> None:
    """Show the events that EVENT... ([SYSTEM:]EVENT with * ? []) names on the hosts of the fleet, until Ctrl-C.

    They are recorded there for as long as this runs, where they are not already. Processes have the PIDs of their
    hosts, times are of this machine's monotonic clock; ~ marks a record that may have come before one of another host
    above it. EXPR is a filter as the kernel has them, and is applied here: 'fleet filter' keeps on its host what does
    not pass, for everybody.

    \b
    userevents fleet tail request --where 'latency_ns > 1000000'
    userevents fleet tail 'http_*' --host 'web-*' --json | jq .fields
    """
    from .fleet_watching import Watch, Watching

    watch = Watch(hosts, events, _WINDOW_S, delay, False, quiet, where)
    Watching(watch, _Lines(as_json, limit).show).run(servers, credentials)


class _Lines:
    """Writes the records of windows as lines."""

    def __init__(self, as_json: bool, limit: int | None) -> None:
        from ..formats.order import Shown

        self._as_json = as_json
        self._left = limit
        self._shown = Shown()

    def show(self, window: "Window") -> bool:
        """Write a window's records; False when there were enough."""
        from ..formats.order import placed
        from ..formats.text import host_line, host_table_line

        if not window.records:
            return True
        line = host_line if self._as_json else host_table_line
        for each in placed(window.trace.records(), window.trace.hosts, self._shown):
            if self._left == 0:
                break
            sys.stdout.write(f"{line(each.at_home, each.name, each.in_doubt)}\n")
            if self._left is not None:
                self._left -= 1
        return self._left != 0
