"""A tracer, driven by its files: which events there are, who uses them, and instances to record with.

Nothing here knows what answers: the same calls work on our tree in this process, over a socket or
mounted, and, but for what stands below ``userevents/``, on a kernel's tracefs.
"""

import errno
import json
import os
from collections.abc import Iterable
from typing import NamedTuple

from ..abi import tracefs as abi
from ..errors import Malformed, Refused
from ..fields import EventFormat, parse_format
from .access import Access, Handle, read_file, write_file

_USED_BY = " # Used by "


class EventInfo(NamedTuple):
    """One event; names are kernel text, one character a byte."""

    system: str
    name: str
    id: int
    format: str
    """The text of its ``format`` file."""
    used_by: tuple[str, ...]
    """Kinds of listeners: ``ftrace``, ``perf``, ``other``; none when nobody listens."""
    holders: tuple[str, ...]
    """What keeps it alive, where the tracer tells: ``KIND DETAIL`` each."""

    @property
    def enabled(self) -> bool:
        """Whether anybody listens to it."""
        return bool(self.used_by)

    @property
    def parsed(self) -> EventFormat:
        """The format file, read."""
        return parse_format(self.format)


class Status(NamedTuple):
    """What ``user_events_status`` says."""

    used_by: dict[str, tuple[str, ...]]
    """Every event by its name in the tree, with the kinds of its listeners."""
    active: int
    busy: int


