"""A window of a flight recording: what programs wrote from one moment to another, handed out as the window goes on.

The part before is copied out of the rings at once, so that what comes after cannot overwrite it; then what is
written, turn by turn, until the window ends. Source: docs/flight.md for what a user sees, docs/formats/recording.md
for the frames.
"""

import os
import time
from collections.abc import Callable, Sequence

from ..buffer import stream
from ..errors import Malformed
from ..instance import Instance, StreamQueue
from ..session.ring_file import Part, Piece, Position, RingFile
from ..session.ring_search import seek_time
from . import frames
from .counts import Ends, ends
from .flight import COPY_PAGES, FlightView, time_before
from .native_view import NativeFlight

_READ_SIZE = 4 << 20
_TRIES = 100
_PAUSE_S = 0.0002
_GRACE_NS = 200_000_000
"""A writer may take the time and commit a moment later: so long after its end a window is closed."""
_SHORT_MAX = 1000
BACKLOG = 64 << 20
"""Bytes that wait for their reader before more records are copied."""


AnyFlight = FlightView | NativeFlight


class _Place:
    """How far one ring was copied. `begun` records lie before the window's first, `gone` were gone by then."""

    def __init__(self, ring: RingFile, position: Position, passed: int) -> None:
        self.cursor = ring.cursor(position, passed)
        self.cursor.fd = os.dup(ring.fd)  # whoever else reads the ring closes it when it is done
        self.begin(is_cut=False)

    def begin(self, *, is_cut: bool) -> None:
        """The window begins at the cursor; `is_cut`: what was written before that may belong to it, and is gone."""
        self.is_cut = is_cut
        self.begun, self.gone = self.cursor.passed, self.cursor.overwritten
        self.start = self.cursor.position
        self.time_before = time_before(self.cursor)

    @property
    def missed(self) -> int:
        """Records of the window that were gone before they were copied."""
        return self.cursor.overwritten - self.gone

    @property
    def kept(self) -> int:
        """Records copied."""
        return self.cursor.passed - self.begun - self.missed


class SessionPart:
    """The part of a program with a session, whose rings it overwrites meanwhile. Raises Malformed, OSError."""

    def __init__(self, view: FlightView, target: StreamQueue, since_ns: int) -> None:
        self.view = view
        self.held_ns: int | None = None
        self._since_ns = since_ns
        self._left_out = 0
        self._reaches_back = False
        """Whether a ring holds a record from before the window: what was in rings before that one is older still."""
        self._places: dict[int, _Place] = {}
        for frame in view.declarations():
            target.push(frame, None, 0)

    def advance(self, target: StreamQueue, until_ns: int) -> float:
        """Hand out what was written since the last time, before `until_ns`; returns how much of a ring it was."""
        program = self.view.program
        program.find_rings()
        share = 0.0
        for generation in sorted(program.rings):
            is_new = generation not in self._places
            place = self._place(generation, program.rings[generation])
            before = place.cursor.position.seq
            for frame in self._copied(generation, place, until_ns, is_new=is_new):
                target.push(frame, None, 0)
            share = max(share, (place.cursor.position.seq - before) / place.cursor.pages)
        return share

    def _place(self, generation: int, ring: RingFile) -> _Place:
        """The place in a ring; the first time, that of the first record of the window which is still held."""
        found = self._places.get(generation)
        if found is None:
            position, passed = self.view.base.places.get(generation, (Position(0, 0), 0))
            found = self._places[generation] = _Place(ring, position, passed)
            found.cursor.catch_up()
            older = seek_time(found.cursor, self._since_ns)
            self._left_out += older + found.cursor.overwritten * bool(older)  # what is gone is older than what is not
            found.begin(is_cut=not older and found.cursor.overwritten > 0)
            self._reaches_back |= older > 0
        return found

    def _copied(self, generation: int, place: _Place, until_ns: int, *, is_new: bool) -> list[bytes]:
        """Copy what was committed since the last time, and written before `until_ns` if that time has come.

        What the program overwrites of the oldest while that is copied is older than what is kept, and so is what was
        copied by then: only what goes later is missed.
        """
        cursor, limit = place.cursor, None
        found: list[bytes] = []
        while True:
            limit = self._limit(place, until_ns) if limit is None else limit
            step = Position(cursor.position.seq + COPY_PAGES, 0)
            gone = cursor.overwritten
            pieces = cursor.take(_READ_SIZE, step if limit is None else min(limit, step))
            if cursor.overwritten != gone and is_new:
                found.clear()
                _get_ahead(cursor)
                place.begin(is_cut=True)
                continue
            for piece in pieces:
                is_rest = isinstance(piece, Part) and Position(piece.seq, piece.offset) == place.start
                before = place.time_before if is_rest else None
                found.append(frames.piece_frame(self.view.program, generation, piece, time_before=before))
                if place.is_cut:
                    place.is_cut = False
                    self._note_held(piece)
            if not pieces and cursor.overwritten == gone:
                return found

    def _limit(self, place: _Place, until_ns: int) -> Position | None:
        if until_ns > time.monotonic_ns():
            return None
        end = place.cursor.cursor(place.cursor.position, place.cursor.passed)
        seek_time(end, until_ns)
        return end.position

    def _note_held(self, piece: Piece) -> None:
        """This is the oldest that is held of a ring in which older records of the window may have been."""
        oldest = next(piece.parts()).ts
        self.held_ns = oldest if self.held_ns is None else min(self.held_ns, oldest)

    def finish(self, target: StreamQueue, until_ns: int) -> None:
        """Hand out the rest up to `until_ns`, and the counts."""
        try:
            for attempt in range(_TRIES):
                if attempt:
                    time.sleep(_PAUSE_S)
                self.advance(target, until_ns)
                now = ends(self.view.program)
                if all(self._is_before(generation, *place) for generation, place in now.places.items()):
                    break
            self._close(target, now, until_ns)
        finally:
            self.release()

    def release(self) -> None:
        """Let go of the rings."""
        for place in self._places.values():
            os.close(place.cursor.fd)
        self._places.clear()

    def _is_before(self, generation: int, position: Position, _count: int) -> bool:
        place = self._places.get(generation)
        return place is not None and place.cursor.position <= position

    def _close(self, target: StreamQueue, now: Ends, until_ns: int) -> None:
        places = self._places
        if any(place.is_cut for place in places.values()):
            self.held_ns = until_ns  # what is held is younger than the window
        kept = sum(place.kept for place in places.values())
        missed = sum(place.missed for place in places.values())
        newer = sum(max(count - places[at].cursor.passed, 0) for at, (_, count) in now.places.items() if at in places)
        left_out = self._left_out + newer
        if self._reaches_back:
            gone = sum(place.gone for place in places.values())
            left_out += max(now.counts.committed - self.view.base.counts.committed - kept - missed - left_out - gone, 0)
        for frame in self.view.known():
            target.push(frame, None, 0)
        target.push(self.view.ledger(now.counts, kept, left_out, missed), None, 0)


