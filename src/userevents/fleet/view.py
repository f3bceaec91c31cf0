"""The fleet as its keys show it: hosts that live, events and who holds each, in the states of docs/fleet.md. Pure."""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from ..errors import Malformed
from .names import Key, parse_key


class State(Enum):
    """What an event of the fleet is: the states of a listed event in the kernel, as far as a fleet has them."""

    USED = "used"
    """Some host that lives uses it."""
    LEAVING = "leaving"
    """Only hosts that are gone used it: any peer removes it, unless somebody registers it before."""
    IDLE = "idle"
    """It persists, and nobody uses it."""
    GONE = "gone"
    """Nobody knows it."""


def state_of(users: int, left: int, persistent: int) -> State:
    """The state of an event with so many users that live, users that are gone, and hosts that made it persist.

    >>> state_of(0, 2, 1)
    <State.IDLE: 'idle'>
    """
    if users:
        return State.USED
    if persistent:
        return State.IDLE
    return State.LEAVING if left else State.GONE


class Listed(NamedTuple):
    """One event with one layout, anywhere in the fleet."""

    event: str
    """``SYSTEM:NAME`` as registered."""
    layout: str
    users: tuple[str, ...]
    """Hosts that live and use it."""
    left: tuple[str, ...]
    """Hosts that are gone and whose use nobody has taken away yet."""
    persistent: tuple[str, ...]
    """Hosts that made it persist, whether they live or not."""

    @property
    def state(self) -> State:
        """What it is."""
        return state_of(len(self.users), len(self.left), len(self.persistent))


class View:
    """Everything that a list of keys says; keys that are not ours are counted and left out."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.foreign = 0
        found: dict[str, list[Key]] = {"lease": [], "host": [], "user": [], "persist": []}
        for key in keys:
            try:
                one = parse_key(key)
            except Malformed:
                self.foreign += 1
                continue
            found[one.kind].append(one)
        self.alive = {key.host for key in found["lease"]}
        """Hosts that have a lease."""
        self._users = found["user"]
        self._persistent = found["persist"]

    def events(self) -> list[Listed]:
        """Every event that is listed, by name."""
        users: dict[tuple[str, str], tuple[list[str], list[str], list[str]]] = {}
        for key in self._users:
            lists = users.setdefault((key.event, key.layout), ([], [], []))
            lists[0 if key.host in self.alive else 1].append(key.host)
        for key in self._persistent:
            users.setdefault((key.event, key.layout), ([], [], []))[2].append(key.host)
        return [Listed(*which, *(tuple(sorted(hosts)) for hosts in users[which])) for which in sorted(users)]
