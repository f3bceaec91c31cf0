"""The program's side of a session: make the file, declare events in it, and count.

Everything here is called from inside somebody else's program: a failure is an `Unusable` for the client
to note, never an error for the program. Only memory that was fallocated is ever stored to, so that a full
or shrunken file system cannot turn a store into SIGBUS.
"""

import os
import sys
import time
from typing import NamedTuple

from ..errors import Unusable
from . import layout, locks
from .birth import make_file
from .layout import DECLARATION, HEADER, Geometry
from .mapping import Mapping


class Declared(NamedTuple):
    """One declaration as it stands in a session: the kernel's text, and the registration's flags."""

    text: bytes
    flags: int


def _own_comm() -> bytes:
    try:
        with open("/proc/self/comm", "rb") as comm:
            return comm.read(16).rstrip(b"\n")[:15]
    except OSError:
        return os.path.basename(sys.executable or "python").encode()[:15]


def _own_cmdline() -> bytes:
    words = getattr(sys, "orig_argv", None) or sys.argv
    return b"\0".join(os.fsencode(word) for word in words)[:495]


class Session:
    """A session file this process writes.

    `words` is a view of u32 enable words, one per event; `counters` of u64, COUNTERS_PER_EVENT per event.
    Both stay valid for the life of the process, whatever happens to the file's name or descriptor.

    `child_of`: begin with the capacity, declarations, words, answers and ring size of another session, the parent's of
    a forked child, or for a lane (session/lanes.py) the process's first. All of that stands in the file before it has
    its name.
    """

    def __init__(
        self,
        directory: str,
        capacity: int = layout.FIRST_CAPACITY,
        *,
        child_of: "Session | None" = None,
        is_lane: bool = False,
        run: bytes = b"",
    ) -> None:
        self.directory = directory
        self.forked = child_of is not None
        self.is_lane = is_lane
        self.geometry: Geometry = layout.geometry(capacity) if child_of is None else child_of.geometry
        self.nonce = os.urandom(layout.NONCE_SIZE)
        self.run: bytes = run[:31] if child_of is None else child_of.run
        self.pid = os.getpid()
        self.start_time = locks.start_time("self") or 0
        self.declared: list[Declared] = []
        self.name = f"{self.pid}-{self.nonce.hex()}{layout.SESSION_SUFFIX}"
        self.path = f"{directory}/{self.name}"
        try:
            os.close(make_file(self.path, lambda fd: self._prepare(fd, child_of)))  # the mapping keeps the lock
            # What is written through the descriptor of a file made without a name is not seen by inotify.
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise Unusable(f"no session can be made in '{directory}': {error.strerror}") from None

    def _prepare(self, fd: int, parent: "Session | None") -> None:
        place = self.geometry
        os.posix_fallocate(fd, 0, place.size)
        locks.lock(fd)
        self._mapping = Mapping(fd, place.size)
        self._map = self._mapping.map
        self._bytes = memoryview(self._map)
        self.words = self._bytes[place.words : place.answers].cast("I")
        self.answers = self._bytes[place.answers : place.counters].cast("I")
        self.counters = self._bytes[place.counters : place.text].cast("Q")
        self.lines = self._bytes[: layout.HEADER_SIZE].cast("I")
        self._map[: HEADER.size] = HEADER.pack(
            layout.SESSION_MAGIC,
            layout.VERSION,
            place.size,
            self.pid,
            os.geteuid(),
            self.start_time,
            locks.pid_namespace(),
            self.nonce,
            time.monotonic_ns(),
            place.capacity,
            place.words,
            place.answers,
            place.counters,
            place.text,
            place.text_size,
            os.getppid(),
            self.forked * layout.FLAG_FORKED | self.is_lane * layout.FLAG_LANE,
            0,
            0,
            self.run,
            _own_comm(),
            _own_cmdline(),
        )
        if parent is not None:
            self._take_over(parent)

    def _take_over(self, parent: "Session") -> None:
        """Copy what a child has from its parent. A tracer that finds no ring size would not count from the start."""
        pages = parent.lines[layout.RING_PAGES // 4]
        if pages and parent.lines[layout.RING_GENERATION // 4]:
            self.lines[layout.RING_PAGES // 4] = pages
            self.lines[layout.RING_MODE // 4] = parent.lines[layout.RING_MODE // 4]
            self.lines[layout.RING_GENERATION // 4] = 1
        for index, declared in enumerate(parent.declared):
            self.answers[index] = parent.answers[index]
            self.declare(declared, word=parent.words[index])

    def declare(self, declared: Declared, *, word: int = 0) -> int | None:
        """Append a declaration and return its index, or None when this session has no room for it.

        `word` is what the enable word is born as: PENDING while a tracer lives. Call `ring_bell` when
        all that should be declared together has been.
        """
        if not self.has_room(declared):
            return None
        index = len(self.declared)
        used = self.lines[layout.TEXT_USED // 4]
        entry = _entry(declared)
        start = self.geometry.text + used
        self._map[start : start + len(entry)] = entry
        self.words[index] = word
        self.lines[layout.TEXT_USED // 4] = used + len(entry)
        self.declared.append(declared)
        self.lines[layout.EVENT_COUNT // 4] = index + 1
        return index

    def has_room(self, declared: Declared) -> bool:
        """Whether one more declaration fits."""
        used = self.lines[layout.TEXT_USED // 4] + len(_entry(declared))
        return len(self.declared) < self.geometry.capacity and used <= self.geometry.text_size

    def ring_bell(self) -> None:
        """Wake the tracer: write the event count once more, through a descriptor, so that inotify sees it.

        A program that closed our descriptor keeps the number for itself: the file is then opened anew.
        """
        count = len(self.declared).to_bytes(4, "little")
        try:
            if self._mapping.owns(self._fd):
                os.pwrite(self._fd, count, layout.EVENT_COUNT)
                return
            fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if self._mapping.owns(fd):
                    os.pwrite(fd, count, layout.EVENT_COUNT)
            finally:
                os.close(fd)
        except OSError:
            pass

    def say_leaving(self) -> None:
        """Tell the tracer that this program ends, and does not look at its files again."""
        leaving = self._bytes[layout.LEAVING : layout.LEAVING + 4].cast("I")
        leaving[0] = 1

    def late_answer(self) -> None:
        """Count one answer of the tracer that did not come in time."""
        late = self._bytes[layout.LATE_ANSWERS : layout.LATE_ANSWERS + 8].cast("Q")
        late[0] += 1

    def tracer_lives(self) -> bool:
        """Whether a tracer serves this session's directory now."""
        return locks.tracer_lives(self.directory)

    def unlink(self) -> None:
        """Take the session's name away. What is mapped stays valid."""
        try:
            os.unlink(self.path)
        except OSError:
            pass

    def abandon(self) -> None:
        """Let go of file and memory as a forked child must: they are its parent's, and hold the parent's lock."""
        self._mapping.let_go()
        if self._mapping.owns(self._fd):
            os.close(self._fd)
        self._fd = -1


def _entry(declared: Declared) -> bytes:
    entry = DECLARATION.pack(len(declared.text), declared.flags) + declared.text
    return entry + bytes(-len(entry) % 4)


def sweep(directory: str, *, at_most: int = 4, older_than_s: float = 600.0) -> int:
    """Remove up to `at_most` sessions whose programs are dead and that no tracer will come for; return how many.

    With a live tracer nothing is touched: it drains and removes the dead itself. Without one, a dead session
    is kept for the next tracer while it is younger than `older_than_s` seconds and has a ring.
    """
    if locks.tracer_lives(directory):
        return 0
    try:
        names = [entry.name for entry in os.scandir(directory) if entry.name.endswith(layout.SESSION_SUFFIX)]
    except OSError:
        return 0
    start = int.from_bytes(os.urandom(2), "little") % (len(names) or 1)
    chosen = (names[start:] + names[:start])[: 2 * at_most]
    return sum(_sweep_one(directory, name, older_than_s) for name in chosen)


def is_abandoned(directory: str, name: str) -> bool:
    """Whether a session file that cannot be read is nobody's: no lock on it, and its name's pid is gone."""
    try:
        fd = os.open(f"{directory}/{name}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        pid = name.partition("-")[0]
        return not locks.is_locked(fd) and pid.isdigit() and locks.start_time(pid) is None
    except OSError:
        return False
    finally:
        os.close(fd)


def _sweep_one(directory: str, name: str, older_than_s: float) -> bool:
    path = f"{directory}/{name}"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        raw = os.pread(fd, layout.HEADER_SIZE, 0)
        age = time.time() - os.fstat(fd).st_mtime
        if len(raw) < layout.HEADER_SIZE or raw[:8] != layout.SESSION_MAGIC:
            gone = age > older_than_s
        else:
            header = layout.Header._make(HEADER.unpack_from(raw))
            pages = int.from_bytes(raw[layout.RING_PAGES : layout.RING_PAGES + 4], "little")
            gone = (pages == 0 or age > older_than_s) and not locks.lives(header, fd)
    except OSError:
        return False
    finally:
        os.close(fd)
    if gone:
        remove(directory, name)
    return gone


def remove(directory: str, name: str) -> None:
    """Unlink a session file and every ring file of it."""
    stem = name.removesuffix(layout.SESSION_SUFFIX) + "."
    try:
        rings = [entry.name for entry in os.scandir(f"{directory}/{layout.RINGS}") if entry.name.startswith(stem)]
    except OSError:
        rings = []
    for path in [f"{directory}/{layout.RINGS}/{ring}" for ring in rings] + [f"{directory}/{name}"]:
        try:
            os.unlink(path)
        except OSError:
            pass
