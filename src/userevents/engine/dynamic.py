"""The commands of ``dynamic_events`` as far as user events take part in them.

Source: user_events contract, abi.md section 6.
"""

import errno
from typing import NamedTuple

from ..abi.user_events import USER_EVENTS_MULTI_SYSTEM, USER_EVENTS_PREFIX, USER_EVENTS_SYSTEM
from ..errors import Refused
from .text import SPACES, words

_SYSTEMS = (USER_EVENTS_SYSTEM, USER_EVENTS_MULTI_SYSTEM)


class Deletion(NamedTuple):
    """What a ``-:`` or ``!`` line asks to delete."""

    system: str | None
    name: str
    args: str
    """The field words, joined by single spaces; empty means "an event without fields"."""


def creation_text(line: str) -> str:
    """The declaration in a ``u:NAME [FIELDS]`` line; EINVAL for a line that is no such thing."""
    if not line.startswith(USER_EVENTS_PREFIX):
        raise Refused(errno.EINVAL, f"'{line}' is no dynamic event; write '{USER_EVENTS_PREFIX}NAME FIELDS'")
    return line[len(USER_EVENTS_PREFIX) :].lstrip(SPACES)


def parse_deletion(line: str) -> Deletion:
    """Read ``-:[SYSTEM/]NAME [FIELDS]`` or ``!…:[SYSTEM/]NAME [FIELDS]``; EINVAL when it is neither."""
    parts = words(line)
    first = parts[0] if parts else ""
    if first.startswith("-:"):
        place = first[2:]
    elif first.startswith("!") and ":" in first:
        place = first.split(":", 1)[1]
    else:
        raise Refused(errno.EINVAL, f"'{line}' deletes nothing; write '-:[SYSTEM/]NAME FIELDS'")
    system, slash, name = place.partition("/")
    if not slash:
        system, name = "", place
    if not slash and not name:
        raise Refused(errno.EINVAL, f"'{line}' names no event; write '-:[SYSTEM/]NAME FIELDS'")
    return Deletion(system if slash else None, name, " ".join(parts[1:]))


def in_system(system: str | None) -> bool:
    """Whether a deletion's system names user events; either name means both kinds."""
    return system is None or system in _SYSTEMS
