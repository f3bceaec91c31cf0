"""Changing what is wished of the fleet: the common part of fleet enable, disable and filter."""

import getpass
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..errors import Refused, UserEventsError
from ..fields import parse_fields
from ..fields.filter import parse_filter
from .console import count, say, warn
from .fleeting import Credentials, with_broker
from .reach import kernel_text, shown

if TYPE_CHECKING:
    from ..fleet.broker import Broker
    from ..fleet.reading import EventRow
    from ..fleet.wishes import Kind, Wishes


def wish_for(
    kind: "Kind", patterns: Sequence[str], hosts: str, servers: str, credentials: Credentials, as_json: bool,
    text: str = "",
) -> None:  # fmt: skip
    """Add one wish for each pattern, and say what it is about now."""
    by = f"{_who()}, {datetime.now(UTC).isoformat(timespec='seconds')}"

    async def change(broker: "Broker") -> "tuple[Wishes, dict[str, list[EventRow]]]":
        from ..fleet.reading import read_events
        from ..fleet.wishes import Wish
        from ..fleet.wishing import add_wishes

        wished = await add_wishes(broker, [Wish(kind, pattern, hosts, text, by) for pattern in patterns])
        return wished, {pattern: await read_events(broker, pattern, hosts) for pattern in patterns}

    _, found = with_broker(servers, credentials, change)
    for pattern, rows in found.items():
        present = {host for row in rows for host in row.hosts}
        if as_json:
            result = {"wish": kind, "pattern": pattern, "hosts": hosts, "filter": text or None}
            now = {"events": sorted({row.event for row in rows}), "present": len(present)}
            sys.stdout.write(json.dumps(result | now) + "\n")
            continue
        told = {"enable": "enabled", "disable": "disabled", "filter": f"filter {text}" if text else "no filter"}[kind]
        where = "every host" if hosts == "*" else f"hosts that match '{hosts}'"
        events = count(len({row.event for row in rows}), "event")
        say(f"{pattern}: {told} on {where}: now {events} on {count(len(present), 'host')}, and any to come")
        for row in rows if text else ():
            if why := _misfit(text, row.fields):
                warn(f"{row.event} of {count(len(row.hosts), 'host')} is not filtered: {why}")


def _misfit(text: str, fields: str) -> str | None:
    """Why an event of these fields cannot have the filter; None where it can."""
    try:
        parse_filter(kernel_text(text), parse_fields(fields))
    except Refused as refused:
        return shown(refused.reason)
    return None


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError, UserEventsError):
        user = str(os.geteuid())
    return f"{user}@{os.uname().nodename}"
