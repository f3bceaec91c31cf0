"""A trace instance: which events it has enabled, by hand or by pattern, for whom, and its stream."""

import errno
from collections.abc import Iterable, KeysView
from typing import Final

from ..abi.user_events import EVENT_STATUS_FTRACE
from ..engine import Group, UserEvent
from ..errors import Refused
from .patterns import Pattern
from .queue import StreamQueue
from .selection import Selection

REQUESTS: Final = ("finish", "rotate")


class Instance:
    """One independent consumer of events; the top one has the empty name.

    It holds one reference to every event it has enabled. Events may be enabled by hand (`enable`) or
    by pattern (`set_patterns`); new patterns undo only what patterns did.

    Source: user_events contract, tracefs.md sections 1 and 9.
    """

    status_bit = EVENT_STATUS_FTRACE

    def __init__(self, name: str, group: Group) -> None:
        self.name = name
        self.stream = StreamQueue()
        self.changes = 0
        """Grows with every change of what is enabled, wanted or selected."""
        self.request = ""
        """What a client asked of the recording (``finish``, ``rotate``) until whoever feeds the stream has done it."""
        self._group = group
        self._enabled: dict[UserEvent, bool] = {}
        self._patterns: tuple[Pattern, ...] = ()
        self._selection = Selection()
        group.observers.append(self)

    def __repr__(self) -> str:
        return f"<Instance {self.name or '(top)'!r}>"

    @property
    def holder_name(self) -> str:
        """What an event's holders call it."""
        return f"instance {self.name}" if self.name else "top instance"

    @property
    def enabled(self) -> KeysView[UserEvent]:
        """The enabled events: a live set."""
        return self._enabled.keys()

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns in force."""
        return tuple(str(pattern) for pattern in self._patterns)

    @property
    def selection(self) -> Selection:
        """Which processes are recorded."""
        return self._selection

    def ask(self, request: str) -> None:
        """Ask that the recording in the stream be ended (``finish``), or ended and begun anew (``rotate``).

        Raises `Refused` (EINVAL) for anything else.
        """
        if request not in REQUESTS:
            raise Refused(errno.EINVAL, f"a recording cannot be asked to '{request}'; it can {' or '.join(REQUESTS)}")
        self.request = request
        self.changes += 1

    def enable(self, event: UserEvent) -> None:
        """Listen to `event`; nothing happens if it is enabled already."""
        self._attach(event, by_pattern=False)

    def disable(self, event: UserEvent) -> None:
        """Stop listening to `event`; nothing happens if it is not enabled."""
        if event in self._enabled:
            del self._enabled[event]
            self.changes += 1
            event.detach(self)

    def disable_all(self) -> None:
        """Stop listening to every event."""
        for event in tuple(self._enabled):
            self.disable(event)

    def set_patterns(self, patterns: Iterable[str]) -> None:
        """Want exactly what these patterns match, now and in the future, besides what is enabled by hand."""
        self._patterns = tuple(Pattern.parse(text) for text in patterns)
        self.changes += 1
        for event, by_pattern in tuple(self._enabled.items()):
            if by_pattern and not self._wants(event):
                self.disable(event)
        for event in self._group.events:
            self.event_added(event)

    def set_selection(self, selection: Selection) -> None:
        """Record only the processes that `selection` selects."""
        self._selection = selection
        self.changes += 1

    def release(self) -> None:
        """Let go of everything: the instance is being removed."""
        if self in self._group.observers:
            self._group.observers.remove(self)
        self._patterns = ()
        self.disable_all()
        self.stream.close()

    def event_added(self, event: UserEvent) -> None:
        """Enable a new event that a pattern wants."""
        if self._patterns and self._wants(event):
            self._attach(event, by_pattern=True)

    def event_removed(self, event: UserEvent) -> None:
        """Nothing to do: an enabled event cannot go."""

    def _attach(self, event: UserEvent, *, by_pattern: bool) -> None:
        if event not in self._enabled:
            event.attach(self)
            self._enabled[event] = by_pattern
            self.changes += 1
        elif not by_pattern:
            self._enabled[event] = False

    def _wants(self, event: UserEvent) -> bool:
        return any(pattern.matches(event) for pattern in self._patterns)
