"""Keeping a recording stream: raw files on disk, and the numbers that pass by in it.

The stream is written as it comes, so that whatever was recorded stays readable if this process is killed or
the disk fills up. Format: docs/formats/recording.md.
"""

import errno
import fcntl
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from ..buffer import stream
from ..errors import NoTracer, Unusable
from .events import EventName

PART_SUFFIX = ".part"


class Totals(NamedTuple):
    """What a recording has come to, by the ledgers that passed by; `lost` is dropped, overwritten and missed."""

    programs: int
    committed: int
    lost: int
    size: int


class RawFile:
    """A recording on its way to disk: ``OUT.part`` beside the output, mode 0600, locked while it is written.

    With `go_on` what a killed recorder left there stays, and `size` says how much it is; `fd` is the open file.

    Raises `Unusable` when the output cannot be written, or when another recorder writes it.
    """

    def __init__(self, out: str, *, go_on: bool = False) -> None:
        self.out = out
        self._go_on = go_on
        self.path = out + PART_SUFFIX
        self.left_behind: str | None = None
        """Where the unfinished file of a killed recorder was moved, if there was one."""
        self.size = 0
        if os.path.isdir(out):
            raise Unusable(f"output '{out}' is a directory; name a file (-o FILE)")
        try:
            self._fd = self._open()
        except OSError as error:
            raise Unusable(f"output '{out}' cannot be written: {error.strerror} (choose another with -o)") from None

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise Unusable(f"output '{self.out}' is being written by another recorder (-o names another)") from None
            raise
        if os.fstat(fd).st_size == 0:
            os.fchmod(fd, 0o600)
            return fd
        if self._go_on:
            self.size = os.lseek(fd, 0, os.SEEK_END)
            return fd
        os.close(fd)
        number = 1
        while os.path.exists(aside := f"{self.out}.killed-{number}{PART_SUFFIX}"):
            number += 1
        os.rename(self.path, aside)
        self.left_behind = aside
        return self._open()

    def write(self, data: bytes | memoryview) -> None:
        """Append whole frames. On failure (a full disk) the file ends with the last whole write; raises OSError."""
        view = memoryview(data)
        start = self.size
        while view:
            try:
                written = os.write(self._fd, view)
            except OSError as error:
                os.ftruncate(self._fd, start)
                self.size = start
                raise OSError(error.errno, f"writing '{self.path}': {error.strerror}") from None
            self.size += written
            view = view[written:]

    @property
    def fd(self) -> int:
        """The open file."""
        return self._fd

    @property
    def inode(self) -> int:
        """Which file it is, whatever its name."""
        return os.fstat(self._fd).st_ino

    def cut(self, size: int) -> None:
        """Give up what lies behind the first `size` bytes."""
        os.ftruncate(self._fd, size)
        self.size = os.lseek(self._fd, size, os.SEEK_SET)

    def move_to(self, out: str) -> None:
        """Rename the raw file to the part file of another output (when recordings rotate)."""
        os.rename(self.path, out + PART_SUFFIX)
        self.out = out
        self.path = out + PART_SUFFIX

    def close(self) -> None:
        """Close the file, keeping it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def discard(self) -> None:
        """Close and remove the file: its content stands in a finished trace, or is not wanted."""
        self.close()
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass


class Note(Protocol):
    """Who is asked before a file takes something in (session/recorder_note.py)."""

    def writing(self, size: int, inode: int) -> AbstractContextManager[bool]:
        """Until it ends, the file is written to, whose first `size` bytes were given back; False if it must not be."""

    def add_stream(self, number: int, nonce: str) -> None:
        """A stream of the file is this session's."""


