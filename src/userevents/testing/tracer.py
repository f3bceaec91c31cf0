"""A private tracer: it sees the events of this process and of the programs started meanwhile, and nobody else does.

Everything is in a runtime directory of its own. The events of this process, also those declared long before, move there
and go back afterwards.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, overload

from ..buffer import stream
from ..client import Event
from ..client.runtime import runtime
from ..control import Tracer as TracerControl
from ..errors import Unusable
from ..fields import parse_declaration
from ..fields.filter import parse_filter
from ..formats import Recording, merge
from ..host import LocalAccess, Tracer
from ..session import directory
from ..tracefs import Tree
from .records import Filters, Record, decoded, lost

RING_PAGES: Final = 64
"""Of 4096 bytes, to begin with, for each program; a ring grows when it is too small."""
_READ_SIZE: Final = 1 << 22
_SHORTEST_PAUSE_S: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.05
_LAST: Final = 20
_ENVIRONMENT: Final = ("USEREVENTS_DIR", "USEREVENTS_BACKEND", "USEREVENTS_RUN")


class UnknownEvent(LookupError):
    """No process has declared an event of this name: a misspelt one would otherwise have happened 0 times."""

    def __str__(self) -> str:
        return str(self.args[0])


class Records(Sequence[Record]):
    """Records in order of time, as they were when asked for."""

    def __init__(self, name: str, records: list[Record]) -> None:
        self._name = name
        self._records = records

    @property
    def count(self) -> int:  # type: ignore[override]
        """How many there are."""
        return len(self._records)

    @property
    def last(self) -> Record:
        """The newest; raises IndexError where there is none."""
        return self._records[-1]

    def where(self, condition: "Where | None" = None, /, **fields: object) -> "Records":
        """Those with these values, or for which a function returns true."""
        return Records(self._name, [record for record in self._records if _meets(record, condition, fields)])

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> "Records": ...
    def __getitem__(self, index: int | slice) -> "Record | Records":
        if isinstance(index, slice):
            return Records(self._name, self._records[index])
        try:
            return self._records[index]
        except IndexError:
            raise IndexError(f"record {index} of {self._name}, of which there are {len(self._records)}") from None

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        shown = [repr(record) for record in self._records[-_LAST:]]
        return f"[{'..., ' if len(self) > _LAST else ''}{', '.join(shown)}]"


Where = Callable[[Record], object] | Mapping[str, object]
"""Which record is meant: a function that returns true for it, or the values of some of its fields."""


class PrivateTracer:
    """A tracer for one test. Everything is recorded until `enable` says what; use it in a `with` block.

    Raises `Unusable` where no directory in memory can be had (``/dev/shm`` or ``$XDG_RUNTIME_DIR``).
    """

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="userevents-test-", dir=_memory())
        self._pid = os.getpid()
        self._filters: Filters = []
        self._data = bytearray()
        self._known: set[str] = set()
        self._recording: Recording | None = None
        self._records: tuple[int, list[Record]] | None = None
        self._tracer = Tracer(ring_pages=RING_PAGES, log=lambda level, message: None)
        self._saved = {name: os.environ.get(name) for name in _ENVIRONMENT}
        os.environ.update(USEREVENTS_DIR=self.directory, USEREVENTS_BACKEND="session")
        os.environ.pop("USEREVENTS_RUN", None)
        try:
            self._tracer.start()
        except BaseException:
            self._put_back()
            raise
        self._tree = Tree(self._tracer)
        access = LocalAccess(self._tracer, self._tree)
        self._instance = TracerControl(access).create_instance("test")
        self._stream = self._instance.stream()
        self._instance.set_patterns(["*"])
        self._aside = runtime.move(self.directory)
        self._tracer.hand_over()

    # What is recorded.

    def enable(self, *events: str | Event[...], filter: str | None = None) -> None:
        """Record these events (``[SYSTEM:]EVENT`` with shell globs), those enabled before, and no others.

        With `filter`, a kernel filter expression (``"id > 3 && path ~ '/x*'"``), only records that pass it; then
        every name is one event's. Raises `Refused` (as `FilterError`) for an expression that is none, or does not fit
        an event that is declared already.
        """
        names = [_name(event) for event in events]
        for name in names if filter is not None else ():
            for text in self._declarations().get(name, ()):
                _check_filter(str(filter), text)
        known = self._instance.patterns()
        self._instance.set_patterns([*(pattern for pattern in known if pattern != "*"), *names])
        self._filters += [(name, filter) for name in names if filter is not None]

    def disable(self, *events: str | Event[...]) -> None:
        """Record these no more, named as they were enabled."""
        names = {_name(event) for event in events}
        self._instance.set_patterns([pattern for pattern in self._instance.patterns() if pattern not in names])

    def clear(self) -> None:
        """Forget what was recorded so far, with its counts."""
        self._known |= self._declarations().keys()
        self._instance.rotate()
        self._tracer.hand_over()
        self._data = bytearray(_newest(self._read()))
        self._recording = self._records = None

    # What was recorded.

    @property
    def records(self) -> Records:
        """Everything recorded so far, in order of time over all events and processes."""
        return Records("the records", self._decoded())

    def __getitem__(self, event: str | Event[...]) -> Records:
        """The records of one event; raises `UnknownEvent` for one that nobody declared."""
        name = _name(event)
        found = [record for record in self._decoded() if record.event == name]
        if not found and name not in (known := self._known | self._declarations().keys()):
            listed = ", ".join(sorted(known)) or "none"
            raise UnknownEvent(f"no process has declared an event '{name}'; declared are: {listed}")
        return Records(f"event '{name}'", found)

    @property
    def lost(self) -> int:
        """How many events were lost so far, in all processes: dropped for any reason, overwritten or missed."""
        return lost(self._take_in())

    def wait_for(
        self, event: str | Event[...], where: Where | None = None, *, timeout: float = 5.0, **fields: object
    ) -> Record:
        """Return the first record of an event, with these values, waiting up to `timeout` seconds for it.

        `where` is a function that returns true for the record that is meant, or a mapping of field values. Raises
        TimeoutError saying what came instead.
        """
        __tracebackhide__ = True  # pytest shows the line of the test instead
        name, deadline = _name(event), time.monotonic() + timeout
        while True:
            began = time.monotonic()
            found = [record for record in self._decoded() if record.event == name]
            for record in found:
                if _meets(record, where, fields):
                    return record
            now = time.monotonic()
            if now >= deadline:
                wanted = f" with {fields}" if fields else f" where {where}" if where is not None else ""
                raise TimeoutError(
                    f"no event '{name}'{wanted} in {timeout:g} s; {len(found)} of that name: "
                    f"{Records(name, found)!r}; {len(self._decoded())} events in all"
                )
            pause = min(max(2 * (now - began), _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
            time.sleep(min(pause, max(deadline - now, 0)))

    def run(
        self, argv: Sequence[str | os.PathLike[str]], *, native: bool = False, timeout: float = 60.0, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program to its end, in the sight of this tracer; its output is captured as text.

        ``"python"`` as the program is the interpreter that runs the test. With `native` the program and its children
        find user_events at /sys/kernel/tracing, as under ``userevents run``; raises `Unusable` where that cannot be
        had. `options` go to `subprocess.run` (with `native`: `env` alone). Raises `subprocess.TimeoutExpired`.
        """
        words = [os.fspath(word) for word in argv]
        if words[0] == "python":
            words[0] = sys.executable
        if native:
            from .native import run_native  # what doors need is loaded by whoever uses them

            return run_native(self._tracer, self._tree, words, timeout=timeout, **options)
        return subprocess.run(words, **{"capture_output": True, "text": True, "timeout": timeout} | options)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was recorded so far to a trace.dat."""
        merge(Recording.of(bytes(self._take_in_data()), os.fspath(path)), os.fspath(path))

    def tail(self, count: int = _LAST) -> list[str]:
        """The last events, a line each, and what was lost: for the report of a test that failed."""
        records = self._decoded()
        lines = [record.line() for record in records[-count:]]
        if len(records) > count:
            lines.insert(0, f"... {len(records) - count} earlier events")
        return lines + ([f"{self.lost} events LOST"] if self.lost else [])

    # Its life.

    def close(self) -> None:
        """End the tracer; this process's events go back to where they were. Closing twice is allowed."""
        if self._pid != os.getpid() or not os.path.isdir(self.directory):
            return
        try:
            self._tracer.stop()
        finally:
            runtime.restore(self._aside)
            self._put_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put_back(self) -> None:
        for name, value in self._saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(self.directory, ignore_errors=True)

    # Reading.

    def _declarations(self) -> dict[str, list[str]]:
        """The declarations known so far, by the event's name."""
        found: dict[str, list[str]] = {}
        for each in self._take_in().streams.values():
            for declared in each.events.values():
                found.setdefault(declared.name, []).append(f"{declared.name} {declared.args}")
        return found

    def _decoded(self) -> list[Record]:
        recording = self._take_in()
        if self._records is None or self._records[0] != len(self._filters):
            self._records = len(self._filters), decoded(recording, self._filters)
        return self._records[1]

    def _take_in_data(self) -> bytearray:
        self._take_in()
        return self._data

    def _take_in(self) -> Recording:
        """Read what the tracer has by now."""
        self._tracer.hand_over()
        fresh = self._read()
        if fresh or self._recording is None:
            self._data += fresh
            self._recording = Recording.of(bytes(self._data), "the private tracer's recording")
            self._records = None
        return self._recording

    def _read(self) -> bytes:
        return b"".join(self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        while piece := self._stream.read(_READ_SIZE, timeout=0):
            yield piece


def _newest(frames: bytes) -> bytes:
    """Return the last recording in a stream of several."""
    offset = start = 0
    while offset < len(frames):
        if frames[offset : offset + len(stream.MAGIC)] == stream.MAGIC:
            start = offset
            offset += stream.START.size
        else:
            offset += stream.FRAME.unpack_from(frames, offset)[0]
    return frames[start:]


def _name(event: str | Event[...]) -> str:
    return event if isinstance(event, str) else event.name


def _meets(record: Record, where: Where | None, fields: Mapping[str, object]) -> bool:
    if isinstance(where, Mapping):
        return record.has({**where, **fields})
    return record.has(dict(fields)) and (where is None or bool(where(record)))


def _check_filter(text: str, declaration: str) -> None:
    parse_filter(text, parse_declaration(declaration).fields)


def _memory() -> str:
    """Return a directory in memory in which a runtime directory can be made."""
    tried = []
    for place in ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR", "")):
        if place and os.access(place, os.W_OK | os.X_OK):
            kind = directory.filesystem(os.stat(place).st_dev)
            if kind in (None, "tmpfs", "ramfs"):
                return place
            tried.append(f"'{place}' is on {kind}")
        elif place:
            tried.append(f"'{place}' cannot be written")
    raise Unusable(f"no directory in memory for a private tracer: {'; '.join(tried)}; mount a tmpfs at /dev/shm")
