"""The local tracer, as its agent sees it: which events this host uses, and having the fleet's wishes done here.

All of it goes through the tree (control/), and blocks: the agent calls it in a thread.
"""

import contextlib
import errno
import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..abi import tracefs as abi
from ..abi.user_events import USER_EVENTS_PREFIX
from ..control import Access, InstanceControl, Tracer, read_file
from ..control.events import EventControl, EventName
from ..control.registration import delete_event
from ..control.tracer import parse_holders
from ..errors import Malformed, Refused
from ..fields import fields_text
from . import names

INSTANCE: Final = "fleet"
"""The instance of the local tracer that records for the fleet; its stream is what the fleet gets. Others of the fleet
have names that begin so, with a ``-``."""
_HOLDERS: Final = f"{abi.OWN}/{abi.OWN_HOLDERS}"
_OURS: Final = f"ftrace instance {INSTANCE}"
_NOBODY: Final = ("self persistent", "work destroy is queued", _OURS)
"""Holders that are no use of an event by this host: what keeps a persistent one, what ends it, and the fleet itself."""


class Held(NamedTuple):
    """What this host has to tell of its events: keys with their values."""

    used: dict[str, bytes]
    persistent: dict[str, bytes]
    declarations: dict[str, str]
    """By persist key, what the event is to be deleted as: kernel text."""


class Local:
    """One tracer's tree, for one host of a fleet."""

    def __init__(self, access: Access, host: str) -> None:
        self.access = access
        self.host = host
        self._last: tuple[bytes, ...] = ()
        self._held = Held({}, {}, {})
        self.instance = make_instance(access)
        self._recorded: list[str] | None = None
        """The patterns that were set last; the instance is nobody else's."""

    def held(self) -> Held:
        """Return what is held now; the very same object as before if nothing has changed."""
        raw = tuple(read_file(self.access, path) for path in (_HOLDERS, abi.DYNAMIC_EVENTS))
        if raw != self._last:
            self._held = self._read(*(text.decode("latin-1") for text in raw))
            self._last = raw
        return self._held

    def record(self, patterns: Sequence[str]) -> None:
        """Have the events that the patterns want recorded for the fleet, and no others."""
        if self._recorded is None or self._recorded != list(patterns):
            self._recorded = None
            self.instance.set_patterns(patterns)
            self._recorded = list(patterns)

    def delete(self, declaration: str) -> None:
        """Delete a persistent event here, as it was deleted in the fleet; one that is in use stays."""
        with contextlib.suppress(Refused):
            delete_event(self.access, declaration)

    def _read(self, holders: str, declared: str) -> Held:
        held = Held({}, {}, {})
        lines = (line.removeprefix(USER_EVENTS_PREFIX) for line in declared.split("\n"))
        fields_of = {name: fields for name, _, fields in (line.partition(" ") for line in lines)}
        for name, who in parse_holders(holders).items():
            event = EventName(*name.split(":", 1))
            fields = self._layout(event) if event.is_multi else fields_of.get(event.name)
            if fields is not None:
                self._add(held, event, fields, who)
        return held

    def _add(self, held: Held, event: EventName, fields: str, holders: tuple[str, ...]) -> None:
        shown = _shown(f"{event.system}:{event.registered_name}")
        declaration = f"{event.registered_name} {fields}".rstrip()
        layout = names.layout_of(_shown(fields))
        persists = "self persistent" in holders
        value = json.dumps({"declaration": _shown(declaration)} | ({"persist": True} if persists else {})).encode()
        if any(holder not in _NOBODY and not holder.startswith(f"{_OURS}-") for holder in holders):
            held.used[names.user_key(shown, layout, self.host)] = value
        if persists:
            key = names.persist_key(shown, layout, self.host)
            held.persistent[key] = value
            held.declarations[key] = declaration

    def _layout(self, event: EventName) -> str | None:
        try:
            return fields_text(EventControl(self.access, "", event).format.fields)
        except (Refused, Malformed):
            return None


def make_instance(access: Access) -> InstanceControl:
    """The local instance of the fleet, made where it is not there yet."""
    tracer = Tracer(access)
    try:
        tracer.create_instance(INSTANCE)
    except Refused as refused:
        if refused.errno != errno.EEXIST:
            raise
    return tracer.instance(INSTANCE)


def _shown(text: str) -> str:
    """Kernel text as people read it."""
    return text.encode("latin-1", "backslashreplace").decode("utf-8", "backslashreplace")
