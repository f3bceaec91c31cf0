"""One session's writer: the lock, the ring of the generation the tracer asked for, and the counts.

Every enabled event of a session goes through `commit` or `drop`. Other threads wait for the lock; only the
owner that re-enters itself (a signal handler, a destructor) drops, and that is counted.
"""

import time
from _thread import allocate_lock, get_ident

from ..errors import Unusable
from . import layout
from .body import CutBody
from .layout import COUNTERS_PER_EVENT, WORD_PENDING
from .producer import Session
from .ring import Ring, find_current_cpu, make

ANSWER_WAIT_S = 0.2
"""The longest a program ever waits for the tracer's answer, once per event."""
_TRACER_CHECK_S = 0.1


class Writer:
    """Writes the records of one `Session`. Safe for threads, signal handlers and destructors."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.words = session.words
        self._counters = session.counters
        self._lines = session.lines
        self._lock = allocate_lock()
        self._owner = 0
        self._ring: Ring | None = None
        self._unmappable = 0
        self._checked_s = 0.0
        self._deadlines: dict[int, float] = {}

    def commit(self, index: int, body: bytes) -> None:
        """Write one record of event `index`, or count why not.

        `body` is the common header and payload padded to 4 bytes (12 at least); a `CutBody` counts its cuts.
        """
        me = get_ident()
        if self._owner == me:
            self._count_reentry(index)
            return
        if self._ring is None:
            find_current_cpu()  # imports: not while the lock is held
        with self._lock:
            self._owner = me
            try:
                ring = self._ring
                slot = index * COUNTERS_PER_EVENT
                if ring is None or not ring.put(body, self._counters, slot):
                    reason = self._make_room()
                    ring = self._ring
                    if reason or ring is None or not ring.put(body, self._counters, slot):
                        self._counters[slot] += 1
                        self._counters[slot + (reason or layout.TOO_LARGE)] += 1
                if type(body) is CutBody:
                    self._counters[slot + layout.CUT] += body.cuts
            finally:
                self._owner = 0

    def drop(self, index: int, reason: int) -> None:
        """Count one attempt of event `index` that was dropped for `reason` (a counter of layout.py)."""
        me = get_ident()
        if self._owner == me:
            self._count_reentry(index)
            return
        with self._lock:
            self._owner = me
            slot = index * COUNTERS_PER_EVENT
            self._counters[slot] += 1
            self._counters[slot + reason] += 1
            self._owner = 0

    def _count_reentry(self, index: int) -> None:
        slot = index * COUNTERS_PER_EVENT
        self._counters[slot] += 1
        self._counters[slot + layout.REENTRY] += 1

    def _make_room(self) -> int:
        """Open a fresh page, in the ring the tracer asks for; return 0, or the reason why there is none."""
        entered = False
        if self._lines[layout.RING_GENERATION // 4] != (self._ring.generation if self._ring else 0):
            entered = self._enter_generation()
        ring = self._ring
        if ring is None:
            return layout.TRACER_GONE
        if not entered:
            if not ring.has_room_for_page():
                self._stop_if_tracer_gone()
                return layout.RING_FULL
            ring.open_page()
        if ring.reader_waits:
            self.session.ring_bell()
        return 0

    def _enter_generation(self) -> bool:
        """Map the ring of the generation that the tracer asks for; make it in a forked child that is first to come."""
        generation = self._lines[layout.RING_GENERATION // 4]
        pages = self._lines[layout.RING_PAGES // 4]
        if not generation or generation == self._unmappable:
            return False
        session = self.session
        path = f"{session.directory}/{layout.ring_name(session.name, generation)}"
        try:
            try:
                ring = Ring(path, generation=generation, nonce=session.nonce)
            except FileNotFoundError:
                if not session.forked or generation != 1 or not _is_ring_size(pages):
                    raise
                make(path, pages=pages, generation=generation, nonce=session.nonce)
                ring = Ring(path, generation=generation, nonce=session.nonce)
        except (OSError, Unusable, ValueError):
            self._unmappable = generation
            return False
        if self._ring is not None:
            self._ring.let_go()
        self._ring = ring
        self._lines[layout.GENERATION_IN_USE // 4] = generation
        return True

    def _stop_if_tracer_gone(self) -> None:
        """On a full ring: if no tracer lives, put the session's words out until one comes."""
        now = time.monotonic()
        if now - self._checked_s < _TRACER_CHECK_S:
            return
        self._checked_s = now
        if self.session.tracer_lives():
            return
        count = len(self.session.declared)
        for index in range(count):
            self.words[index] = 0
        if self.session.tracer_lives():  # it came in between and may have answered already: ask again
            self._deadlines.clear()
            for index in range(count):
                self.words[index] = WORD_PENDING
            self.session.ring_bell()

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
        if self._ring is not None:
            self._ring.let_go()
        self.session.abandon()

    @property
    def drained(self) -> bool:
        """Whether nothing that was committed still waits for a tracer."""
        return self._ring is None or self._ring.drained

    @property
    def ring_path(self) -> str | None:
        """The mapped ring's path, if any."""
        return self._ring.path if self._ring else None


def _is_ring_size(pages: int) -> bool:
    return layout.MIN_RING_PAGES <= pages <= layout.MAX_RING_PAGES and not pages & (pages - 1)