class StreamWriter:
    """Writes a stream to raw files, one file from each HEADER to its END, watching the numbers go by.

    `next_file` is asked for a file whenever a recording begins; `on_end` is told each file that is complete.
    """

    def __init__(
        self,
        first: RawFile,
        next_file: Callable[[], RawFile],
        on_end: Callable[[RawFile], None],
        note: Note | None = None,
    ) -> None:
        self.note = note
        self.file: RawFile | None = first
        self.notes: list[str] = []
        """Warnings that passed by, each once."""
        self.refusals: dict[tuple[int, str], str] = {}
        """Events that were refused, by (stream, name): why."""
        self.declared: set[EventName] = set()
        """Events that the programs declare, recorded or not."""
        self._next_file = next_file
        self._on_end = on_end
        self._programs: set[int] = set()
        self._ledgers: dict[int, dict[str, Any]] = {}
        self._wanted: dict[int, set[str]] = {}
        """By stream, the ids of the events that are recorded: others may lie in the same ring."""
        self._names: dict[tuple[int, str], EventName] = {}
        self._attempted: set[EventName] = set()
        self._earlier = [0, 0, 0]

    @property
    def attempted(self) -> set[EventName]:
        """Events of which there was an attempt at least, as far as programs have told."""
        found = [
            self._names.get((number, event))
            for number, ledger in self._ledgers.items()
            for event, counts in ledger["events"].items()
            if counts["attempts"]
        ]
        return self._attempted.union(name for name in found if name is not None)

    @property
    def totals(self) -> Totals:
        """The numbers so far, over all files."""
        committed, lost, size = self._earlier
        for number, ledger in self._ledgers.items():
            committed += ledger["committed"] - _unwanted(ledger, self._wanted.get(number, set()))
            lost += _lost(ledger)
        return Totals(len(self._programs), committed, lost, size + (self.file.size if self.file else 0))

    def add_note(self, text: str) -> None:
        """Put a warning of the recorder's own into the recording. A disk that is full is told of by `write`."""
        if self.file is not None and self.file.size:
            try:
                self.file.write(stream.pack_note(text))
            except OSError:
                pass

    def write(self, data: bytes) -> None:
        """Take in whole frames as the tracer handed them out. Raises `NoTracer` if another has taken its place."""
        start = offset = 0
        if data[:8] == stream.MAGIC and self.file is not None and self.file.size == 0:
            offset = stream.START.size
        while offset < len(data):
            if data[offset : offset + 8] == stream.MAGIC:  # another recording begins
                self._begin()
                start = offset
                offset += stream.START.size
                continue
            size, kind, _, number, used = stream.FRAME.unpack_from(data, offset)
            if kind not in (stream.PAGE_PART, stream.PAGE_RUN):
                self._look(kind, number, data[offset + stream.FRAME.size : offset + stream.FRAME.size + used])
            offset += size
            if kind == stream.END:
                self._keep(memoryview(data)[start:offset])
                self._end()
                start = offset
        self._keep(memoryview(data)[start:])

    def _keep(self, frames: memoryview) -> None:
        if not frames or self.file is None:
            return
        if self.note is None:
            self.file.write(frames)
            return
        with self.note.writing(self.file.size, self.file.inode) as may_write:
            if not may_write:
                raise NoTracer("another tracer has taken its place")
            self.file.write(frames)

    def _begin(self) -> None:
        if self.file is None:
            self.file = self._next_file()

    def _end(self) -> None:
        file = self.file
        if file is not None:
            totals = self.totals
            self._attempted = self.attempted
            self._earlier = [totals.committed, totals.lost, totals.size]
            self._ledgers.clear()
            self.file = None
            self._on_end(file)

    def _look(self, kind: int, number: int, payload: bytes) -> None:
        if kind not in (stream.STREAM, stream.LEDGER, stream.NOTE, stream.EVENT):
            return
        content = json.loads(payload)
        if kind == stream.EVENT:
            name = EventName(content["system"], content["name"])
            self.declared.add(name)
            self._names[number, str(content["id"])] = name
        if kind == stream.STREAM:
            self._programs.add(content["pid"])
            if self.note is not None and "native" not in content:  # those leave no ring
                self.note.add_stream(number, content["nonce"])
        elif kind == stream.LEDGER:
            self._ledgers[number] = content
        elif kind == stream.NOTE and content["text"] not in self.notes:
            self.notes.append(content["text"])
        elif kind == stream.EVENT and content.get("enabled"):
            self._wanted.setdefault(number, set()).add(str(content["id"]))
        elif kind == stream.EVENT and content.get("error"):
            self.refusals[number, content["name"]] = content.get("reason") or content["error"]


_DROPPED = ("ring_full", "too_large", "reentry", "invalid", "tracer_gone")


def _unwanted(ledger: dict[str, Any], wanted: set[str]) -> int:
    """Records of events that others have enabled: nobody asked this recording for them."""
    others = (counts for event, counts in ledger["events"].items() if event not in wanted)
    return sum(counts["attempts"] - sum(counts.get(reason, 0) for reason in _DROPPED) for counts in others)


def _lost(ledger: dict[str, Any]) -> int:
    events = ledger["events"].values()
    dropped = sum(counts.get(reason, 0) for counts in events for reason in _DROPPED)
    return int(dropped + ledger.get("overwritten", 0) + ledger.get("missed", 0))