def _get_ahead(cursor: RingFile) -> None:
    """Leave out some more of the oldest: its program is at our heels, and would overwrite what is copied next."""
    seq = min(cursor.position.seq + cursor.pages // 8, cursor.catch_up())
    before = cursor.entry(seq)[0]
    if cursor.first_intact() <= seq and seq > cursor.position.seq:
        cursor.move_to(Position(seq, 0), before)


class NativePart:
    """The part of a program that writes through a door: its pages are built here."""

    def __init__(self, view: NativeFlight, target: StreamQueue, since_ns: int) -> None:
        self.view = view
        self._cut = view.cut(since_ns)
        self.held_ns = self._cut.held_ns
        for frame in [view.declaration(), *view.known()]:
            target.push(frame, None, 0)

    def advance(self, target: StreamQueue, until_ns: int) -> float:
        """Hand out the pages that are whole by now; returns how much of what may be held it was."""
        found = self.view.pages_from(self._cut, until_ns)
        for frame in found:
            target.push(frame, None, 0)
        return len(found) / self.view.limit

    def finish(self, target: StreamQueue, until_ns: int) -> None:
        """Hand out the rest up to `until_ns`, and the counts."""
        self.view.finish_page()
        self.advance(target, until_ns)
        for frame in [*self.view.known(), self.view.ledger_of(self._cut)]:
            target.push(frame, None, 0)


def _part_of(view: AnyFlight, queue: StreamQueue, since_ns: int) -> SessionPart | NativePart:
    if isinstance(view, NativeFlight):
        return NativePart(view, queue, since_ns)
    return SessionPart(view, queue, since_ns)


class Capture:
    """A window on its way into the stream of `target`. `views` gives what the flight recording sees now."""

    def __init__(self, target: Instance, source: Instance, since_ns: int, views: Callable[[], Sequence[AnyFlight]]):
        self.target = target
        self.source = source
        self.is_over = False
        self._since_ns = since_ns
        self._views = views
        self._parts: dict[AnyFlight, SessionPart | NativePart] = {}
        self._closed: dict[AnyFlight, SessionPart | NativePart | None] = {}

    def feed(self) -> float:
        """Go on with it; returns how much of a ring was copied, at most."""
        queue, until_ns, share = self.target.stream, self.target.until_ns, 0.0
        is_over = time.monotonic_ns() >= until_ns + _GRACE_NS
        for view in self._views():
            if queue.closed or queue.size > BACKLOG:
                break
            if view not in self._closed:
                share = max(share, self._advance(view, until_ns, is_over=is_over))
        else:
            self.is_over = is_over
        self.is_over |= queue.closed
        if self.is_over:
            self.end()
        return share

    def _advance(self, view: AnyFlight, until_ns: int, *, is_over: bool) -> float:
        """Copy what one program has written; what its files make fail ends its part of the window, and is told."""
        queue = self.target.stream
        try:
            part = self._parts.get(view)
            if part is None:
                part = self._parts[view] = _part_of(view, queue, self._since_ns)
            share = part.advance(queue, until_ns)
            if is_over:
                self._close(view)
        except (Malformed, OSError) as error:
            queue.push(stream.pack_note(f"pid {view.program.pid}: {error}"), None, 0)
            part = self._parts.pop(view, None)
            self._closed[view] = part
            if isinstance(part, SessionPart):
                part.release()
            return 0.0
        return share

    def give_up(self, view: AnyFlight) -> None:
        """A program's records are given up: hand out what is left of it, and its counts."""
        if view not in self._closed:
            self._advance(view, self.target.until_ns, is_over=True)

    def _close(self, view: AnyFlight) -> None:
        part = self._parts.pop(view, None)
        if part is not None:
            self._closed[view] = part
            part.finish(self.target.stream, self.target.until_ns)

    def end(self) -> None:
        """Close what is open, and say how the window was held."""
        queue = self.target.stream
        for view in list(self._parts):
            self._advance(view, self.target.until_ns, is_over=True)
        short = [
            {"pid": view.program.pid, "comm": view.program.comm, "held_ns": part.held_ns}
            for view, part in self._closed.items()
            if part is not None and part.held_ns is not None
        ]
        facts = {"since_ns": self._since_ns, "until_ns": self.target.until_ns, "short": short[:_SHORT_MAX]}
        queue.push(stream.pack_end("captured", time.monotonic_ns(), facts), None, 0)
        queue.finish()
        self.is_over = True
