"""`userevents fleet unregister`: delete a persistent event of a fleet."""

import json
import sys
from typing import TYPE_CHECKING

import click

from .fleeting import Credentials, complete_fleet_event, fleet_options, with_broker

if TYPE_CHECKING:
    from ..fleet.broker import Broker


@click.command()
@fleet_options
@click.option("--json", "as_json", is_flag=True, help="Tell what was deleted as a JSON object.")
@click.argument("event", shell_complete=complete_fleet_event)
def unregister(servers: str, credentials: Credentials, as_json: bool, event: str) -> None:
    """Delete the persistent event EVENT ([SYSTEM:]EVENT with * ? []) from the fleet, and from each of its hosts.

    Only an event that no host uses can be deleted (else EBUSY). One that does not persist goes by itself.
    """

    async def delete(broker: "Broker") -> list[str]:
        from ..fleet.wishing import delete_event

        return await delete_event(broker, event)

    from .console import say

    deleted = with_broker(servers, credentials, delete)
    if as_json:
        sys.stdout.write(json.dumps({"deleted": deleted}) + "\n")
    else:
        for declaration in deleted:
            say(f"{declaration}: deleted")
