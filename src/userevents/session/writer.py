"""One session's writer: the lock, the ring of the generation the tracer asked for, and the counts.

Every enabled event of a session goes through `commit` or `drop`, or, where the writer's cursor is native, straight to
that: one call in C, which no other thread and no signal handler can enter. Elsewhere threads wait for the lock; only
the owner that re-enters itself (a signal handler, a destructor) drops, and that is counted. Nothing usual comes here:
events of pure Python commit `inline`, as long as there is no owner.

From Python 3.14 on a signal handler can come in between taking the lock and the next line, where `with` would not give
it back if the handler raised. So the lock is one that its thread may take again: a handler that comes in there finds no
owner, and nothing begun, and writes. Why in full: docs/notes/0048-locks-and-signal-handlers.md.
"""

import os
import time
from _thread import RLock, get_ident
from mmap import mmap
from typing import Final, Protocol

from ..errors import Unusable
from . import cursor, layout
from .body import CutBody
from .layout import COUNTER_NAMES, COUNTERS_PER_EVENT, WORD_PENDING
from .producer import Declared, Session, remove
from .ring import Ring, is_ring_size, make

ANSWER_WAIT_S = 0.2
"""The longest a program ever waits for the tracer's answer, once per event."""
_TRACER_CHECK_S = 0.1
_REASONS: Final = {
    cursor.RING_CHANGED: layout.TRACER_GONE,
    cursor.FULL: layout.RING_FULL,
    cursor.TOO_LARGE: layout.TOO_LARGE,
}


class Place(Protocol):
    """What writes the records: `cursor.Cursor`, or the same in C."""

    expects: int

    def prepare(self) -> None:
        """Import what writing needs."""

    def enter(self, memory: mmap, pages: int, data: int, overwrite: bool, generation: int, /) -> None:
        """Write to this ring from now on."""

    def leave(self) -> None:
        """Have no ring from now on."""

    def put(self, slot: int, body: bytes, /) -> int:
        """Commit one record and count its attempt, or say why not."""
        ...

    @property
    def drained(self) -> bool:
        """Whether the reader has taken every committed byte."""
        ...


class MakePlace(Protocol):
    """The class of a cursor."""

    def __call__(self, lines: "memoryview[int]", counters: "memoryview[int]", /) -> Place:
        """Make one for a session with these lines and counters."""
        ...


