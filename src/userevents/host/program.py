"""A traced program as the tracer holds it: its session, its rings, its place in the engine.

To the engine it is what a process is to the kernel: one open file, one user-event-mm, and a memory in which
bits are set. To the instances it is a source of pages.
"""

import errno
import os
import time
from collections.abc import Iterable, Mapping

from ..abi.ring_buffer import PAGE_DATA_SIZE
from ..engine import Caller, Group, UserEvent
from ..errors import Malformed, Refused
from ..instance import ProcessFacts
from ..session import layout, locks, producer, ring
from ..session.consumer import SessionFile
from ..session.ring_file import Position, RingFile
from ..session.ring_search import skip
from . import process
from .memory import allocate, give_back, give_back_unused, has_memory
from .told import Told
from .wish import NO_RING, RingWish

_GROW_ABOVE = 0.5
_GROWTH = 4
_NEW_S = 10.0  # a fleet's broker may be slow to say what is wished


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
        """Records committed in rings that are read to their end and gone, also before this tracer's time."""
        self.retired_overwritten = 0  # of those, the records that were never read
        self.told = Told(self.session)
        self.problem: str | None = None
        """Why the program is left alone, if it is."""
        self.outstanding = 0  # pages handed out and not yet kept by all their readers
        self.had_view = False
        """Whether any instance of this tracer has seen it: what lies unread in its rings is then nobody's any more."""
        self.adopted_s = time.monotonic()
        self.mourned = False  # dead, drained, and its last ledger told
        self._wish: RingWish | None = None
        self._group = group
        self._file = group.open_file(label := f"pid {self.pid} ({self.comm})" + " thread" * self.session.is_lane)
        self._mm = group.new_mm(_SessionMemory(self), label)
        found = os.fstat(self.session.fd)
        self.uid: int = found.st_uid  # what the header says of that is only a claim, as is its pid
        has_it = self.same_namespace and process.is_perfmon_with(self.pid, found.st_ino)
        self._caller = Caller(self.uid, found.st_gid, has_it)
        self._pidfd = self._open_pidfd()
        self._open_rings()

    def _open_pidfd(self) -> int:
        try:
            return os.pidfd_open(self.pid) if self.alive and self.same_namespace else -1
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
        self.retired_records, first = self.session.retired()
        for generation in generations:
            found = self._open_ring(generation)
            if found is not None and generation < first:  # its tracer was killed before it could remove it
                del self.rings[generation]
                _remove(found)
        wanted, pages, mode = self.session.ring_wanted()
        self.was_left = pages > 0  # by a tracer that was killed
        if pages and wanted not in self.rings and self.alive:  # a forked child that has not made its ring yet
            if not ring.is_ring_size(pages) or mode not in layout.MODES:
                raise Malformed(self.session.path, f"asks for a ring of {pages} pages and mode {mode}")
            self._make_ring(wanted, pages, mode)

    def _open_ring(self, generation: int) -> RingFile | None:
        if generation not in self.rings:
            session = self.session
            try:
                found = RingFile(session.directory, session.name, generation, session.header.nonce)
            except FileNotFoundError:
                return None
            self.rings[generation] = found
        return self.rings[generation]

    def find_rings(self) -> None:
        """Open the ring that the program writes, if a forked child has made it since the last look."""
        generation = self.session.generation_in_use()
        if generation > max(self.rings, default=0):
            self._open_ring(generation)

    def go_on_behind(self, kept: Mapping[int, Position]) -> None:
        """Leave out of the rings what an earlier tracer's recorder has in its file already, by their generations."""
        for generation, found in self.rings.items():
            position = kept.get(generation)
            if position is not None and found.position < position <= Position(found.head(), PAGE_DATA_SIZE):
                found.move_to(position, found.records_before(position) if found.overwrites else 0)
                found.acknowledge(position, found.passed)

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

    def set_words(self, wanted: Iterable[UserEvent], wish: RingWish) -> list[DeclaredEvent]:
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
            self._ensure_ring(wish)
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

    def _ensure_ring(self, wish: RingWish) -> None:
        """Give the program a ring as wished for, once for each wish: where memory was short it has a smaller one."""
        generation, pages, _ = self.session.ring_wanted()
        current = self._open_ring(generation) if generation and pages else None
        is_due = self._wish != wish and (current is None or not wish.is_met_by(current))
        self._wish = wish
        if not self.alive:
            return
        if (current is None or is_due) and not self._refill(generation, wish):
            self._make_ring(generation if pages and current is None else generation + 1, wish.pages, wish.mode)

    def _refill(self, generation: int, wish: RingWish) -> bool:
        """Offer the ring that was offered last once more, if the program never came to open it; True if it serves."""
        found = self.rings.get(generation)
        if found is None or generation <= self.session.generation_in_use() or not wish.is_met_by(found):
            return False
        try:
            allocate(found)
        except OSError:
            return False
        self.session.set_ring(generation, found.pages, found.mode)
        return True

    def _make_ring(self, generation: int, pages: int, mode: int = layout.MODE_DISCARD) -> None:
        """Make and announce a ring, smaller ones where memory is short. Raises OSError if even those do not fit."""
        session = self.session
        path = f"{session.directory}/{layout.ring_name(session.name, generation)}"
        while True:
            try:
                ring.make(path, pages=pages, generation=generation, nonce=session.header.nonce, mode=mode)
                break
            except OSError as error:
                if pages <= layout.MIN_RING_PAGES:
                    why = f"a ring of {layout.ring_size(pages) >> 10} KiB does not fit into '{session.directory}'"
                    raise OSError(error.errno, f"{why}: {error.strerror}; its events are dropped") from None
                pages //= 2
        self._open_ring(generation)
        session.set_ring(generation, pages, mode)

    def grow(self, max_pages: int) -> bool:
        """Give the program a larger ring if it has filled half of this one. True if it did."""
        generation, pages, _ = self.session.ring_wanted()
        current = self.rings.get(generation)
        if current is None or pages >= max_pages or self.session.generation_in_use() != generation:
            return False
        if self._wish is None or not self._wish.may_grow or current.overwrites:
            return False
        if current.fill() < _GROW_ABOVE or not has_memory(self.session.directory, pages * _GROWTH):
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
                self._retire(old)
                _remove(old)

    def _retire(self, old: RingFile) -> None:
        """Take a ring's records into account that will not be asked for any more."""
        self.retired_records += old.count
        self.retired_overwritten += old.overwritten
        self.session.set_retired(self.retired_records, old.generation + 1)
        del self.rings[old.generation]

    @property
    def is_unread(self) -> bool:
        """Whether all that it ever committed still lies in its rings: none, where no event of it was ever answered."""
        if not self.session.ring_wanted()[0]:
            return all(item.word & layout.WORD_PENDING for item in self.events)
        if not self.rings:  # a forked child that died before it had the one that its parent's stands for
            return self.session.generation_in_use() == 0
        return 1 in self.rings and all(found.position == (0, 0) for found in self.rings.values())

    def skip_unread(self) -> None:
        """Go on behind all that lies unread in the rings: it is nobody's."""
        for found in self.rings.values():
            skip(found)

    def has_unread(self) -> bool:
        """Whether records lie in the rings that were not read, or a killed tracer did not tell of all drops."""
        if self.was_left and self.told.is_behind(self.session.counters(len(self.events))):
            return True
        return any(found.cursor(found.position, found.count).take(1) for found in self.rings.values())

    def committed(self) -> int:
        """Return how many records the program has committed up to the positions read."""
        return self.retired_records + sum(found.count for found in self.rings.values())

    def overwritten(self) -> int:
        """Return how many of the committed records were gone before they could be read."""
        return self.retired_overwritten + sum(found.overwritten for found in self.rings.values())

    @property
    def is_idle(self) -> bool:
        """Whether it has rings that nobody needs any more."""
        needed = self.wants_ring() or self.outstanding or self.problem is not None
        return self.alive and self.had_view and self._wish is not None and not needed

    def stop(self) -> None:
        """Ask the program for nothing more: all words out, no ring wanted; and give the rings' memory back.

        The files stay, with the few pages that are left of them: until the program opens another page it writes to
        the one it has, also if it is asked for records again.
        """
        self.set_words((), NO_RING)
        generation, _, mode = self.session.ring_wanted()
        self.session.set_ring(generation, 0, mode)
        self._wish = None
        for found in list(self.rings.values()):
            skip(found)
            found.acknowledge(found.position, found.passed)
            give_back(found)

    def rest(self) -> int:
        """Give back what a dead program's rings never used; return how many bytes still hold records."""
        for found in self.rings.values():
            give_back_unused(found)
        return sum(found.held_size for found in self.rings.values())

    def look(self) -> None:
        """Find out whether the program still lives."""
        if self.alive:
            self.alive = locks.lives(self.session.header, self.session.fd)

    def learn_threads(self, names: dict[int, dict[int, str]]) -> dict[int, str]:
        """Return the names of threads not known before. `names`, by process, are those that were just asked for."""
        if not (self.alive and self.same_namespace):
            return {}
        found = names.get(self.pid) or names.setdefault(self.pid, process.threads(self.pid))
        fresh = {tid: name for tid, name in found.items() if self.threads.get(tid) != name}
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
        self.told.close()
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
