"""An open file description of ``user_events_data``: which write index means which event.

Source: user_events contract, lifecycle.md section 1, write.md section 2.
"""

from collections.abc import Sequence

from .event import UserEvent
from .lifecycle import Lifecycle


class OpenFile:
    """The events registered through one open file description; the position is the write index.

    The table only grows. Its final close drops one reference an entry; dup and fork share the object.
    """

    def __init__(self, lifecycle: Lifecycle, label: str) -> None:
        self._lifecycle = lifecycle
        self._index: dict[UserEvent, int] = {}
        self._events: list[UserEvent] = []
        self.label = label
        """Whose file this is, in words."""
        self.closed = False

    @property
    def events(self) -> Sequence[UserEvent]:
        """The events by their write index: a live view."""
        return self._events

    def add(self, event: UserEvent) -> int:
        """The write index of `event` here; the first time, the file takes a reference.

        Source: user_events contract, abi.md section 5.1 step 19.
        """
        index = self._index.get(event)
        if index is None:
            index = self._index[event] = len(self._events)
            self._events.append(event)
            event.files[self] = None
            self._lifecycle.get(event)
        return index

    def close(self) -> None:
        """The final close: every entry lets go of its event. Enablers stay. Closing again does nothing."""
        if self.closed:
            return
        self.closed = True
        for event in self._events:
            del event.files[self]
            event.note("file closed", self.label)
            self._lifecycle.put(event)
