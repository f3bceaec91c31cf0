"""A ring for each thread, where there is no GIL: no two threads ever store to the same line of memory.

A lane is a `Writer` on a session of its own, made as a forked child's is, with the declarations, words and answers of
the process's first session; to a tracer it is as good as another program of the same pid. A thread takes a lane with
its first record, and when it ends the next thread has it. Only the first session's words are looked at, so that an
event has one enable word, whatever thread asks.

Where no lane can be made (memory is short), the attempt is counted in the first session, as dropped.
"""

import time
from _thread import RLock
from _thread import _local as ThreadLocal
from typing import Final, Protocol

from ..errors import Unusable
from . import layout
from .producer import Declared, Session
from .writer import MakePlace, Place, Writer

_RETRY_S: Final = 1.0
"""How long after a lane could not be made no other is tried."""


class Seats(Protocol):
    """Which thread has which lane. `place` is what an event in C finds its thread's cursor by; None for Python's."""

    place: int | None

    def mine(self) -> int:
        """Return the number of the lane that this thread has, -1 for none."""
        ...

    def take(self, number: int, cursor: Place, /) -> bool:
        """Give this thread a lane, unless another thread has it."""
        ...


class _Seat:
    """What a thread holds as long as it has a lane. It goes with the thread."""

    __slots__ = ("_taken", "number")

    def __init__(self, taken: set[int], number: int) -> None:
        self._taken = taken
        self.number = number

    def __del__(self) -> None:
        self._taken.discard(self.number)


class ThreadSeats:
    """`Seats` in Python."""

    place: int | None = None

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._local = ThreadLocal()

    def mine(self) -> int:
        """Return the number of the lane that this thread has, -1 for none."""
        seat: _Seat | None = getattr(self._local, "seat", None)
        return -1 if seat is None else seat.number

    def take(self, number: int, cursor: Place, /) -> bool:
        """Give this thread a lane, unless another thread has it. One thread at a time may call it."""
        if number in self._taken:
            return False
        self._taken.add(number)
        self._local.seat = _Seat(self._taken, number)
        return True


class LanedWriter:
    """What `Writer` is, with a lane for each thread. `session` is the first lane's, whose `words` are looked at."""

    def __init__(self, session: Session, make_cursor: MakePlace, seats: Seats) -> None:
        self.session = session
        self.words = session.words
        self.cursor = seats.place
        self._make_cursor = make_cursor
        self._seats = seats
        self._first = Writer(session, make_cursor)
        self._lanes = [self._first]
        self._lock = RLock()
        self._retry_s = 0.0

    def _mine(self) -> Writer | None:
        """Return this thread's lane, taken or made if it has none; None where none can be had."""
        number = self._seats.mine()
        if number < 0:
            with self._lock:
                number = self._taken()
        return self._lanes[number] if number >= 0 else None

    def _taken(self) -> int:
        if (number := self._seats.mine()) >= 0:  # a destructor that ran meanwhile was quicker
            return number
        for number, lane in enumerate(self._lanes):
            if self._seats.take(number, lane.cursor):
                return number
        return self._added() if time.monotonic() >= self._retry_s else -1

    def _added(self) -> int:
        try:
            session = Session(self.session.directory, child_of=self.session, is_lane=True)
            lane = Writer(session, self._make_cursor, first=self._first)
        except (OSError, Unusable, ValueError):
            self._retry_s = time.monotonic() + _RETRY_S
            return -1
        self._lanes.append(lane)
        session.ring_bell()
        number = len(self._lanes) - 1
        return number if self._seats.take(number, lane.cursor) else self._seats.mine()

    def declare(self, declared: Declared, *, word: int) -> int | None:
        """Declare an event in every lane, the first last: whoever sees its word has seen the lanes' declarations."""
        with self._lock:
            if not self.session.has_room(declared):
                return None
            for lane in self._lanes[1:]:
                lane.session.declare(declared)
                lane.session.ring_bell()
            return self.session.declare(declared, word=word)

    def commit(self, index: int, body: bytes) -> None:
        """Write one record of event `index` into this thread's ring, or count why not."""
        lane = self._mine()
        if lane is not None:
            lane.commit(index, body)
        else:
            self._count_homeless(index)

    def drop(self, index: int, reason: int) -> None:
        """Count one attempt of event `index` that was dropped for `reason` (a counter of layout.py)."""
        lane = self._mine()
        if lane is not None:
            lane.drop(index, reason)
        else:
            self._count_homeless(index)

    def _count_homeless(self, index: int) -> None:
        with self._lock:  # a counter that nobody else stores to
            self.session.counters[index * layout.COUNTERS_PER_EVENT + layout.HOMELESS] += 1

    def stats(self, index: int) -> dict[str, int]:
        """Return what was counted of event `index` in all lanes, by the names of its counters."""
        each = [lane.stats(index) for lane in self._lanes]
        return {name: sum(stats[name] for stats in each) for name in layout.COUNTER_NAMES}

    def await_answer(self, index: int) -> int:
        """Wait until the tracer has answered for event `index`; return its word, 0 when no answer came."""
        return self._first.await_answer(index)

    def ring_bell(self) -> None:
        """Wake the tracer, which sleeps until this thread's ring opens a page."""
        lane = self._mine()
        if lane is not None:
            lane.ring_bell()

    def leave(self) -> None:
        """At clean exit: take away the sessions whose events have all been drained."""
        for lane in self._lanes:
            lane.leave()

    def remove(self) -> None:
        """Let go of everything, and take the sessions away, drained or not."""
        for lane in self._lanes:
            lane.remove()

    def abandon(self) -> None:
        """In a forked child: let go of everything, for it is the parent's."""
        for lane in self._lanes:
            lane.abandon()
