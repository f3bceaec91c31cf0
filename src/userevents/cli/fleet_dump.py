"""`userevents fleet dump`: what the broker has kept, as one trace."""

import sys

import click

from .fleeting import Credentials, fleet_options, host_option
from .options import quiet_option


@click.command()
@fleet_options
@host_option
@click.option(
    "-e", "--event", "patterns", multiple=True, metavar="PATTERN",
    help="Only these events, [SYSTEM:]EVENT with * ? []. Repeatable.",
)  # fmt: skip
@click.option(
    "-o", "--output", default="trace.dat", show_default=True, metavar="FILE", help="Where the trace goes (mode 0600)."
)
@quiet_option
def dump(
    servers: str, credentials: Credentials, hosts: str, patterns: tuple[str, ...], output: str, quiet: bool
) -> None:
    """Write what the hosts of the fleet have sent, as far as the broker has kept it, as one trace.

    The broker keeps the newest (a gigabyte, a day: 'fleet init'), so what led to a failure may be had afterwards. A
    host's records begin where one of its recordings does: agents begin one every ten minutes.

    \b
    userevents fleet dump -o before.dat
    userevents fleet dump --host web-1 -e 'http_*'
    """
    from .fleet_recording import FleetRecording, Wish

    wish = Wish(hosts, patterns, output, quiet=quiet, is_live=False)
    sys.exit(FleetRecording(wish).run(servers, credentials))
