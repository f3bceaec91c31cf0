"""`userevents fleet info`: all there is to know about an event of the fleet."""

import json
import sys
from typing import TYPE_CHECKING

import click

from ..fields.escape import printable
from .fleeting import Credentials, complete_fleet_event, fleet_options, host_option, with_broker

if TYPE_CHECKING:
    from ..fleet.broker import Broker
    from ..fleet.reading import EventRow
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

    async def read(broker: "Broker") -> "tuple[list[EventRow], list[str], list[Wish]]":
        from ..fleet.reading import read_events, read_wishes

        by_pattern = {pattern: await read_events(broker, pattern, hosts) for pattern in events}
        rows = dict.fromkeys(row for found in by_pattern.values() for row in found)
        absent = [pattern for pattern, found in by_pattern.items() if not found]
        return list(rows), absent, list((await read_wishes(broker))[0].all)

    found, absent, wishes = with_broker(servers, credentials, read)
    for row in found:
        about = _about(row, wishes)
        if as_json:
            told = [wish._asdict() for wish in about]
            sys.stdout.write(json.dumps(row._asdict() | {"wishes": told}) + "\n")
        else:
            click.echo("\n".join(printable(line) for line in _lines(row, about)))
    for pattern in absent:
        warn(f"no event of the fleet matches '{pattern}' ('userevents fleet list' shows all)")
    if absent:
        sys.exit(1)


def _about(row: "EventRow", wishes: "list[Wish]") -> "list[Wish]":
    from ..fleet.reading import matches

    return [wish for wish in wishes if matches(wish.pattern, row.event)]


def _lines(row: "EventRow", wishes: "list[Wish]") -> list[str]:
    lines = [row.event, f"  state       {row.state}"]
    lines += [f"  fields      {row.fields or 'none'}", f"  recorded    on {row.enabled:,} of {len(row.hosts):,} hosts"]
    for label, hosts in (("used by", row.hosts), ("left by", row.leaving), ("persists on", row.persistent)):
        more = [f"and {len(hosts) - _HOSTS_SHOWN:,} more (--json)"] if len(hosts) > _HOSTS_SHOWN else []
        for number, host in enumerate([*hosts[:_HOSTS_SHOWN], *more]):
            lines.append(f"  {'' if number else label:12}{host}")
    for number, wish in enumerate(wishes):
        text = f" '{wish.text}'" if wish.text else " none" if wish.kind == "filter" else ""
        by = f" ({wish.by})" if wish.by else ""
        lines.append(f"  {'' if number else 'wishes':12}{wish.kind}{text} {wish.pattern} on {wish.hosts}{by}")
    return [*lines, ""]
