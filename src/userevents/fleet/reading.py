"""Reading the fleet for people: its hosts, its events with where they live, and what is wished of them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from ..control.events import USER_SYSTEMS, EventName, Pattern
from ..errors import Malformed
from . import names
from .broker import Broker
from .table import Entry
from .view import Listed, State, View
from .wishes import Wishes


class EventRow(NamedTuple):
    """One event with one layout."""

    event: str
    state: str
    hosts: tuple[str, ...]
    """Those that live and use it, as far as they were asked for."""
    leaving: tuple[str, ...]
    """Those that are gone, and whose use nobody has taken away yet."""
    persistent: tuple[str, ...]
    """Those that made it persist."""
    enabled: int
    """On how many of `hosts` it is wished to be recorded."""
    fields: str
    layout: str


class HostRow(NamedTuple):
    """One host."""

    host: str
    alive: bool
    events: int
    lost: int
    since: str
    """When its agent began, as ISO time."""
    release: str
    version: str
    facts: dict[str, Any]
    """Everything it tells of itself."""


async def read_view(broker: Broker, pattern: str = "*") -> View:
    """Return who is there, and at least the events that a pattern names, from the names of the keys."""
    events = events_named(pattern)
    if events is None:
        return View(await broker.keys(">"))
    asked = ["lease.*", *(f"*.*.{names.encode(event)}.*" for event in events)]
    return View([key for one in asked for key in await broker.keys(one)])


def events_named(pattern: str) -> list[str] | None:
    """Return the only events (``SYSTEM:NAME``) that a pattern can mean, None for one with wildcards.

    >>> events_named("other:tick")
    ['other:tick']
    """
    parsed = Pattern.parse(pattern)
    if set(f"{parsed.system}{parsed.event}") & set("*?["):
        return None
    return [f"{system}:{parsed.event}" for system in ([parsed.system] if parsed.system else USER_SYSTEMS)]


async def read_wishes(broker: Broker) -> tuple[Wishes, int]:
    """Return the wishes and their sequence, 0 where there are none. Raises `Malformed`."""
    found = await broker.get(names.WISHES)
    return (Wishes(), 0) if found is None else (Wishes.parse(found.value), found.sequence)


async def read_events(broker: Broker, pattern: str, hosts: str = "*") -> list[EventRow]:
    """Return the events that a pattern names on the hosts that a glob names, with their declarations."""
    view = await read_view(broker, pattern)
    wished, _ = await read_wishes(broker)
    is_meant = Pattern.parse(pattern).matches
    chosen = [one for one in view.events() if is_meant(_Registered.of(one.event)) and _on(one, hosts)]
    keys = [_key_of(one) for one in chosen]
    entries = {entry.key: entry for entry in await broker.values(keys)}
    wanted = Recorded(wished)
    rows = []
    for one, key in zip(chosen, keys, strict=True):
        users = one.users if hosts == "*" else tuple(host for host in one.users if fnmatchcase(host, hosts))
        fields = declaration_of(entries.get(key)).partition(" ")[2]
        enabled = sum(wanted.on(one.event, host) for host in users)
        rows.append(EventRow(one.event, one.state.value, users, one.left, one.persistent, enabled, fields, one.layout))
    return [row for row in rows if row.state != State.GONE.value]


async def read_hosts(broker: Broker) -> list[HostRow]:
    """Return the hosts that are known, by name."""
    view = View(await broker.keys("lease.*"))
    rows = []
    for entry in await broker.entries("host.*"):
        try:
            host, facts = names.parse_key(entry.key).host, json.loads(entry.value)
            since = datetime.fromtimestamp(float(facts["since"]), UTC).isoformat(timespec="seconds")
            release, version = (str(facts.get(name, "")) for name in ("release", "version"))
            events, lost = (int(facts.get(name, 0)) for name in ("events", "lost"))
        except (Malformed, ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError):
            continue  # it is no host of ours that writes so
        rows.append(HostRow(host, host in view.alive, events, lost, since, release, version, facts))
    return sorted(rows)


def matches(pattern: str, event: str) -> bool:
    """Whether a pattern as it was typed names an event of the fleet: ``SYSTEM:NAME``."""
    return Pattern.parse(pattern).matches(_Registered.of(event))


class _Registered(EventName):
    """An event by its registered name, which may have dots."""

    @classmethod
    def of(cls, event: str) -> "_Registered":
        """``SYSTEM:NAME`` as an event."""
        return cls(*event.partition(":")[::2])

    @property
    def registered_name(self) -> str:
        return self.name


class Recorded:
    """Which events are wished to be recorded on which hosts; hosts with the same wishes are looked at once."""

    def __init__(self, wished: Wishes) -> None:
        self._wished = wished
        self._patterns: dict[str, tuple[str, ...]] = {}
        self._answers: dict[tuple[str, tuple[str, ...]], bool] = {}

    def on(self, event: str, host: str) -> bool:
        """Whether `event` (``SYSTEM:NAME``) is to be recorded on `host`."""
        patterns = self._patterns.get(host)
        if patterns is None:
            patterns = self._patterns[host] = tuple(self._wished.patterns_for(host))
        key = (event, patterns)
        if key not in self._answers:
            self._answers[key] = _decides(patterns, event)
        return self._answers[key]


def declaration_of(entry: Entry | None) -> str:
    """The declaration that a user or persist key holds; empty where none can be read."""
    try:
        found = json.loads(entry.value)["declaration"] if entry is not None else ""
    except (ValueError, TypeError, KeyError):
        return ""
    return found if isinstance(found, str) else ""


def _decides(patterns: Sequence[str], event: str) -> bool:
    for pattern in reversed(patterns):
        if matches(pattern.removeprefix("!"), event):
            return not pattern.startswith("!")
    return False


def _on(one: Listed, hosts: str) -> bool:
    return hosts == "*" or any(fnmatchcase(host, hosts) for host in (*one.users, *one.left, *one.persistent))


def _key_of(one: Listed) -> str:
    """A key that holds the event's declaration."""
    users = one.users or one.left
    if users:
        return names.user_key(one.event, one.layout, users[0])
    return names.persist_key(one.event, one.layout, one.persistent[0])
