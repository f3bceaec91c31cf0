"""`userevents fleet flight`: flight rules over many hosts."""

import sys

import click

from .console import size_option, time_option
from .fleeting import Credentials, complete_fleet_event, fleet_options, host_option
from .options import quiet_option
from .rule_options import RuleWish, rule_options


@click.command()
@fleet_options
@host_option
@click.option(
    "-e", "--event", "patterns", multiple=True, metavar="PATTERN", shell_complete=complete_fleet_event,
    help="Events to hold, [SYSTEM:]EVENT with * ? [] (default: all). Repeatable.",
)  # fmt: skip
@rule_options
@click.option("-o", "--output", metavar="DIR", default=".", show_default=True, help="A directory for the traces.")
@click.option(
    "--buffer-size", callback=size_option, metavar="SIZE", help="Memory for each program's events (64K to 64M) [2M]."
)
@click.option("--duration", callback=time_option, metavar="TIME", help="End after this long (10s, 5m).")
@quiet_option
def flight(
    servers: str,
    credentials: Credentials,
    hosts: str,
    patterns: tuple[str, ...],
    asked: RuleWish | None,
    output: str,
    buffer_size: int | None,
    duration: float | None,
    quiet: bool,
) -> None:
    """Keep the newest events in memory on every host; where a rule holds on one, write what happened around on all.

    Hosts look out for the rules (--on) by themselves and send nothing before one holds. Then each takes its window, by
    the corrected time of one clock, and the parts become one trace. Ends with Ctrl-C; hosts let go soon after, also
    when this process is killed.

    \b
    userevents fleet flight --on 'request if status >= 500' --before 10s --after 5s -o flights
    userevents fleet flight --on 'crash of worker*' --host 'web-*' -e 'http_*'
    """
    if asked is None:
        raise click.UsageError("give at least one rule: --on 'EVENT if COND'")
    from .fleet_flights import FleetRules, Wish

    sys.exit(
        FleetRules(Wish(hosts, patterns, output, buffer_size or 0, duration, quiet, asked)).run(servers, credentials)
    )
