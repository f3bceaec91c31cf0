"""Read-only files about events: format, id, status, available_events, the header descriptions, README.

Source: user_events contract, fields.md sections 6 to 8, tracefs.md sections 2 and 3.
"""

from collections.abc import Iterator

from ..abi import tracefs as abi
from ..abi.ring_buffer import HEADER_EVENT_TEXT, header_page_text
from ..abi.user_events import EVENT_STATUS_FTRACE, EVENT_STATUS_OTHER, EVENT_STATUS_PERF
from ..fields import format_text
from .enable import listing, live_event
from .node import File

_USED_BY = ((EVENT_STATUS_FTRACE, " ftrace"), (EVENT_STATUS_PERF, " perf"), (EVENT_STATUS_OTHER, " other"))


class Format(File):
    """``events/SYSTEM/EVENT/format``."""

    def text(self) -> str:
        """The layout of the event's records."""
        event = live_event(self)
        return format_text(event.tracepoint_name, event.id, event.fields)


class EventId(File):
    """``events/SYSTEM/EVENT/id``."""

    def text(self) -> str:
        """The event type id."""
        return f"{live_event(self).id}\n"


class Status(File):
    """``user_events_status``."""

    def text(self) -> str:
        """The events with who uses each, and two totals."""
        return "".join(self._lines())

    def _lines(self) -> Iterator[str]:
        events = self.place.system.group.events
        for event in events:
            used = "".join(word for bit, word in _USED_BY if event.status & bit)
            yield f"{event.tracepoint_name} # Used by{used}\n" if used else f"{event.tracepoint_name}\n"
        busy = sum(1 for event in events if event.status)
        yield f"\nActive: {len(events)}\nBusy: {busy}\n"


class AvailableEvents(File):
    """``available_events``."""

    def text(self) -> str:
        """Every event, newest first as the kernel lists them."""
        return listing(reversed(self.place.system.group.events))


class HeaderPage(File):
    """``events/header_page``."""

    def text(self) -> str:
        """The layout of a page of this instance's rings."""
        return header_page_text(self.place.instance.recorder.page_size)


class HeaderEvent(File):
    """``events/header_event``."""

    def text(self) -> str:
        """The layout of a record's header."""
        return HEADER_EVENT_TEXT


class Readme(File):
    """``README``."""

    def text(self) -> str:
        """What the files are for."""
        return abi.README_TEXT
