"""`userevents fleet filter`: keep only the records of events that pass an expression, on the hosts of a fleet."""

import click

from .fleeting import Credentials, complete_fleet_event, fleet_options, host_option
from .options import filter_expression


@click.command("filter")
@fleet_options
@host_option
@click.option("--json", "as_json", is_flag=True, help="Tell what was done as a JSON object.")
@click.option("--clear", is_flag=True, help="Keep everything again.")
@click.argument("event", shell_complete=complete_fleet_event)
@click.argument("expression", required=False, callback=filter_expression)
def filter_(
    servers: str, credentials: Credentials, hosts: str, as_json: bool, clear: bool, event: str, expression: str | None
) -> None:
    """Keep only the records of EVENT ([SYSTEM:]EVENT with * ? []) for which EXPRESSION is true.

    As set-filter does on one host: what does not pass is not sent by its host. It holds for hosts to come, too; the
    last filter that matches an event decides. An event that lacks a field of it is not filtered: 'fleet info' says so.

    \b
    userevents fleet filter request 'latency_ns > 1000000'
    userevents fleet filter request --clear
    """
    from .fleet_wishing import wish_for

    if clear == (expression is not None):
        raise click.UsageError("give an EXPRESSION or --clear, one of them")
    wish_for("filter", (event,), hosts, servers, credentials, as_json, expression or "")
