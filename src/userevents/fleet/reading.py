"""Reading the fleet for people: its hosts, its events with where they live, and what is wished of them."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from ..control.events import USER_SYSTEMS, EventName, Pattern
from ..errors import Malformed
from . import names
from .broker import Broker
from .table import Entry
from .view import Listed, State, View
from .wishes import Wishes

_AT_ONCE: Final = 5000
"""Keys read between two times that `told` is told."""


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


async def read_events(
    broker: Broker, pattern: str, hosts: str = "*", told: Callable[[int], None] = lambda done: None
) -> list[EventRow]:
    """Return the events that a pattern names on the hosts that a glob names, with their declarations.

    `told` is called now and then with how many keys were read.
    """
    view = await read_view(broker, pattern)
    told(view.count)
    wished, _ = await read_wishes(broker)
    listed = view.events()
    meant = Pattern.parse(pattern)
    chosen = [one for one in listed if meant.matches(_Registered.of(one.event))] if pattern != "*" else listed
    chosen = [one for one in chosen if _on(one, hosts)]
    fields = await _fields(broker, chosen, lambda done: told(view.count + done))
    wanted = Recorded(wished)
    rows = []
    for one in chosen:
        users = one.users if hosts == "*" else tuple(host for host in one.users if fnmatchcase(host, hosts))
        enabled = wanted.count(one.event, users)
        text = fields.get((one.event, one.layout)) or fields.get(("", one.layout), "")
        rows.append(EventRow(one.event, one.state.value, users, one.left, one.persistent, enabled, text, one.layout))
    return [row for row in rows if row.state != State.GONE.value]


async def _fields(broker: Broker, events: list[Listed], told: Callable[[int], None]) -> dict[tuple[str, str], str]:
    """The fields of events, by layout (with no event): programs alike declare alike, and one key says it for all.

    An event whose key says something else than its layout is there by its own name, too.
    """
    found: dict[tuple[str, str], str] = {}
    first = {one.layout: one for one in events}
    keys = {_key_of(one): one for one in first.values()}
    for at in range(0, len(keys), _AT_ONCE):
        told(at)
        for entry in await broker.values(list(keys)[at : at + _AT_ONCE]):
            one = keys[entry.key]
            fields = declaration_of(entry).partition(" ")[2]
            is_right = names.layout_of(fields) == one.layout
            found["" if is_right else one.event, one.layout] = fields
    odd = [one for one in events if ("", one.layout) not in found and (one.event, one.layout) not in found]
    keys = {_key_of(one): one for one in odd}
    for entry in await broker.values(list(keys)):
        found[keys[entry.key].event, keys[entry.key].layout] = declaration_of(entry).partition(" ")[2]
    return found


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
        self._parsed: dict[str, tuple[bool, Pattern]] = {}
        self._patterns: dict[str, tuple[str, ...]] = {}
        self._answers: dict[tuple[str, tuple[str, ...]], bool] = {}

    def on(self, event: str, host: str) -> bool:
        """Whether `event` (``SYSTEM:NAME``) is to be recorded on `host`."""
        patterns = self._patterns.get(host)
        if patterns is None:
            patterns = self._patterns[host] = tuple(self._wished.patterns_for(host))
        key = (event, patterns)
        if key not in self._answers:
            self._answers[key] = self._decides(patterns, event)
        return self._answers[key]

    def count(self, event: str, hosts: Sequence[str]) -> int:
        """On how many of these hosts it is to be recorded."""
        return sum(self.on(event, host) for host in hosts) if self._wished.all else 0

    def _decides(self, patterns: Sequence[str], event: str) -> bool:
        one = _Registered.of(event)
        for text in reversed(patterns):
            if text not in self._parsed:
                self._parsed[text] = not text.startswith("!"), Pattern.parse(text.removeprefix("!"))
            is_on, pattern = self._parsed[text]
            if pattern.matches(one):
                return is_on
        return False


def declaration_of(entry: Entry | None) -> str:
    """The declaration that a user or persist key holds; empty where none can be read."""
    try:
        found = json.loads(entry.value)["declaration"] if entry is not None else ""
    except (ValueError, TypeError, KeyError):
        return ""
    return found if isinstance(found, str) else ""


def _on(one: Listed, hosts: str) -> bool:
    return hosts == "*" or any(fnmatchcase(host, hosts) for host in (*one.users, *one.left, *one.persistent))


def _key_of(one: Listed) -> str:
    """A key that holds the event's declaration."""
    users = one.users or one.left
    if users:
        return names.user_key(one.event, one.layout, users[0])
    return names.persist_key(one.event, one.layout, one.persistent[0])
