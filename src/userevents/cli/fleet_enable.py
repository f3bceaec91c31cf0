"""`userevents fleet enable`: have events recorded on the hosts of a fleet."""

import click

from .fleeting import Credentials, complete_fleet_event, fleet_options, host_option


@click.command()
@fleet_options
@host_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per pattern.")
@click.argument("events", nargs=-1, required=True, metavar="EVENT...", shell_complete=complete_fleet_event)
def enable(servers: str, credentials: Credentials, hosts: str, as_json: bool, events: tuple[str, ...]) -> None:
    """Have the events that EVENT... ([SYSTEM:]EVENT with * ? []) names recorded, on every host or those of --host.

    It holds for events and hosts to come, too, until it is disabled; of all that was wished, the last that matches an
    event on a host decides. Hosts that are not there now do it when they are back.

    \b
    userevents fleet enable 'http_*'
    userevents fleet enable request --host 'web-*'
    """
    from .fleet_wishing import wish_for

    wish_for("enable", events, hosts, servers, credentials, as_json)
