"""The fleet as its keys show it: hosts that live, events and who holds each, in the states of docs/fleet.md. Pure."""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from ..errors import Malformed
from .names import PARTS, decode, is_layout


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
    """Everything that a list of keys says; keys that are not ours are counted and left out.

    A large fleet has a hundred thousand keys and a tenth as many names: keys are brought together by their tokens, and
    each token is decoded once.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self.foreign = self.count = 0
        self.alive: set[str] = set()
        """Hosts that have a lease."""
        self._names: dict[str, str | None] = {}
        self._users: dict[tuple[str, str], list[str]] = {}
        """Tokens of hosts by those of an event and its layout."""
        self._persistent: dict[tuple[str, str], list[str]] = {}
        for self.count, key in enumerate(keys, 1):
            kind, *parts = key.split(".")
            if PARTS.get(kind) != len(parts) or self._name(parts[0]) is None:
                self.foreign += 1
            elif len(parts) == 3:
                events = self._users if kind == "user" else self._persistent
                events.setdefault((parts[1], parts[2]), []).append(parts[0])
            elif kind == "lease":
                self.alive.add(decode(parts[0]))

    def events(self) -> list[Listed]:
        """Every event that is listed, by name."""
        found = []
        for event, layout in self._users.keys() | self._persistent.keys():
            name = self._name(event)
            users, persistent = self._users.get((event, layout), ()), self._persistent.get((event, layout), ())
            if name is None or not is_layout(layout):
                self.foreign += len(users) + len(persistent)
                continue
            used, kept = self._hosts(users), self._hosts(persistent)
            alive = tuple(host for host in used if host in self.alive)
            left = tuple(host for host in used if host not in self.alive) if len(alive) < len(used) else ()
            found.append(Listed(name, layout, alive, left, kept))
        found.sort()
        return found

    def _hosts(self, tokens: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted(name for token in tokens if (name := self._name(token)) is not None))

    def _name(self, token: str) -> str | None:
        """What a token stands for; None for one that `encode` does not make."""
        if token not in self._names:
            try:
                self._names[token] = decode(token)
            except Malformed:
                self._names[token] = None
        return self._names[token]
