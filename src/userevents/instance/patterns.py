"""Patterns that say which events an instance wants, now and later: ``[SYSTEM:]EVENT`` with shell globs."""

from fnmatch import fnmatchcase
from typing import NamedTuple

from ..engine import UserEvent


class Pattern(NamedTuple):
    """One pattern; a part left out matches everything."""

    system: str
    event: str

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Read ``EVENT`` or ``SYSTEM:EVENT``.

        >>> Pattern.parse("user_events:http_*")
        Pattern(system='user_events', event='http_*')
        """
        system, colon, event = text.partition(":")
        return cls(system or "*", event or "*") if colon else cls("*", system or "*")

    def matches(self, event: UserEvent) -> bool:
        """Whether `event` is meant; a multi-format event by its registered name or by one layout's."""
        return fnmatchcase(event.system, self.system) and (
            fnmatchcase(event.name, self.event) or fnmatchcase(event.tracepoint_name, self.event)
        )

    def __str__(self) -> str:
        return self.event if self.system == "*" else f"{self.system}:{self.event}"
