"""`userevents fleet info`: all there is to know about an event of the fleet."""

import json
import sys
from typing import TYPE_CHECKING

import click

from ..fields.escape import printable
from .fleeting import Credentials, complete_fleet_event, fleet_options, host_option, with_broker

if TYPE_CHECKING:
    from ..fleet.broker import Broker
    from ..fleet.reading import EventRow, HostRow
    from ..fleet.wishes import Wish

_HOSTS_SHOWN = 20


@click.command()
@fleet_options
@host_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event.")
@click.argument("events", nargs=-1, required=True, metavar="EVENT...", shell_complete=complete_fleet_event)
def info(servers: str, credentials: Credentials, hosts: str, as_json: bool, events: tuple[str, ...]) -> None:
    """Tell all about the events of the fleet that EVENT... ([SYSTEM:]EVENT with * ? []) names.

    Fields, state, the hosts that use it and those that made it persist, and the wishes that are about it, the last of
    which decides.

    Exit code 1 if a pattern names no event.
    """
    from .console import warn

    async def read(broker: "Broker") -> "tuple[list[EventRow], list[str], list[Wish], list[HostRow]]":
        from ..fleet.reading import read_events, read_hosts, read_wishes

        by_pattern = {pattern: await read_events(broker, pattern, hosts) for pattern in events}
        rows = dict.fromkeys(row for found in by_pattern.values() for row in found)
        absent = [pattern for pattern, found in by_pattern.items() if not found]
        return list(rows), absent, list((await read_wishes(broker))[0].all), await read_hosts(broker)

    found, absent, wishes, members = with_broker(servers, credentials, read)
    for row in found:
        about = _about(row, wishes)
        refused = _refused(row, members)
        if as_json:
            told = {"wishes": [wish._asdict() for wish in about], "refused_filters": refused}
            sys.stdout.write(json.dumps(row._asdict() | told) + "\n")
        else:
            click.echo("\n".join(printable(line) for line in _lines(row, about, refused)))
    for pattern in absent:
        warn(f"no event of the fleet matches '{pattern}' ('userevents fleet list' shows all)")
    if absent:
        sys.exit(1)


def _about(row: "EventRow", wishes: "list[Wish]") -> "list[Wish]":
    from ..fleet.reading import matches

    return [wish for wish in wishes if matches(wish.pattern, row.event)]


def _refused(row: "EventRow", members: "list[HostRow]") -> dict[str, str]:
    """Why hosts cannot filter the event, by host."""
    found = {}
    for member in members:
        refused = member.facts.get("refused_filters")
        if member.host in row.hosts and isinstance(refused, dict) and row.event in refused:
            found[member.host] = str(refused[row.event])
    return found


def _lines(row: "EventRow", wishes: "list[Wish]", refused: dict[str, str]) -> list[str]:
    lines = [row.event, f"  state         {row.state}"]
    lines += [
        f"  fields        {row.fields or 'none'}",
        f"  recorded      on {row.enabled:,} of {len(row.hosts):,} hosts",
    ]
    for label, hosts in (("used by", row.hosts), ("left by", row.leaving), ("persists on", row.persistent)):
        more = [f"and {len(hosts) - _HOSTS_SHOWN:,} more (--json)"] if len(hosts) > _HOSTS_SHOWN else []
        for number, host in enumerate([*hosts[:_HOSTS_SHOWN], *more]):
            lines.append(f"  {'' if number else label:14}{host}")
    for number, wish in enumerate(wishes):
        text = f" '{wish.text}'" if wish.text else " none" if wish.kind == "filter" else ""
        by = f" ({wish.by})" if wish.by else ""
        lines.append(f"  {'' if number else 'wishes':14}{wish.kind}{text} {wish.pattern} on {wish.hosts}{by}")
    for number, (host, reason) in enumerate(refused.items()):
        lines.append(f"  {'' if number else 'not filtered':14}{host}: {reason}")
    return [*lines, ""]
