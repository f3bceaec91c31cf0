"""A traced program as the tracer holds it: its session, its rings, its place in the engine.

To the engine it is what a process is to the kernel: one open file, one user-event-mm, and a memory in which
bits are set. To the instances it is a source of pages.
"""

import errno
import os
import time
from collections.abc import Iterable

from ..abi.user_events import PAGE_SIZE
from ..engine import Caller, Group, UserEvent
from ..errors import Malformed, Refused
from ..instance import ProcessFacts
from ..session import layout, locks, producer, ring
from ..session.consumer import RingFile, SessionFile
from . import process

_GROW_ABOVE = 0.5
_GROWTH = 4
_NEW_S = 1.0


class DeclaredEvent:
    """One declaration of a program: the event it got or the refusal, and its enable word."""

    __slots__ = ("event", "flags", "index", "on", "refusal", "text", "was_pending", "word")

    def __init__(self, index: int, text: str, flags: int, word: int) -> None:
        self.index = index
        self.text = text
        self.flags = flags
        self.event: UserEvent | None = None
        self.refusal: Refused | None = None
        self.on = False
        """The engine's bit: somebody listens to the event, in whatever process."""
        self.word = word
        """The word as it stands in the session."""
        self.was_pending = bool(word & layout.WORD_PENDING)


