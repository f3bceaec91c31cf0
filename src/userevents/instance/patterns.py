"""Patterns that say which events an instance wants, now and later: ``[!][SYSTEM:]EVENT`` with shell globs.

Of the patterns that match an event the last one decides; with ``!`` before it, it says that the event is not wanted.
"""

from fnmatch import fnmatchcase
from typing import NamedTuple

from ..engine import UserEvent


class Pattern(NamedTuple):
    """One pattern; a part left out matches everything."""

    system: str
    event: str
    excludes: bool = False

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Read ``EVENT`` or ``SYSTEM:EVENT``, with or without ``!`` before it.

        >>> Pattern.parse("user_events:http_*")
        Pattern(system='user_events', event='http_*', excludes=False)
        """
        excludes = text.startswith("!")
        system, colon, event = text.removeprefix("!").partition(":")
        return cls(system or "*", event or "*", excludes) if colon else cls("*", system or "*", excludes)

    def matches(self, event: UserEvent) -> bool:
        """Whether `event` is meant; a multi-format event by its registered name or by one layout's."""
        return fnmatchcase(event.system, self.system) and (
            fnmatchcase(event.name, self.event) or fnmatchcase(event.tracepoint_name, self.event)
        )

    def __str__(self) -> str:
        text = self.event if self.system == "*" else f"{self.system}:{self.event}"
        return f"!{text}" if self.excludes else text