class Writer:
    """Writes the records of one `Session`, at its `cursor`. Safe for threads, signal handlers and destructors.

    `owner` is the thread that has the lock, 0 for none. `first` is the writer whose words are looked at in place of
    this one's, of a lane (session/lanes.py).
    """

    def __init__(
        self, session: Session, make_cursor: MakePlace = cursor.Cursor, *, first: "Writer | None" = None
    ) -> None:
        self.session = session
        self.words = session.words
        self._first = first or self
        self.cursor = make_cursor(session.lines, session.counters)
        self.counters = session.counters
        pure = self.cursor if isinstance(self.cursor, cursor.Cursor) else None
        self.attempts: list[int] = session.counters[::COUNTERS_PER_EVENT].tolist() if pure is None else pure.attempts
        self._lines = session.lines
        self._lock = RLock()
        self.owner = 0
        self._ring: Ring | None = None
        self._unmappable = 0
        self._checked_s = 0.0
        self._deadlines: dict[int, float] = {}

    def commit(self, index: int, body: bytes) -> None:
        """Write one record of event `index`, or count why not.

        `body` is the common header and payload padded to 4 bytes (12 at least); a `CutBody` counts its cuts.
        """
        me = get_ident()
        if self.owner == me:
            self._count_reentry(index)
            return
        if self._ring is None:
            self.cursor.prepare()  # imports: not while the lock is held
        lock = self._lock
        try:  # no `with`: a handler may come in, and raise, as soon as the lock is had
            lock.acquire()
            self.owner = me
            slot = index * COUNTERS_PER_EVENT
            outcome = self.cursor.put(slot, body)
            if outcome:
                self._see_to(outcome, slot, body)
            if type(body) is CutBody:
                self.counters[slot + layout.CUT] += body.cuts
        finally:
            if self.owner == me:
                self.owner = 0
            try:
                lock.release()
            except RuntimeError as error:
                _never_had(error)

    def _see_to(self, outcome: int, slot: int, body: bytes) -> None:
        """Do what the cursor cannot: change rings and write again, count a drop, wake the reader."""
        if outcome == cursor.RING_CHANGED and self._enter_generation():
            outcome = self.cursor.put(slot, body) or cursor.READER_WAITS
        if outcome in (cursor.WRITTEN, cursor.READER_WAITS):
            self.session.ring_bell()
            return
        if outcome == cursor.FULL:
            self._stop_if_tracer_gone()
        self._count_dropped(slot, _REASONS[outcome])

    def drop(self, index: int, reason: int) -> None:
        """Count one attempt of event `index` that was dropped for `reason` (a counter of layout.py)."""
        me = get_ident()
        if self.owner == me:
            self._count_reentry(index)
            return
        lock = self._lock
        try:
            lock.acquire()
            self.owner = me
            self._count_dropped(index * COUNTERS_PER_EVENT, reason)
        finally:
            if self.owner == me:
                self.owner = 0
            try:
                lock.release()
            except RuntimeError as error:
                _never_had(error)

    def _count_reentry(self, index: int) -> None:
        self._count_dropped(index * COUNTERS_PER_EVENT, layout.REENTRY)

    def _count_dropped(self, slot: int, reason: int) -> None:
        """Count an attempt and its drop, and keep the cursor's idea of the attempts right."""
        self.counters[slot] += 1
        self.counters[slot + reason] += 1
        self.attempts[slot >> 3] = self.counters[slot]

    def stats(self, index: int) -> dict[str, int]:
        """Return what was counted of event `index`, by the names of its counters."""
        start = index * COUNTERS_PER_EVENT
        counts = layout.counts_of(self.counters[start : start + COUNTERS_PER_EVENT])
        return dict(zip(COUNTER_NAMES, counts, strict=True))

    def declare(self, declared: Declared, *, word: int) -> int | None:
        """Declare an event, as `Session.declare`."""
        return self.session.declare(declared, word=word)

    def leave(self) -> None:
        """At clean exit: take the session away, unless a tracer has still to take something from it.

        A tracer that leaves in the same moment takes it away, if it was said before that we leave, too.
        """
        if self.session.pid != os.getpid():
            return
        self.session.say_leaving()
        if self.drained and not self._is_awaited():
            remove(self.session.directory, self.session.name)

    def _is_awaited(self) -> bool:
        """Whether a tracer lives that has not seen all declarations: it will, and takes the session away then."""
        is_pending = any(word & WORD_PENDING for word in self.words[: len(self.session.declared)])
        return is_pending and self.session.tracer_lives()

    def remove(self) -> None:
        """Let go of everything, and take the session away, drained or not."""
        self.abandon()
        remove(self.session.directory, self.session.name)

    def ring_bell(self) -> None:
        """Wake the tracer, which sleeps until a page is opened."""
        self.session.ring_bell()

    def _enter_generation(self) -> bool:
        """Go over to the ring that the tracer asks for, made here in a forked child that is first to come.

        False where that is none, or the one in use, or cannot be had: then a ring in use stays in use.
        """
        generation = self._lines[layout.RING_GENERATION // 4]
        pages, mode = self._lines[layout.RING_PAGES // 4], self._lines[layout.RING_MODE // 4]
        if not generation or not pages or generation == self.cursor.expects or generation == self._unmappable:
            return False
        session = self.session
        path = f"{session.directory}/{layout.ring_name(session.name, generation)}"
        try:
            try:
                ring = Ring(path, generation=generation, nonce=session.nonce)
            except FileNotFoundError:
                if not session.forked or generation != 1 or not is_ring_size(pages) or mode not in layout.MODES:
                    raise
                ring = self._made(path, pages, mode)
        except (OSError, Unusable, ValueError):
            self._unmappable = generation
            if self._ring is None:
                return False
            self.cursor.expects = generation
            return True
        self.cursor.enter(ring.map, ring.pages, ring.data, ring.mode == layout.MODE_OVERWRITE, generation)
        if self._ring is not None:
            self._ring.let_go()
        self._ring = ring
        self._lines[layout.GENERATION_IN_USE // 4] = generation
        return True

    def _made(self, path: str, pages: int, mode: int) -> Ring:
        """Make the first ring, a smaller one where memory is short."""
        nonce = self.session.nonce
        while True:
            try:
                make(path, pages=pages, generation=1, nonce=nonce, mode=mode)
                return Ring(path, generation=1, nonce=nonce)
            except OSError:
                if pages <= layout.MIN_RING_PAGES:
                    raise
                pages //= 2

    def _stop_if_tracer_gone(self) -> None:
        """On a full ring: if no tracer lives, put the session's words out until one comes."""
        now = time.monotonic()
        if now - self._checked_s < _TRACER_CHECK_S:
            return
        self._checked_s = now
        if self.session.tracer_lives():
            return
        first = self._first
        count = len(first.session.declared)
        for index in range(count):
            first.words[index] = 0
        if self.session.tracer_lives():  # it came in between and may have answered already: ask again
            first._deadlines.clear()
            for index in range(count):
                first.words[index] = WORD_PENDING
            first.session.ring_bell()

    def await_answer(self, index: int) -> int:
        """Wait until the tracer has answered for event `index`; return its word, 0 when no answer came.

        Waits for each event until ANSWER_WAIT_S after it was first asked for, in whatever thread. An answer
        that is still missing is counted, and the event's attempts count as dropped (tracer gone) until it comes.
        """
        words = self.words
        deadline = self._deadlines.get(index)
        is_first = deadline is None
        if deadline is None:
            deadline = self._deadlines[index] = time.monotonic() + ANSWER_WAIT_S
        pause = 0.0001
        while words[index] & WORD_PENDING and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(pause * 2, 0.004)
        if is_first and words[index] & WORD_PENDING:
            self.session.late_answer()
            if not self.session.tracer_lives():
                words[index] = 0
        return 0 if words[index] & WORD_PENDING else words[index]

    def abandon(self) -> None:
        """In a forked child: let go of everything, for it is the parent's."""
        self.cursor.leave()
        if self._ring is not None:
            self._ring.let_go()
            self._ring = None
        self.session.abandon()

    @property
    def drained(self) -> bool:
        """Whether nothing that was committed still waits for a tracer."""
        return self.cursor.drained


def _never_had(error: RuntimeError) -> None:
    """Swallow that a lock was released that a handler's exception kept us from taking; not what a handler raised."""
    if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        raise error
