"""The files below ``userevents/``, which no kernel has: patterns, selection, stream, holders, history, info."""

import errno
import json
from collections.abc import Iterable, Iterator
from typing import ClassVar

from ..abi import tracefs as abi
from ..engine import Entry
from ..errors import Refused
from ..instance import Selection
from .node import File, OpenNode
from .system import TOP
from .text import text_lines, truncates

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


class Patterns(File):
    """``userevents/patterns``: globs of the events that this instance wants, now and later."""

    mode: ClassVar[int] = abi.MODE_WRITE

    def opened(self, node: OpenNode) -> None:
        """Truncating wants nothing any more."""
        if truncates(node):
            self.place.instance.set_patterns(())

    def text(self) -> str:
        """One pattern a line."""
        return "".join(f"{pattern}\n" for pattern in self.place.instance.patterns)

    def write(self, node: OpenNode, data: bytes) -> int:
        """Replace the patterns, or add to them if the file was opened for appending."""
        kept = self.place.instance.patterns if node.flags & abi.O_APPEND else ()
        self.place.instance.set_patterns((*kept, *text_lines(data)))
        return len(data)


class Select(File):
    """``userevents/select``: the processes that this instance records."""

    mode: ClassVar[int] = abi.MODE_WRITE

    def opened(self, node: OpenNode) -> None:
        """Truncating selects every process again."""
        if truncates(node):
            self.place.instance.set_selection(Selection())

    def text(self) -> str:
        """One rule a line."""
        return self.place.instance.selection.text

    def write(self, node: OpenNode, data: bytes) -> int:
        """Replace the rules, or add to them if the file was opened for appending."""
        added = Selection.parse("\n".join(text_lines(data)))
        kept = self.place.instance.selection.rules if node.flags & abi.O_APPEND else ()
        self.place.instance.set_selection(Selection(kept + added.rules))
        return len(data)


class Stream(File):
    """``userevents/stream``: the instance's recording stream, consumed by one reader at a time."""

    is_synchronous: ClassVar[bool] = False

    def opened(self, node: OpenNode) -> None:
        """One reader at a time; a second one gets EBUSY."""
        self.place.instance.stream.acquire()

    def closed(self, node: OpenNode, *, aborted: bool) -> None:
        """In good order, what was read has arrived; of a dead reader, the last read may not have."""
        self.place.instance.stream.let_go(arrived=not aborted)

    def read(self, node: OpenNode, size: int, offset: int | None) -> bytes:
        """Whole frames; reading again says that those of the read before have arrived."""
        stream = self.place.instance.stream
        data = stream.read(size)
        if not data and not stream.readable():
            raise Refused(errno.EAGAIN, "nothing has been recorded since the last read")
        return data

    def readable(self) -> bool:
        """Whether there are frames, or the end."""
        return self.place.instance.stream.readable()


class Control(File):
    """``userevents/control``: ``finish`` ends the recording in the stream, ``rotate`` ends it and begins the next."""

    mode: ClassVar[int] = abi.MODE_WRITE

    def write(self, node: OpenNode, data: bytes) -> int:
        """Take one request; EINVAL for one there is not."""
        self.place.instance.ask(" ".join(text_lines(data)))
        return len(data)


class Holders(File):
    """``userevents/holders``: what keeps each event alive."""

    def text(self) -> str:
        """A line for each event, and an indented one for each reference to it."""
        return "".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for event in self.place.system.group.events:
            yield f"{event.system}:{_one_line(event.tracepoint_name)} id={event.id} refcnt={event.refcnt}\n"
            for holder in event.holders():
                yield f"  {holder.kind} {_one_line(holder.detail)}".rstrip() + "\n"


class History(File):
    """``userevents/history``: what happened to each event lately, and to the last of those that are gone."""

    def text(self) -> str:
        """The time now, then a line for each event and an indented one for each thing that happened to it.

        Events that are gone come last, with the fields they had.
        """
        return "".join(self._lines())

    def _lines(self) -> Iterator[str]:
        group = self.place.system.group
        yield f"# now {_seconds(group.history.now())}\n"
        for event in group.events:
            yield f"{event.system}:{_one_line(event.tracepoint_name)} id={event.id}\n"
            yield from _entry_lines(group.history.of(event))
        for gone in group.history.gone:
            fields = f" {_one_line(gone.fields_text)}" if gone.fields_text else ""
            yield f"{gone.system}:{_one_line(gone.tracepoint_name)} id={gone.id} gone{fields}\n"
            yield from _entry_lines(gone.entries)


class Info(File):
    """``userevents/info``: the tracer (at the top) or the instance, a JSON object."""

    def text(self) -> str:
        """One line of JSON."""
        instance = self.place.instance
        if instance.name == TOP:
            return self.place.system.info().rstrip("\n") + "\n"
        facts = {
            "instance": instance.name,
            "enabled": len(instance.enabled),
            "queued_bytes": instance.stream.size,
            "missed": instance.stream.missed,
        }
        return json.dumps(facts) + "\n"


def _entry_lines(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        who = f": {_one_line(entry.who)}" if entry.who else ""
        yield f"  {_seconds(entry.at)} {entry.what}{who}\n"


def _seconds(time_ns: int) -> str:
    return f"{time_ns // 1_000_000_000}.{time_ns % 1_000_000_000:09}"


def _one_line(text: str) -> str:
    """Text with its control characters escaped: a process may call itself anything."""
    return text.translate(_ESCAPES)
