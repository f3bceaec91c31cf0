"""Events of a tracing tree one by one: found by pattern, enabled, filtered, given triggers, described.

Names are kernel text, one character a byte. All of it works on a kernel's tracefs, too.
"""

import errno
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from ..abi import tracefs as abi
from ..abi.user_events import USER_EVENTS_MULTI_SYSTEM, USER_EVENTS_SYSTEM
from ..errors import Malformed, Refused
from ..fields import EventFormat, clash, parse_command, parse_format
from .access import Access, read_file, write_file

USER_SYSTEMS: Final = (USER_EVENTS_SYSTEM, USER_EVENTS_MULTI_SYSTEM)
GONE: Final = ("ENOENT", "ENODEV")
"""What files of an event answer that has just gone."""
_NO_FILTER: Final = "none"
_PARSE_ERROR: Final = "parse_error: "


class EventName(NamedTuple):
    """Where an event stands in the tree: ``events/SYSTEM/NAME``."""

    system: str
    name: str
    """The tracepoint's: ``tick.0`` for a layout of a multi-format event."""

    @property
    def is_multi(self) -> bool:
        """Whether its name may have several layouts."""
        return self.system == USER_EVENTS_MULTI_SYSTEM

    @property
    def registered_name(self) -> str:
        """The name it was registered under: ``tick`` for ``tick.0``."""
        return self.name.rpartition(".")[0] if self.is_multi else self.name

    def __str__(self) -> str:
        return f"{self.system}:{self.name}"


class Pattern(NamedTuple):
    """``[SYSTEM:]EVENT`` with ``*``, ``?`` and ``[]``; without SYSTEM it means user events only.

    A kernel has thousands of events of other systems, which nobody wants to enable by writing ``*``.
    """

    system: str
    event: str

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Read a pattern as it was typed.

        >>> Pattern.parse("http_*")
        Pattern(system='', event='http_*')
        """
        system, colon, event = text.partition(":")
        return cls(system or "*", event or "*") if colon else cls("", text or "*")

    def matches(self, event: EventName) -> bool:
        """Whether `event` is meant; a multi-format event by its registered name or by one layout's."""
        in_system = fnmatchcase(event.system, self.system) if self.system else event.system in USER_SYSTEMS
        names = {event.name, event.registered_name}
        return in_system and any(fnmatchcase(name, self.event) for name in names)

    def __str__(self) -> str:
        return f"{self.system}:{self.event}" if self.system else self.event


def all_events(access: Access) -> list[EventName]:
    """Every event in the tree, oldest first."""
    lines = read_file(access, abi.AVAILABLE_EVENTS).decode("latin-1").split("\n")
    return [EventName(*line.partition(":")[::2]) for line in reversed(lines) if ":" in line]


def instance_prefix(access: Access, name: str) -> str:
    """What paths of an instance begin with (the top one has the empty name); ENOENT for one that is not there."""
    if not name:
        return ""
    names = access.listdir(abi.INSTANCES)
    if name not in names:
        raise Refused(errno.ENOENT, f"there is no instance '{name}'; there {_listed('are: ', names) or 'is none'}")
    return f"{abi.INSTANCES}/{name}/"


class Filter(NamedTuple):
    """What a ``filter`` file says."""

    text: str
    """Empty if there is none."""
    error: str
    """Why it was refused, and so is not in force; empty if it is."""


class EventControl:
    """One event in one instance, by its files."""

    def __init__(self, access: Access, prefix: str, event: EventName) -> None:
        self.event = event
        self._access = access
        self._prefix = prefix
        self._place = f"{prefix}{abi.EVENTS}/{event.system}/{event.name}"

    def set_enabled(self, on: bool) -> None:
        """Record the event here, or do not."""
        self._write(abi.ENABLE, "1" if on else "0")

    @property
    def enabled(self) -> str:
        """What ``enable`` reads: ``0``, ``1``, and a ``*`` behind it while triggers hold the event."""
        return self._read(abi.ENABLE).rstrip("\n")

    def set_filter(self, text: str) -> None:
        """Keep only what passes; ``0`` keeps everything. A refused filter leaves none."""
        self._write(abi.FILTER, text)

    @property
    def filter(self) -> Filter:
        """The filter, or the one that was refused last."""
        text, *more = self._read(abi.FILTER).rstrip("\n").split("\n")
        return Filter("" if text == _NO_FILTER else text, more[-1].removeprefix(_PARSE_ERROR) if more else "")

    def write_trigger(self, text: str) -> None:
        """Set a trigger, or with ``!`` before it remove one."""
        self._write(abi.TRIGGER, text)

    @property
    def triggers(self) -> list[str]:
        """The triggers, one text each."""
        return [line for line in self._read(abi.TRIGGER).split("\n") if line and not line.startswith("#")]

    @property
    def id(self) -> int:
        """The type id of its records."""
        return int(self._read(abi.ID))

    @property
    def format(self) -> EventFormat:
        """Its layout."""
        return parse_format(self._read(abi.FORMAT))

    def errors(self) -> list[str]:
        """The entries of this instance's error log, oldest first, three lines each."""
        entries: list[str] = []
        for line in read_file(self._access, self._prefix + abi.ERROR_LOG).decode("latin-1").splitlines(keepends=True):
            if line.startswith("[") or not entries:
                entries.append("")
            entries[-1] += line
        return entries

    def _read(self, name: str) -> str:
        return read_file(self._access, f"{self._place}/{name}").decode("latin-1")

    def _write(self, name: str, text: str) -> None:
        write_file(self._access, f"{self._place}/{name}", text.encode("latin-1", "backslashreplace"))


def clash_reason(access: Access, text: str) -> str | None:
    """Why the declaration `text` is EADDRINUSE, from what is registered under its name; None if nothing is."""
    name, _, args = parse_command(text)
    try:
        existing = EventControl(access, "", EventName(USER_EVENTS_SYSTEM, name)).format
    except (Refused, Malformed):
        return None
    return clash(name, existing.fields, args)


def _listed(before: str, names: list[str]) -> str:
    return before + ", ".join(names) if names else ""