class _SessionMemory:
    """The engine's view of a session's words: it sets bits here, the tracer turns them into words."""

    def __init__(self, program: "TracedProgram") -> None:
        self._program = program

    def write_bit(self, addr: int, bit: int, size: int, on: bool) -> None:
        """Note whether somebody listens to event number ``addr / 4``."""
        self._program.events[addr // 4].on = on
        self._program.stale = True


class TracedProgram:
    """An adopted session. `stale` is set when its enable words may have to change.

    Raises `Malformed` or `OSError` when the file cannot be adopted.
    """

    def __init__(self, directory: str, name: str, number: int, group: Group) -> None:
        self.session = SessionFile(directory, name)
        self.number = number
        header = self.session.header
        self.pid: int = header.pid
        self.same_namespace = header.pid_namespace == locks.pid_namespace()
        self.alive = locks.lives(header, self.session.fd)
        chain = process.ancestors(self.pid, header.parent_pid) if self.same_namespace else ()
        self.facts = ProcessFacts(self.pid, chain, self.session.run)
        self.comm = (process.comm(self.pid) if self.alive and self.same_namespace else "") or self.session.comm
        self.threads: dict[int, str] = {}
        self.events: list[DeclaredEvent] = []
        self.stale = True
        self.rings: dict[int, RingFile] = {}
        self.retired_records = 0
        """Records committed in rings that are read to their end and gone."""
        self.unknown_past: int | None = None
        """Records that the program committed before this tracer's time and that are in its rings no more."""
        self.problem: str | None = None
        """Why the program is left alone, if it is."""
        self.outstanding = 0
        """Pages handed out and not yet kept by all their readers."""
        self.had_view = False
        """Whether any instance of this tracer has seen it: what lies unread in its rings is then nobody's any more."""
        self.adopted_s = time.monotonic()
        self.mourned = False
        """Dead, drained, and its last ledger told."""
        self._group = group
        label = f"pid {self.pid} ({self.comm})"
        self._file = group.open_file(label)
        self._mm = group.new_mm(_SessionMemory(self), label)
        self._caller = Caller(header.uid, header.uid, self.same_namespace and process.is_perfmon(self.pid))
        self._pidfd = self._open_pidfd()
        self._open_rings()

    def _open_pidfd(self) -> int:
        if not (self.alive and self.same_namespace):
            return -1
        try:
            return os.pidfd_open(self.pid)
        except OSError:
            return -1

    @property
    def pidfd(self) -> int:
        """A descriptor that becomes readable when the process ends, -1 if there is none."""
        return self._pidfd

    def _open_rings(self) -> None:
        directory = self.session.directory
        stem = self.session.name.removesuffix(layout.SESSION_SUFFIX) + "."
        names = [name for name in os.listdir(f"{directory}/{layout.RINGS}") if name.startswith(stem)]
        generations = sorted(int(name[len(stem) :]) for name in names if name[len(stem) :].isdigit())
        for generation in generations:
            self._open_ring(generation)
        wanted, pages = self.session.ring_wanted()
        if pages and wanted not in self.rings and self.alive:  # a forked child that has not made its ring yet
            if pages & (pages - 1) or not layout.MIN_RING_PAGES <= pages <= layout.MAX_RING_PAGES:
                raise Malformed(self.session.path, f"asks for a ring of {pages} pages")
            self._make_ring(wanted, pages)

    def _open_ring(self, generation: int) -> RingFile | None:
        if generation not in self.rings:
            session = self.session
            try:
                found = RingFile(session.directory, session.name, generation, session.header.nonce)
            except FileNotFoundError:
                return None
            self.rings[generation] = found
        return self.rings[generation]

    def new_declarations(self) -> list[DeclaredEvent]:
        """Take in what the program has declared since the last call, each one registered with the engine."""
        known = len(self.events)
        fresh = list(self.session.new_declarations(known))
        if not fresh:
            return []
        words = self.session.words(known + len(fresh))
        answers = self.session.answers(known + len(fresh))
        for index, declared in enumerate(fresh, known):
            item = DeclaredEvent(index, declared.text.decode("latin-1"), declared.flags, words[index])
            self.events.append(item)
            self._register(item, answers[index][0])
        return self.events[known:]

    def _register(self, item: DeclaredEvent, want_id: int) -> None:
        try:
            index = self._group.register(
                self._file,
                self._mm,
                item.text,
                addr=4 * item.index,
                bit=0,
                size=4,
                flags=item.flags,
                caller=self._caller,
                want_id=want_id or None,
            )
            item.event = self._file.events[index]
        except Refused as refused:
            item.refusal = refused

    def reopened(self) -> bool:
        """Whether the program asked again for answers it had (it had found its tracer dead)."""
        if not self.events:
            return False
        words = self.session.words(len(self.events))
        again = False
        for item, word in zip(self.events, words, strict=True):
            if word & layout.WORD_PENDING and not item.was_pending:
                item.word = word
                again = True
        return again

    def set_words(self, wanted: Iterable[UserEvent], ring_pages: int) -> list[DeclaredEvent]:
        """Make the words say who listens, given the events wanted of this program; return those that changed.

        Gives the program a ring before the first word is set, also one that a forked child would make itself.
        """
        self.stale = False
        chosen = set(wanted)
        changed = []
        listened = False
        for item in self.events:
            event = item.event
            on = item.on and event is not None and event in chosen
            word = _enabled(event) if on and event is not None else 0
            if self.is_new and event is not None and item.word == _enabled(event):
                word = item.word
            listened = listened or word != 0
            if word != item.word:
                changed.append((item, word))
        if listened:
            self._ensure_ring(ring_pages)
        for item, word in changed:
            number = 0 if item.refusal is None else item.refusal.errno or errno.EIO
            self.session.write_answer(item.index, item.event.id if item.event else 0, number)
            self.session.write_word(item.index, word)
            item.word = word
            item.was_pending = False
        return [item for item, _ in changed]

    @property
    def is_new(self) -> bool:
        """Whether no instance has seen it yet and one may soon: what an earlier tracer enabled stays so till then."""
        return not self.had_view and time.monotonic() - self.adopted_s < _NEW_S

    def wants_ring(self) -> bool:
        """Whether any of the program's events is enabled."""
        return any(item.word & layout.WORD_ENABLED for item in self.events)

    def _ensure_ring(self, pages: int) -> None:
        generation, current = self.session.ring_wanted()
        if current and generation and (self._open_ring(generation) or not self.alive):
            return
        if not current:
            generation += 1
        self._make_ring(generation, current or pages)

    def _make_ring(self, generation: int, pages: int) -> None:
        """Make and announce a ring, smaller ones where memory is short. Raises OSError if even those do not fit."""
        session = self.session
        path = f"{session.directory}/{layout.ring_name(session.name, generation)}"
        while True:
            try:
                ring.make(path, pages=pages, generation=generation, nonce=session.header.nonce)
                break
            except OSError:
                if pages <= layout.MIN_RING_PAGES:
                    raise
                pages //= 2
        self._open_ring(generation)
        session.set_ring(generation, pages)

    def grow(self, max_pages: int) -> bool:
        """Give the program a larger ring if it has filled half of this one. True if it did."""
        generation, pages = self.session.ring_wanted()
        current = self.rings.get(generation)
        if current is None or pages >= max_pages or self.session.generation_in_use() != generation:
            return False
        if current.fill() < _GROW_ABOVE or not _has_memory(self.session.directory, pages * _GROWTH):
            return False
        try:
            self._make_ring(generation + 1, min(pages * _GROWTH, max_pages))
        except OSError:
            return False
        return True

    def retire_rings(self) -> None:
        """Close and remove rings that the program has left and that are read and kept to their end."""
        in_use = self.session.generation_in_use()
        for generation in sorted(self.rings):
            old = self.rings[generation]
            if generation < in_use and old.acknowledged == old.position and old.position.seq == old.head():
                self.retired_records += old.records_before(old.position)
                del self.rings[generation]
                _remove(old)

    @property
    def is_unread(self) -> bool:
        """Whether all that the program ever committed still lies in its rings."""
        return 1 in self.rings and all(found.position == (0, 0) for found in self.rings.values())

    def has_unread(self) -> bool:
        """Whether records lie in the rings that were not read."""
        for found in self.rings.values():
            position = found.position
            if found.read(1):
                found.position = position
                return True
        return False

    def committed(self) -> int:
        """Return how many records the program has committed up to the positions read."""
        return self.retired_records + sum(found.records_before(found.position) for found in self.rings.values())

    def stop(self) -> None:
        """Ask the program for nothing more: all words out, no ring wanted."""
        self.set_words((), 0)
        generation, pages = self.session.ring_wanted()
        if pages:
            self.session.set_ring(generation, 0)

    def remove_rings(self) -> None:
        """Take the rings' files away: the memory goes once the program lets go of its mapping."""
        while self.rings:
            _remove(self.rings.popitem()[1])

    def look(self) -> None:
        """Find out whether the program still lives."""
        if self.alive:
            self.alive = locks.lives(self.session.header, self.session.fd)

    def learn_threads(self) -> dict[int, str]:
        """Return the names of threads not known before."""
        if not (self.alive and self.same_namespace):
            return {}
        fresh = {tid: name for tid, name in process.threads(self.pid).items() if self.threads.get(tid) != name}
        self.threads.update(fresh)
        return fresh

    def release(self, *, remove: bool) -> None:
        """Let go of everything held for the program; `remove` takes its files away as well."""
        self._file.close()
        self._mm.exit()
        for found in self.rings.values():
            found.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self.session.close()
        if remove:
            producer.remove(self.session.directory, self.session.name)


def _remove(ring_file: RingFile) -> None:
    """Close a ring and take its file away, unless its program was quicker."""
    ring_file.close()
    try:
        os.unlink(ring_file.path)
    except FileNotFoundError:
        pass


def _enabled(event: UserEvent) -> int:
    return layout.WORD_ENABLED | event.id << layout.WORD_ID_SHIFT


def _has_memory(directory: str, pages: int) -> bool:
    """Whether the file system has four times this many pages free."""
    try:
        room = os.statvfs(directory)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize > 4 * pages * PAGE_SIZE
