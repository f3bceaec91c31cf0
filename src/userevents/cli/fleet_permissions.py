"""`userevents fleet permissions`: what a broker must permit."""

import json
import sys

import click


@click.command()
@click.option("--operator", is_flag=True, help="Those of whoever works with the fleet, instead of a host's.")
@click.argument("host", required=False)
def permissions(operator: bool, host: str | None) -> None:
    """Print the least that a broker must permit the agent of HOST, as JSON that NATS configurations take.

    With them a host can tell only of itself: what it writes ends with its own name.

    \b
    userevents fleet permissions web1.example
    userevents fleet permissions --operator
    """
    from ..fleet.permissions import of_host, of_operator

    if operator == (host is not None):
        raise click.UsageError("name a HOST, or say --operator")
    sys.stdout.write(json.dumps(of_operator() if host is None else of_host(host), indent=2) + "\n")
