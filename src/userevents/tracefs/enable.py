"""The ``enable`` files and ``set_event``: what an instance listens to.

Source: user_events contract, tracefs.md sections 1 and 2.
"""

import errno
import re
from collections.abc import Iterable
from typing import ClassVar

from ..abi import tracefs as abi
from ..engine import Group, UserEvent
from ..errors import Refused
from ..instance import Instance
from .node import File, OpenNode
from .text import parse_unsigned, truncates

_WORD = re.compile(rb"[\t-\r \xa0]*([^\t-\r \xa0\x00]*)")
"""White space as the kernel's isspace() has it, then a word."""
_EVERYTHING = ("*:*", "*:", ":*", ":")
_ALL_OF = {0: "?", 1: "0", 2: "1", 3: "X"}
"""What a summary reads: bit 0 = some event is disabled, bit 1 = some event is enabled."""


class EventEnable(File):
    """``events/SYSTEM/EVENT/enable``."""

    mode: ClassVar[int] = abi.MODE_WRITE

    def text(self) -> str:
        """``0`` or ``1``, and ``*`` while triggers hold the event."""
        event = live_event(self)
        return self.place.instance.file(event).enable_text

    def write(self, node: OpenNode, data: bytes) -> int:
        """Enable (1) or disable (0) the event in this instance."""
        wanted = _on_or_off(data)
        _switch(self.place.instance, live_event(self), wanted)
        return len(data)


class SystemEnable(File):
    """``events/SYSTEM/enable``, and ``events/enable`` for all systems."""

    mode: ClassVar[int] = abi.MODE_WRITE

    def text(self) -> str:
        """``0`` none, ``1`` all, ``X`` some of them, ``?`` there is no event."""
        found = 0
        if self._counts_others():
            found = 2 if self.place.instance.others_enabled else 1
        for event in self._events():
            found |= 2 if self.place.instance.attached(event) else 1
        return _ALL_OF[found] + "\n"

    def write(self, node: OpenNode, data: bytes) -> int:
        """Enable or disable every event; EINVAL when there is none."""
        wanted = _on_or_off(data)
        events = self._events()
        if self._counts_others():
            self.place.instance.others_enabled = wanted
        elif not events:
            raise Refused(errno.EINVAL, f"there is no event in '{self.place.event_system or 'any system'}'")
        for event in events:
            _switch(self.place.instance, event, wanted)
        return len(data)

    def _counts_others(self) -> bool:
        return not self.place.event_system and self.place.instance.machine.has_other_events

    def _events(self) -> tuple[UserEvent, ...]:
        events = self.place.system.group.events
        return events.in_system(self.place.event_system) if self.place.event_system else tuple(events)


class SetEvent(File):
    """``set_event``: the enabled events; each write handles one ``[!]SPEC`` word."""

    mode: ClassVar[int] = abi.MODE_WRITE

    def opened(self, node: OpenNode) -> None:
        """Truncating disables every event first."""
        if truncates(node):
            self.place.instance.disable_all()

    def text(self) -> str:
        """The enabled events, newest first as the kernel lists them."""
        attached = self.place.instance.attached
        return listing(event for event in reversed(self.place.system.group.events) if attached(event))

    def write(self, node: OpenNode, data: bytes) -> int:
        """Take one word, with the white space before it and the character that ends it."""
        word, taken = next_word(data)
        if word:
            text = word.decode("latin-1")
            self._apply(text.removeprefix("!"), not text.startswith("!"))
        return taken

    def _apply(self, spec: str, wanted: bool) -> None:
        matched = meant_by(spec, self.place.system.group)
        instance = self.place.instance
        if spec in _EVERYTHING and instance.machine.has_other_events:
            instance.others_enabled = wanted
        elif not matched:
            raise Refused(errno.EINVAL, f"'{spec}' names no event; write SYSTEM:EVENT, SYSTEM: or EVENT")
        for event in matched:
            _switch(self.place.instance, event, wanted)


def listing(events: Iterable[UserEvent]) -> str:
    """``SYSTEM:EVENT`` lines."""
    return "".join(f"{event.system}:{event.tracepoint_name}\n" for event in events)


def meant_by(spec: str, group: Group) -> tuple[UserEvent, ...]:
    """The events that a ``set_event`` word means; only a whole ``*`` is a wildcard. One name costs one look-up.

    Source: user_events contract, tracefs.md section 2.
    """
    events = group.events
    system, colon, name = spec.partition(":")
    if not colon:
        return tuple(dict.fromkeys((*events.in_system(spec), *_named(group, events.systems(), spec))))
    if name not in ("", "*"):
        return _named(group, events.systems() if system in ("", "*") else (system,), name)
    return tuple(events) if system in ("", "*") else events.in_system(system)


def _named(group: Group, systems: Iterable[str], name: str) -> tuple[UserEvent, ...]:
    found = (group.events.by_tracepoint(system, name) for system in systems)
    return tuple(event for event in found if event is not None)


def next_word(data: bytes) -> tuple[bytes, int]:
    """The first word of a write and how many bytes it used up, the separator after it included.

    A NUL ends a word as white space does. EINVAL for a word that is too long.
    """
    found = _WORD.match(data)
    start, end = found.span(1) if found is not None else (0, 0)
    if end - start > abi.SET_EVENT_WORD_MAX:
        raise Refused(errno.EINVAL, f"a word of {end - start} bytes; at most {abi.SET_EVENT_WORD_MAX} fit")
    return data[start:end], min(end + 1, len(data))


def live_event(file: File) -> UserEvent:
    """The event whose file this is; ENODEV once it is gone, however long the file was open.

    Source: user_events contract, lifecycle.md section 8.
    """
    event = file.place.event
    if event is None or not event.listed:
        raise Refused(errno.ENODEV, "the event of this file is gone")
    return event


def _on_or_off(data: bytes) -> bool:
    number = parse_unsigned(data)
    if number > 1:
        raise Refused(errno.EINVAL, f"'{number}' is neither 0 nor 1")
    return bool(number)


def _switch(instance: Instance, event: UserEvent, wanted: bool) -> None:
    if wanted:
        instance.enable(event)
    else:
        instance.disable(event)
