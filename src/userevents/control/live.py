"""Records as they happen, through an instance of one's own: events enabled there, filtered there, its pages read.

Works on our tree and on a kernel's. What an event's records mean is for whoever reads the pages (`Arrived`).
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from ..abi import tracefs as abi
from ..abi.ring_buffer import PAGE_SIZE
from ..errors import NoTracer, Refused
from ..fields import EventFormat
from .access import Access, Handle, read_file, write_file
from .events import GONE, EventControl, EventName, Pattern, all_events
from .tracer import Tracer

_PER_CPU: Final = "per_cpu"
_STATS: Final = "stats"


def thread_owner(tid: int) -> tuple[int, str] | None:
    """Return the process of a thread that lives, and the thread's name."""
    try:
        with open(f"/proc/{tid}/status", "rb") as file:
            lines = dict(line.split(b":", 1) for line in file if b":" in line)
        return int(lines[b"Tgid"]), os.fsdecode(lines[b"Name"].strip())
    except (OSError, KeyError, ValueError):
        return None


class Arrived(NamedTuple):
    """A page of records that came."""

    cpu: int
    page: bytes


class Followed(NamedTuple):
    """An event that is followed, from now on."""

    name: EventName
    format: EventFormat


class _Ring:
    """One CPU's pages, through two open files: one waits for what comes, the other says when there is no more.

    A read that waits is asked ahead, so that a ring in which nothing happens costs its tracer nothing. Whether more is
    there only one that does not wait can tell: the answer to the other may be on its way.
    """

    def __init__(self, access: Access, path: str) -> None:
        self._access = access
        self._path = path
        self._waiting = access.open(path)
        self._emptying: Handle | None = None

    def pages(self) -> Iterator[bytes]:
        """Yield the pages that are there now."""
        while page := self._waiting.read(PAGE_SIZE, timeout=0):
            yield page
            if self._emptying is None:
                self._emptying = self._access.open(self._path, abi.O_RDONLY | abi.O_NONBLOCK)
            while page := self._emptying.read(PAGE_SIZE, timeout=0):
                yield page

    def close(self) -> None:
        """Close both."""
        self._waiting.close()
        if self._emptying is not None:
            self._emptying.close()


class Live:
    """Follows the events that `patterns` match, those registered later too; `where` is a filter of the kernel's kind.

    `refused` is told of an event that cannot be followed, such as one that lacks a field of `where`. With a `selection`
    (rules of `InstanceControl.set_selection`) only of some processes, and from each event's first record on: our
    tracer alone can do that. `name` begins that of the instance. Close it, and the instance goes.
    """

    def __init__(
        self,
        access: Access,
        patterns: Sequence[Pattern],
        where: str = "",
        refused: Callable[[EventName, Refused, str], None] = lambda name, refused, log: None,
        selection: Sequence[str] = (),
        name: str = "live",
    ) -> None:
        self.access = access
        self._patterns = tuple(patterns)
        self._where = where
        self._refused = refused
        self._known: set[tuple[EventName, int]] = set()
        self._name = f"{name}-{os.getpid()}-{os.urandom(3).hex()}"
        self._instance = Tracer(access).create_instance(self._name)
        self._prefix = f"{abi.INSTANCES}/{self._name}/"
        self._rings: dict[int, _Ring] = {}
        try:
            self._write(abi.BUFFER_PERCENT, "0")
            self._open()
            self._early = bool(selection)
            if selection:
                self._instance.set_selection(selection)
                self._instance.watch(where)
                self._instance.set_patterns(map(str, patterns))
        except BaseException:
            self.close()
            raise

    def look(self) -> list[Followed]:
        """Enable what matches and is not followed yet; returns it. An event that goes meanwhile is left out."""
        found = []
        for name in all_events(self.access):
            if not any(pattern.matches(name) for pattern in self._patterns):
                continue
            control = EventControl(self.access, self._prefix, name)
            try:
                key = (name, control.id)
                if key in self._known:
                    continue
                self._known.add(key)
                layout = control.format
                self._enable(control)
            except Refused as refused:
                if refused.name not in GONE:
                    self._refused(name, refused, "".join(control.errors()[-1:]))
            else:
                found.append(Followed(name, layout))
        return found

    def _enable(self, control: EventControl) -> None:
        if self._early:
            if error := control.filter.error:
                raise Refused(errno.EINVAL, error)
            return
        if self._where:
            control.set_filter(self._where)
        control.set_enabled(True)

    def set_patterns(self, patterns: Sequence[Pattern]) -> None:
        """Follow what these match and nothing else; `look` takes up what is new."""
        for name, number in list(self._known):
            if not any(pattern.matches(name) for pattern in patterns):
                self._known.discard((name, number))
                with contextlib.suppress(Refused):
                    EventControl(self.access, self._prefix, name).set_enabled(False)
        self._patterns = tuple(patterns)

    def read(self) -> list[Arrived]:
        """Return the pages that are there now, without waiting, CPU by CPU."""
        return [Arrived(cpu, page) for cpu, ring in self._rings.items() for page in ring.pages()]

    def names(self) -> dict[int, str]:
        """Return the names of threads, as far as the tracer knows them."""
        found = {}
        for line in read_file(self.access, "saved_cmdlines").decode("utf-8", "backslashreplace").splitlines():
            tid, _, name = line.partition(" ")
            if tid.isdigit():
                found[int(tid)] = name
        return found

    def settle(self) -> tuple[int, int]:
        """Return how many records were lost by the rings' own counts: overwritten unread, and dropped before.

        Our tracer counts as dropped what programs could not write. Ask when nothing more will be read.
        """
        totals = {"overrun": 0, "dropped events": 0}
        for cpu in self._rings:
            text = read_file(self.access, f"{self._prefix}{_PER_CPU}/cpu{cpu}/{_STATS}").decode("latin-1")
            counts = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
            for what in totals:
                totals[what] += int(counts.get(what, 0))
        return totals["overrun"], totals["dropped events"]

    def close(self) -> None:
        """Stop, and remove the instance."""
        for ring in self._rings.values():
            ring.close()
        self._rings.clear()
        with contextlib.suppress(Refused, NoTracer):  # it goes with its tracer
            self._instance.remove()

    def _open(self) -> None:
        names = self.access.listdir(f"{self._prefix}{_PER_CPU}")
        for name in names:
            number = name.removeprefix("cpu")
            if number.isdigit():
                path = f"{self._prefix}{_PER_CPU}/{name}/{abi.TRACE_PIPE_RAW}"
                self._rings[int(number)] = _Ring(self.access, path)

    def _write(self, name: str, text: str) -> None:
        write_file(self.access, self._prefix + name, text.encode())


@contextlib.contextmanager
def live(access: Access, patterns: Sequence[Pattern], where: str = "", **told: Any) -> Iterator[Live]:
    """Follow events as long as this lasts."""
    following = Live(access, patterns, where, **told)
    try:
        yield following
    finally:
        following.close()
