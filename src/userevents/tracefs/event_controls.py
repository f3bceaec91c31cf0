"""``filter``, ``trigger`` and ``hist`` of an event, and ``filter`` of a system.

Source: user_events contract, tracefs.md sections 10 and 11.
"""

import errno
from typing import ClassVar, Final

from ..abi import tracefs as abi
from ..errors import Refused
from ..fields.filter import FilterError, written_filter
from .enable import live_event
from .node import File, OpenNode
from .text import command_text, truncates

_SYSTEM_HELP: Final = (
    "### global filter ###\n"
    "# Use this to set filters for multiple events.\n"
    "# Only events with the given fields will be affected.\n"
    "# If no events are modified, an error message will be displayed here\n"
)


class EventFilter(File):
    """``events/SYSTEM/EVENT/filter``."""

    mode: ClassVar[int] = abi.MODE_WRITE

    def text(self) -> str:
        """The filter, ``none``, or why the last one was refused."""
        event = live_event(self)
        return self.place.instance.file(event).filter_text

    def write(self, node: OpenNode, data: bytes) -> int:
        """Set the filter; ``0`` removes it."""
        file = self.place.instance.file(live_event(self))
        text = written_filter(data)
        if text is None:
            file.clear_filter()
        else:
            file.set_filter(text)
        return len(data)


class SystemFilter(File):
    """``events/SYSTEM/filter``: one filter for every event of a system that has its fields."""

    mode: ClassVar[int] = abi.MODE_WRITE

    def text(self) -> str:
        """Always what the file is for."""
        return _SYSTEM_HELP

    def write(self, node: OpenNode, data: bytes) -> int:
        """Set the filter of each event; those it does not fit lose theirs, and say so."""
        text = written_filter(data)
        events = self.place.system.group.events.in_system(self.place.event_system)
        if not events:
            raise Refused(errno.ENODEV, f"the system '{self.place.event_system}' has no event")
        for file in map(self.place.instance.file, events):
            if text is None:
                file.clear_filter()
                continue
            try:
                file.set_filter(text, of_system=True)
            except FilterError:
                pass  # the event's own file says so
        return len(data)


class EventTrigger(File):
    """``events/SYSTEM/EVENT/trigger``."""

    mode: ClassVar[int] = abi.MODE_WRITE

    def opened(self, node: OpenNode) -> None:
        """Truncating removes every trigger."""
        if truncates(node):
            self.place.instance.file(live_event(self)).truncate_triggers()

    def text(self) -> str:
        """The triggers, or which there could be."""
        event = live_event(self)
        return self.place.instance.file(event).triggers.text()

    def write(self, node: OpenNode, data: bytes) -> int:
        """Take one command."""
        event = live_event(self)
        if data:
            self.place.instance.file(event).write_trigger(command_text(data))
        return len(data)


class EventHist(File):
    """``events/SYSTEM/EVENT/hist``."""

    def text(self) -> str:
        """Every histogram of the event."""
        event = live_event(self)
        return self.place.instance.file(event).triggers.hist_text()

    def shown(self, node: OpenNode) -> None:
        """Remember what the reader has seen."""
        node.state = self._hits()

    def polled(self, node: OpenNode) -> bool:
        """Whether anything was counted that the reader has not seen."""
        return self._hits() != (node.state or 0)

    def _hits(self) -> int:
        return self.place.instance.file(live_event(self)).triggers.hits