class Tracer:
    """The tracing tree behind `access`, as calls."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.top = InstanceControl(access, "")
        """The top instance."""

    def info(self) -> dict[str, object]:
        """What the tracer says of itself; empty for a kernel."""
        return _json(self.access, f"{abi.OWN}/{abi.OWN_INFO}")

    def status(self) -> Status:
        """The events and who uses them."""
        return parse_status(_text(self.access, abi.USER_EVENTS_STATUS))

    def events(self) -> list[EventInfo]:
        """Every user event, oldest first. One that goes while this runs is left out."""
        used_by = self.status().used_by
        holders = self.holders()
        lines = _text(self.access, abi.AVAILABLE_EVENTS).split("\n")
        found = []
        for line in reversed([line for line in lines if line.startswith("user_events")]):
            system, _, name = line.partition(":")
            event = self._event(system, name, used_by.get(name, ()), holders.get(line, ()))
            if event is not None:
                found.append(event)
        return found

    def holders(self) -> dict[str, tuple[str, ...]]:
        """Who holds each event, by ``SYSTEM:EVENT``; empty for a kernel, which does not tell."""
        try:
            text = _text(self.access, f"{abi.OWN}/{abi.OWN_HOLDERS}")
        except Refused as refused:
            if refused.errno == errno.ENOENT:
                return {}
            raise
        return parse_holders(text)

    def instances(self) -> list[str]:
        """The names of the instances besides the top one."""
        return self.access.listdir(abi.INSTANCES)

    def instance(self, name: str) -> "InstanceControl":
        """An instance that exists."""
        return InstanceControl(self.access, f"{abi.INSTANCES}/{name}/")

    def create_instance(self, name: str, keep: bool = False) -> "InstanceControl":
        """Make an instance; without `keep` it goes when the access is closed (or its process dies)."""
        self.access.mkdir(f"{abi.INSTANCES}/{name}", keep)
        return self.instance(name)

    def _event(self, system: str, name: str, used_by: tuple[str, ...], holders: tuple[str, ...]) -> EventInfo | None:
        directory = f"{abi.EVENTS}/{system}/{name}"
        try:
            number = _text(self.access, f"{directory}/{abi.ID}")
            layout = _text(self.access, f"{directory}/{abi.FORMAT}")
        except Refused as refused:
            if refused.errno in (errno.ENOENT, errno.ENODEV):
                return None
            raise
        return EventInfo(system, name, int(number), layout, used_by, holders)


class InstanceControl:
    """One trace instance: what it listens to, whom it records, and its stream."""

    def __init__(self, access: Access, prefix: str) -> None:
        self._access = access
        self._prefix = prefix

    def set_patterns(self, patterns: Iterable[str]) -> None:
        """Listen to what these ``[SYSTEM:]EVENT`` globs match, now and in the future, and nothing else by pattern."""
        self._write_own(abi.OWN_PATTERNS, patterns)

    def patterns(self) -> list[str]:
        """The patterns in force."""
        return self._lines(f"{abi.OWN}/{abi.OWN_PATTERNS}")

    def set_selection(self, rules: Iterable[str]) -> None:
        """Record only the processes that a rule selects: ``all``, ``pid N``, ``tree N``, ``run TOKEN``."""
        self._write_own(abi.OWN_SELECT, rules)

    def selection(self) -> list[str]:
        """The rules in force."""
        return self._lines(f"{abi.OWN}/{abi.OWN_SELECT}")

    def enable(self, spec: str) -> None:
        """Listen to the existing events that a ``set_event`` word names; EINVAL if it names none."""
        write_file(self._access, self._prefix + abi.SET_EVENT, spec.encode() + b"\n")

    def disable(self, spec: str) -> None:
        """Stop listening to the events that a ``set_event`` word names."""
        write_file(self._access, self._prefix + abi.SET_EVENT, b"!" + spec.encode() + b"\n")

    def enabled(self) -> list[str]:
        """``SYSTEM:EVENT`` of every event this instance listens to."""
        return self._lines(abi.SET_EVENT)

    def stream(self) -> Handle:
        """Open the recording stream; EBUSY while somebody else reads it."""
        return self._access.open(f"{self._prefix}{abi.OWN}/{abi.OWN_STREAM}")

    def finish(self) -> None:
        """End the recording: the stream gives what is left, its last counts, and then the end."""
        self._write_own(abi.OWN_CONTROL, ["finish"])

    def rotate(self) -> None:
        """End the recording in the stream and begin the next one, with nothing lost or doubled between them."""
        self._write_own(abi.OWN_CONTROL, ["rotate"])

    def set_buffer(self, size: int) -> None:
        """Have every program that is recorded keep at least `size` bytes."""
        self._write_own(abi.OWN_CONTROL, [f"buffer {size}"])

    def fly(self) -> None:
        """Be a flight recording: the stream gives nothing, the programs keep the newest, `dump` hands it out."""
        self._write_own(abi.OWN_CONTROL, ["flight"])

    def watch(self, where: str = "") -> None:
        """Have the patterns' events in the rings, from their first record on; `where` is a filter of the kernel's kind.

        An event that it does not suit stays disabled, and its ``filter`` says why.
        """
        self._write_own(abi.OWN_CONTROL, [f"watch {where}".rstrip()])

    def dump(self, name: str, since_ns: int = 0) -> None:
        """Put what the flight recording `name` holds into this stream, from a monotonic time on, and end it."""
        self._write_own(abi.OWN_CONTROL, [f"dump {name} {since_ns}"])

    def capture(self, name: str, since_ns: int, until_ns: int) -> None:
        """Put what the flight recording `name` holds from a monotonic time on, and what comes next, into this stream.

        It ends with what was written before `until_ns`; `extend` may put that off.
        """
        self.extend(until_ns)
        self._write_own(abi.OWN_CONTROL, [f"capture {name} {since_ns}"])

    def extend(self, until_ns: int) -> None:
        """Let a capture end before that monotonic time."""
        self._write_own(abi.OWN_CONTROL, [f"until {until_ns}"])

    def info(self) -> dict[str, object]:
        """What the tracer says of this instance; empty for a kernel."""
        return _json(self._access, f"{self._prefix}{abi.OWN}/{abi.OWN_INFO}")

    def remove(self) -> None:
        """Remove the instance; EBUSY while a file of it is open."""
        self._access.rmdir(self._prefix.rstrip("/"))

    def _lines(self, path: str) -> list[str]:
        return [line for line in _text(self._access, self._prefix + path).split("\n") if line]

    def _write_own(self, name: str, lines: Iterable[str]) -> None:
        data = os.fsencode("".join(f"{line}\n" for line in lines))
        write_file(
            self._access, f"{self._prefix}{abi.OWN}/{name}", data, abi.O_WRONLY if data else abi.O_WRONLY | abi.O_TRUNC
        )


def parse_status(text: str) -> Status:
    """Read ``user_events_status``; raises `Malformed`.

    Source: user_events contract, fields.md section 8.
    """
    listed, _, totals = text.rpartition("\nActive: ")
    active, _, busy = totals.rstrip("\n").partition("\nBusy: ")
    if not (active.isdigit() and busy.isdigit()):
        raise Malformed("user_events_status", "does not end in 'Active: N' and 'Busy: N'")
    used_by: dict[str, tuple[str, ...]] = {}
    for line in listed.split("\n")[:-1]:
        name, _, kinds = line.partition(_USED_BY)
        used_by[name] = tuple(kinds.split())
    return Status(used_by, int(active), int(busy))


def parse_holders(text: str) -> dict[str, tuple[str, ...]]:
    """Read ``userevents/holders``: for each ``SYSTEM:EVENT``, ``KIND DETAIL`` of every reference.

    Raises `Malformed`.
    """
    found: dict[str, list[str]] = {}
    holders: list[str] | None = None
    for line in text.split("\n"):
        if not line.startswith("  "):
            holders = found.setdefault(line.rsplit(" id=", 1)[0], []) if line else None
        elif holders is None:
            raise Malformed(f"{abi.OWN}/{abi.OWN_HOLDERS}", f"'{line.strip()[:60]}' holds no event")
        else:
            holders.append(line.strip())
    return {event: tuple(holders) for event, holders in found.items()}


def _text(access: Access, path: str) -> str:
    return read_file(access, path).decode("latin-1")


def _json(access: Access, path: str) -> dict[str, object]:
    try:
        facts = json.loads(read_file(access, path))
    except Refused as refused:
        if refused.errno == errno.ENOENT:
            return {}
        raise
    except ValueError as error:
        raise Malformed(path, f"is not JSON: {error}") from None
    if not isinstance(facts, dict):
        raise Malformed(path, "is not a JSON object")
    return facts
