"""`userevents fleet list`: the hosts of a fleet and the events on them."""

import json
import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from .console import Progress
from .fleeting import Credentials, complete_fleet_event, fleet_options, host_option, with_broker

if TYPE_CHECKING:
    from ..fleet.broker import Broker
    from ..fleet.reading import EventRow, HostRow

_COLORS = {"used": "green", "leaving": "yellow", "idle": ""}


@click.command("list")
@fleet_options
@host_option
@click.option("--hosts", "only_hosts", is_flag=True, help="The hosts, not the events.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event, or per host.")
@click.argument("pattern", required=False, shell_complete=complete_fleet_event)
def list_(
    servers: str, credentials: Credentials, hosts: str, only_hosts: bool, as_json: bool, pattern: str | None
) -> None:
    """List the events of the fleet that match PATTERN ([SYSTEM:]EVENT with * ? []), and on how many hosts each is.

    STATE is 'used' while a host that lives uses the event, 'idle' for one that persists and that nobody uses, and
    'leaving' for one whose last host has just gone. An event whose fields differ between hosts has a line for each.
    """
    if only_hosts:
        found = [row for row in with_broker(servers, credentials, _hosts) if fnmatchcase(row.host, hosts)]
        _show(found, as_json, _host_table, "No host is in the fleet.")
        return

    async def events(broker: "Broker") -> "list[EventRow]":
        from ..fleet.reading import read_events

        try:
            return await read_events(broker, pattern or "*", hosts, progress.at)
        finally:
            progress.clear()

    progress = Progress(lambda done: f"{done:,} keys read")
    nothing = "No host of the fleet has a matching event." if pattern else "No host of the fleet has any event."
    _show(with_broker(servers, credentials, events), as_json, _event_table, nothing)


async def _hosts(broker: "Broker") -> "list[HostRow]":
    from ..fleet.reading import read_hosts

    return await read_hosts(broker)


def _show(rows: list[Any], as_json: bool, table: Any, nothing: str) -> None:
    if as_json:
        for row in rows:
            sys.stdout.write(json.dumps(row._asdict()) + "\n")
    elif rows:
        table(rows)
    else:
        click.echo(nothing)


def _event_table(rows: "list[EventRow]") -> None:
    from .tables import plain_table

    lines = []
    for row in rows:
        hosts = ", ".join(row.hosts[:3]) + (f" and {len(row.hosts) - 3:,} more" if len(row.hosts) > 3 else "")
        state = row.state + (", persists" if row.persistent and row.state != "idle" else "")
        recorded = {0: "", len(row.hosts): "yes"}.get(row.enabled, f"on {row.enabled:,}") if row.hosts else ""
        lines.append((row.event, (state, _COLORS[row.state]), f"{len(row.hosts):,}", recorded, row.fields, hosts))
    plain_table(("EVENT", "STATE", "HOSTS", "RECORDED", "FIELDS", "ON"), lines, numbers=("HOSTS",))


def _host_table(rows: "list[HostRow]") -> None:
    from .tables import plain_table

    lines = []
    for row in rows:
        state = ("lives", "green") if row.alive else ("gone", "yellow")
        lines.append((row.host, state, f"{row.events:,}", f"{row.lost:,}", row.since, row.release, row.version))
    columns = ("HOST", "STATE", "EVENTS", "LOST", "SINCE", "RELEASE", "USEREVENTS")
    plain_table(columns, lines, numbers=("EVENTS", "LOST"))
