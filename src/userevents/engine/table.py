"""The listed events of a group, found by id, by registered name and by place in the tree.

Source: user_events contract, lifecycle.md section 10, invariants 2 and 13.
"""

from collections.abc import Iterator
from typing import TypeVar

from .event import UserEvent

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class EventTable:
    """Listed events in order of creation. Every lookup costs the same at 10 and at 30,000 events."""

    def __init__(self) -> None:
        self._by_id: dict[int, UserEvent] = {}
        self._by_name: dict[str, dict[UserEvent, None]] = {}
        self._systems: dict[str, dict[str, UserEvent]] = {}

    def __iter__(self) -> Iterator[UserEvent]:
        return iter(tuple(self._by_id.values()))

    def __reversed__(self) -> Iterator[UserEvent]:
        """Newest first: the order in which the kernel lists trace events."""
        return iter(tuple(reversed(self._by_id.values())))

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, event: object) -> bool:
        return isinstance(event, UserEvent) and self._by_id.get(event.id) is event

    def by_id(self, event_id: int) -> UserEvent | None:
        """The event that has this id now."""
        return self._by_id.get(event_id)

    def named(self, name: str) -> tuple[UserEvent, ...]:
        """Every event registered under `name`: one single-format event and any number of layouts."""
        return tuple(self._by_name.get(name, ()))

    def by_tracepoint(self, system: str, tracepoint_name: str) -> UserEvent | None:
        """The event at ``events/SYSTEM/TRACEPOINT_NAME``."""
        return self._systems.get(system, {}).get(tracepoint_name)

    def systems(self) -> tuple[str, ...]:
        """The systems that have an event now."""
        return tuple(self._systems)

    def in_system(self, system: str) -> tuple[UserEvent, ...]:
        """The events of one system, oldest first."""
        return tuple(self._systems.get(system, {}).values())

    def add(self, event: UserEvent) -> None:
        """List `event`."""
        self._by_id[event.id] = event
        self._by_name.setdefault(event.name, {})[event] = None
        self._systems.setdefault(event.system, {})[event.tracepoint_name] = event

    def remove(self, event: UserEvent) -> None:
        """Take `event` off every list."""
        del self._by_id[event.id]
        _discard(self._by_name, event.name, event)
        _discard(self._systems, event.system, event.tracepoint_name)


def _discard(tables: dict[str, dict[_Key, _Value]], key: str, entry: _Key) -> None:
    """Remove one entry of one table, and the table itself when it is empty."""
    table = tables[key]
    del table[entry]
    if not table:
        del tables[key]
