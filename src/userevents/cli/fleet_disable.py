"""`userevents fleet disable`: have events of a fleet recorded no more."""

import click

from .fleeting import Credentials, complete_fleet_event, fleet_options, host_option


@click.command()
@fleet_options
@host_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per pattern.")
@click.argument("events", nargs=-1, required=True, metavar="EVENT...", shell_complete=complete_fleet_event)
def disable(servers: str, credentials: Credentials, hosts: str, as_json: bool, events: tuple[str, ...]) -> None:
    """Record the events that EVENT... ([SYSTEM:]EVENT with * ? []) names no more, on every host or those of --host.

    It may take away a part of what was enabled: after enable '*' and disable 'http_*', everything else is recorded.
    """
    from .fleet_wishing import wish_for

    wish_for("disable", events, hosts, servers, credentials, as_json)
