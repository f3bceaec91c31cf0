"""`userevents fleet record`: what many hosts record, as one trace."""

import sys

import click

from .console import size_option, time_option
from .fleeting import Credentials, complete_fleet_event, fleet_options, host_option
from .options import quiet_option


@click.command()
@fleet_options
@host_option
@click.option(
    "-e", "--event", "patterns", multiple=True, metavar="PATTERN", shell_complete=complete_fleet_event,
    help="Only these events, [SYSTEM:]EVENT with * ? []; recorded meanwhile where nobody has enabled them. Repeatable.",
)  # fmt: skip
@click.option(
    "-o", "--output", default="trace.dat", show_default=True, metavar="FILE", help="Where the trace goes (mode 0600)."
)
@click.option("--duration", callback=time_option, metavar="TIME", help="Stop recording after this long (10s, 5m).")
@click.option("--max-size", callback=size_option, metavar="SIZE", help="Stop at this much data (64M).")
@click.option("--resume", is_flag=True, help="Go on with the FILE.part of a recorder that was killed.")
@quiet_option
def record(
    servers: str,
    credentials: Credentials,
    hosts: str,
    patterns: tuple[str, ...],
    output: str,
    duration: float | None,
    max_size: int | None,
    resume: bool,
    quiet: bool,
) -> None:
    """Record what the hosts of the fleet send, until Ctrl-C, as one trace in the order of one clock.

    Without -e it is what is enabled ('fleet enable'). Hosts that join meanwhile are in the trace, too. Their clocks are
    compared with this machine's all the while; 'report' marks with ~ what may have been in another order. With --resume
    a recording that was cut goes on where it was, with nothing doubled, as far as the broker has kept what came.

    \b
    userevents fleet record -e 'http_*' -o web.dat --duration 30s
    userevents fleet record --host 'web-*'
    """
    from .fleet_recording import FleetRecording, Wish

    wish = Wish(hosts, patterns, output, duration, max_size, resume, quiet)
    sys.exit(FleetRecording(wish).run(servers, credentials))
