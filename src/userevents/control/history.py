"""Reading ``userevents/history``: what happened to each event lately, and to events that are gone."""

from typing import NamedTuple

from ..abi import tracefs as abi
from ..errors import Malformed, Refused
from .access import Access, read_file

_WHAT = f"{abi.OWN}/{abi.OWN_HISTORY}"
_NS_DIGITS = 9


class Entry(NamedTuple):
    """One thing that happened to an event."""

    at_ns: int
    """When, by the tracer's clock; `History.now_ns` is the same clock."""
    what: str
    who: str


class GoneEvent(NamedTuple):
    """An event that was destroyed, as it was."""

    event: str
    """``SYSTEM:EVENT``."""
    id: int
    fields: str
    entries: tuple[Entry, ...]


class History(NamedTuple):
    """What a tracer remembers."""

    now_ns: int
    events: dict[str, tuple[Entry, ...]]
    """By ``SYSTEM:EVENT``, oldest entry first."""
    gone: tuple[GoneEvent, ...]
    """The events destroyed last, oldest first."""


def read_history(access: Access) -> History | None:
    """What the tracer remembers; None from one that does not tell (a kernel)."""
    try:
        text = read_file(access, _WHAT).decode("latin-1")
    except Refused as refused:
        if refused.name == "ENOENT":
            return None
        raise
    return parse_history(text)


def parse_history(text: str) -> History:
    """Read the text of ``userevents/history``; raises `Malformed`.

    >>> parse_history("# now 5.000000000\\nuser_events:t id=20\\n  2.000000001 enabled: top instance\\n").events
    {'user_events:t': (Entry(at_ns=2000000001, what='enabled', who='top instance'),)}
    """
    first, *lines = text.removesuffix("\n").split("\n")
    if not first.startswith("# now "):
        raise Malformed(_WHAT, f"begins with '{first[:40]}', not with the time")
    found: list[tuple[str, int, str | None, list[Entry]]] = []
    for number, line in enumerate(lines, 2):
        try:
            if line.startswith("  "):
                found[-1][3].append(_entry(line[2:]))
            else:
                found.append((*_title(line), []))
        except (ValueError, IndexError):
            raise Malformed(
                _WHAT, f"line {number}: '{line[:60]}' is neither an event nor what happened to one"
            ) from None
    return History(
        _time_ns(first.removeprefix("# now ")),
        {event: tuple(entries) for event, _, fields, entries in found if fields is None},
        tuple(GoneEvent(event, number, fields, tuple(e)) for event, number, fields, e in found if fields is not None),
    )


def _title(line: str) -> tuple[str, int, str | None]:
    """An event, its id, and of one that is gone its fields."""
    event, number, *rest = line.split(" ", 3)
    if not number.startswith("id=") or rest[:1] not in ([], ["gone"]):
        raise ValueError(line)
    return event, int(number.removeprefix("id=")), "".join(rest[1:]) if rest else None


def _entry(text: str) -> Entry:
    time, _, told = text.partition(" ")
    what, _, who = told.partition(": ")
    return Entry(_time_ns(time), what, who)


def _time_ns(text: str) -> int:
    seconds, dot, rest = text.partition(".")
    if not dot or len(rest) != _NS_DIGITS or not (seconds + rest).isdecimal():
        raise Malformed(_WHAT, f"'{text[:40]}' is no time in seconds")
    return int(seconds + rest)
