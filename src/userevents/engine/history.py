"""What happened to each event lately, and to events that are gone: for people who ask who did what.

Nothing in the engine depends on it. Every record is bounded: an event keeps its creation and its last
`ENTRIES_MAX` - 1 entries, and the last `GONE_MAX` destroyed events are remembered. Time is handed in.
"""

import itertools
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from ..fields import fields_text
from .event import UserEvent

ENTRIES_MAX: Final = 16
GONE_MAX: Final = 64
WHO_MAX: Final = 240
"""Characters of `Entry.who`: refusals quote what programs wrote."""

Clock = Callable[[], int]
"""The time in nanoseconds, of whatever clock the owner of the group chose."""


class Entry(NamedTuple):
    """One thing that happened to an event."""

    at: int
    what: str
    """In words: ``registered``, ``enabled``, ``last put``, ..."""
    who: str
    """By whom, or why; empty where the word says it all."""


class GoneEvent(NamedTuple):
    """An event that was destroyed, as it was."""

    system: str
    tracepoint_name: str
    id: int
    fields_text: str
    entries: tuple[Entry, ...]


class History:
    """The records of one group's events; `clock` is a counter of entries where none is given."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.now: Clock = clock if clock is not None else itertools.count(1).__next__
        self._entries: dict[UserEvent, list[tuple[int, str, str]]] = {}
        """Bare, each to be an `Entry` when somebody asks: most are never looked at."""
        self._gone: deque[GoneEvent] = deque(maxlen=GONE_MAX)

    @property
    def gone(self) -> tuple[GoneEvent, ...]:
        """The events destroyed last, oldest first."""
        return tuple(self._gone)

    def of(self, event: UserEvent) -> tuple[Entry, ...]:
        """What happened to a listed event, oldest first: its creation, and the last of what came after it."""
        return tuple(map(Entry._make, self._entries.get(event, ())))

    def note(self, event: UserEvent, what: str, who: str = "") -> None:
        """Something happened to `event`; of an event that is gone nothing is noted any more."""
        if not event.listed:
            return
        entries = self._entries.get(event)
        if entries is None:
            entries = self._entries[event] = []
        if len(entries) >= ENTRIES_MAX:
            del entries[1]
        entries.append((self.now(), what, who[:WHO_MAX]))

    def close(self, event: UserEvent) -> None:
        """The event has been destroyed: its record goes among those of the gone."""
        entries = (*self.of(event), Entry(self.now(), "destroyed", ""))
        self._entries.pop(event, None)
        text = fields_text(event.fields)
        self._gone.append(GoneEvent(event.system, event.tracepoint_name, event.id, text, entries))
