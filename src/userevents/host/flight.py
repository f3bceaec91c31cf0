"""A flight recording: nothing is handed out while programs write; a dump hands out what their rings hold then.

Source: docs/flight.md for what a user sees, docs/formats/recording.md for the frames.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from ..buffer import stream
from ..errors import Malformed
from ..instance import Instance, StreamQueue
from ..session.ring_file import Part, Position, RingFile
from ..session.ring_search import seek_time
from . import frames
from .counts import NOTHING, Ends, Snapshot, ends, passed_by
from .program import DeclaredEvent, TracedProgram

_READ_SIZE = 4 << 20
COPY_PAGES = 16
"""Pages copied at a time: what is lost when the program overwrites the oldest just then."""
_TRIES = 100
_PAUSE_S = 0.0002


class _Copied(NamedTuple):
    """What was copied of a program's rings: frames with `kept` records; `left_out` ones were too old.

    `is_lapped`: all that there was to copy of a ring was overwritten first. There is newer.
    """

    frames: list[bytes]
    kept: int
    left_out: int
    is_lapped: bool


class FlightView:
    """One flight recording's view of one program: from where on it counts, and which events it wanted."""

    def __init__(self, instance: Instance, program: TracedProgram) -> None:
        self.instance = instance
        self.program = program
        self._enabled: set[int] = set()
        program.find_rings()
        self.base = Ends(NOTHING, {}) if program.is_unread else ends(program)
        for item in program.events:
            self.tell_event(item)

    def tell_event(self, item: DeclaredEvent, *, always: bool = False) -> None:
        """Note that an event is wanted."""
        if item.event is not None and self.instance.streams(item.event):
            self._enabled.add(item.index)

    def tell_threads(self, names: dict[int, str]) -> None:
        """Nothing to note: a dump tells the names that are known then."""

    def tell_note(self, text: str) -> None:
        """Nothing to note: a dump tells the program's problem."""

    def dump(self, target: StreamQueue, since_ns: int) -> None:
        """Hand out what the rings hold now of this program, from `since_ns` on, and what became of the rest."""
        for frame in self.declarations():
            target.push(frame, None, 0)
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_S)  # for a whole time slice, in which a program on another CPU cannot lap us
            now = ends(self.program)
            copied = self._copy(now, since_ns)
            if not copied.is_lapped:
                break
        for frame in copied.frames:
            target.push(frame, None, 0)
        target.push(self.ledger(now.counts, copied.kept, copied.left_out), None, 0)

    def _copy(self, now: Ends, since_ns: int) -> _Copied:
        """Copy what the rings hold from `since_ns` up to `now`."""
        found: list[bytes] = []
        kept = left_out = 0
        is_lapped = False
        for generation, (until, _) in now.places.items():
            place, passed = self.base.places.get(generation, (Position(0, 0), 0))
            cursor = self.program.rings[generation].cursor(place, passed)
            cursor.catch_up()
            if since_ns:
                left_out += seek_time(cursor, since_ns)
            start, begun, gone = cursor.position, cursor.passed, cursor.overwritten
            before_start = time_before(cursor)
            copied: list[bytes] = []
            while True:
                pieces = cursor.take(_READ_SIZE, min(until, Position(cursor.position.seq + COPY_PAGES, 0)))
                if cursor.overwritten != gone:  # what was copied is older than what is gone: begin anew behind it
                    copied.clear()
                    begun, gone = cursor.passed, cursor.overwritten
                    continue
                if not pieces:
                    break
                for piece in pieces:
                    is_rest = isinstance(piece, Part) and Position(piece.seq, piece.offset) == start
                    before = before_start if is_rest else None
                    copied.append(frames.piece_frame(self.program, generation, piece, time_before=before))
            found += copied
            kept += cursor.passed - begun - (cursor.overwritten - gone)
            is_lapped |= cursor.position > until
        return _Copied(found, kept, left_out, is_lapped)

    def ledger(self, counts: Snapshot, kept: int, left_out: int, missed: int = 0) -> bytes:
        """Return the frame of the counts by now; what was neither kept nor left out nor missed is overwritten."""
        base = self.base.counts
        overwritten = counts.committed - base.committed - kept - left_out - missed
        settled = counts._replace(overwritten=base.overwritten + overwritten)
        is_exact = base.exact and counts.exact
        return frames.ledger_frame(
            self.program, base, settled, self._enabled, missed=missed, left_out=left_out, exact=is_exact
        )

    def declarations(self) -> Iterator[bytes]:
        """Yield who the program is, and what is known of it."""
        yield frames.session_frame(self.program)
        yield from self.known()

    def known(self) -> Iterator[bytes]:
        """Yield what the program has declared by now, the names of its threads, its problem."""
        program = self.program
        for item in program.events:
            yield frames.event_frame(program, item, enabled=item.index in self._enabled)
        if program.threads:
            yield stream.pack_threads(program.number, program.threads)
        if program.problem is not None:
            yield stream.pack_note(f"pid {program.pid} ({program.comm}): {program.problem}")

    def last_words(self) -> bytes:
        """Return what is left to tell of the program when its rings are given up: all it wrote is overwritten."""
        queue = StreamQueue()
        for frame in self.declarations():
            queue.push(frame, None, 0)
        queue.push(self.ledger(ends(self.program).counts, 0, 0), None, 0)
        return queue.read(queue.size)

    def facts(self) -> dict[str, int]:
        """Return how many bytes the program's rings hold, and how many records it wrote since the beginning."""
        program = self.program
        passed = passed_by(program.session.counters(len(program.events)))
        before = passed_by(self.base.counts.counters)
        return {"held": sum(ring.held_size for ring in program.rings.values()), "committed": passed - before}


def time_before(cursor: RingFile) -> int | None:
    """Return the time of the last record before the cursor in its page, None if there is none or the page is gone."""
    seq, offset = cursor.position
    try:
        return cursor.time_before(cursor.position) if offset else None
    except Malformed:
        if cursor.first_intact() > seq:
            return None
        raise
