"""Going on with a recording of the fleet whose recorder was killed: what it has of each host, and where to read on."""

import os
from typing import NamedTuple

from ..buffer import stream as wire
from ..buffer.stream import Frame, FrameReader
from ..errors import Unusable
from ..formats import facts
from .merged import Merged

_SAME_BOOT_NS = 10**9


class Resumed(NamedTuple):
    """Where a recording stands: its whole size, and the message of the stream behind which to go on."""

    size: int
    stored: int
    header: dict[str, object]


def resume(fd: int, path: str, merged: Merged, now: dict[str, object]) -> Resumed:
    """Find out what the recording in `fd` has, into `merged`; a batch that was cut is not counted.

    `now` is a header as one would write it now. Raises `Malformed` for what is no recording, `Unusable` for one that
    has ended, or is from before this machine was started.
    """
    reader = FrameReader(lambda offset, size: os.pread(fd, size, offset), os.fstat(fd).st_size, path)
    found = _Found(reader, merged)
    for frame in reader:
        if isinstance(frame, Frame) and frame.kind in (wire.HEADER, wire.HOST, wire.CLOCK, wire.BATCH, wire.END):
            found.add(frame)
    if found.ended:
        raise Unusable(f"'{path}' has ended: 'userevents recover' makes the trace of it")
    apart = [facts.whole(each, "real_ns") - facts.whole(each, "mono_ns") for each in (found.header, now)]
    if not found.header or abs(apart[0] - apart[1]) > _SAME_BOOT_NS:
        raise Unusable(
            f"'{path}' was begun before this machine was started (or its date was set), so its times are of another"
            " clock: 'userevents recover' makes a trace of what it has"
        )
    return Resumed(found.whole, found.stored, found.header)


class _Found:
    """What the frames of the recording itself say."""

    def __init__(self, reader: FrameReader, merged: Merged) -> None:
        self.header: dict[str, object] = {}
        self.stored = 0
        self.whole = wire.START.size
        self.ended = False
        self._reader = reader
        self._merged = merged
        self._scopes: dict[int, tuple[str, str, int]] = {}
        self._next = 0
        """Where the batch that is being read ends: frames before that are a host's own."""

    def add(self, frame: Frame) -> None:
        """Take in a frame."""
        if frame.start - wire.FRAME.size < self._next:
            return
        found = self._reader.facts(frame) or {}
        end = frame.start - wire.FRAME.size + _size(frame)
        if frame.kind == wire.HEADER:
            self.header = self.header or found
        elif frame.kind == wire.END:
            self.ended = True
        elif frame.kind == wire.HOST:
            name, run = facts.text(found, "name"), facts.text(found, "incarnation")
            number = facts.whole(found, "number")
            self._scopes[frame.stream] = name, run, number
            self._merged.resume(frame.stream, name, number, run)
        elif frame.kind == wire.BATCH and frame.stream in self._scopes:
            end += facts.count(found, "size")
            self._next = end
            if end > self._reader.size:
                return
            name, run, number = self._scopes[frame.stream]
            turns = self._merged.resume(frame.stream, name, number, run).turns
            turns.resume(facts.count(found, "seq"), facts.count(found, "upto"), facts.count(found, "recording"))
            self.stored = max(self.stored, facts.count(found, "stored"))
        self.whole = end


def _size(frame: Frame) -> int:
    return wire.FRAME.size + frame.used + (-frame.used & 7)
