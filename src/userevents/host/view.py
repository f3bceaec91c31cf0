"""What one instance sees of one program: its frames, its ledger, and what may be given back when it has read."""

from ..buffer import stream
from ..buffer.page import walk
from ..instance import Instance
from ..session import layout
from ..session.ring_file import Part, Piece, Position, RingFile
from . import frames
from .counts import NOTHING, Snapshot, running, snapshot
from .program import DeclaredEvent, TracedProgram
from .told import DropsMark


class Mark:
    """Pages handed out: once all `waiting` readers have kept them, the program may use their room again."""

    __slots__ = ("passed", "position", "program", "ring", "waiting")

    def __init__(self, program: TracedProgram, ring: RingFile, waiting: int) -> None:
        self.program = program
        self.ring = ring
        self.position = ring.position
        self.passed = ring.passed
        self.waiting = waiting
        program.outstanding += 1

    def kept(self) -> None:
        """One reader has kept the pages."""
        self.waiting -= 1
        if self.waiting == 0:
            self.program.outstanding -= 1
            try:
                self.ring.acknowledge(self.position, self.passed)
            except OSError:
                pass  # the ring is closed already, or was shrunk: nothing to give back


class LedgerMark:
    """A last ledger handed out: until it is kept, the program's files must stay for the next tracer to tell of."""

    def __init__(self, program: TracedProgram, told: DropsMark | None) -> None:
        self._program = program
        self._told = told
        program.outstanding += 1

    def let_go(self) -> None:
        """Nobody will have it."""
        self._program.outstanding -= 1

    def kept(self) -> None:
        """It is in its reader's hands."""
        self.let_go()
        if self._told is not None:
            self._told.kept()


class View:
    """One instance's view of one program, from the moment the instance selected it."""

    def __init__(self, instance: Instance, program: TracedProgram) -> None:
        self.instance = instance
        self.program = program
        program.find_rings()
        self.begin(self._first_base())

    def _first_base(self) -> Snapshot:
        """Return the counts that are not this recording's: but what a killed tracer did not come to tell is."""
        program = self.program
        if program.is_unread:
            told = program.told.drops(program.session.counters(len(program.events)))
            return NOTHING._replace(counters=[(sum(drops), *drops, 0) for drops in told])
        base = snapshot(program)
        if program.was_left and not program.had_view:
            told = program.told.drops(base.counters)
            passed = map(layout.passed_of, base.counters)
            rest = zip(passed, told, base.counters, strict=True)
            return base._replace(counters=[(count + sum(drops), *drops, counts[6]) for count, drops, counts in rest])
        if not program.had_view and (mark := program.told.mark(base.counters)):
            mark.kept()
        return base

    def begin(self, base: Snapshot) -> None:
        """Begin a recording of this program: who it is, what it declares, and counts from `base` on."""
        self._base = base
        self._missed = 0
        self._complete = base.exact
        self._seen_rings: set[int] = set()
        self._enabled: set[int] = set()
        self._push(frames.session_frame(self.program))
        for item in self.program.events:
            self.tell_event(item, always=True)
        self.tell_threads(dict(self.program.threads))

    def snapshot(self) -> Snapshot:
        """Take the counts that belong to the ring positions read so far, also while the program is writing."""
        return snapshot(self.program)

    def wants(self, item: DeclaredEvent) -> bool:
        """Whether the recording has this event enabled."""
        return item.event is not None and self.instance.streams(item.event)

    def tell_event(self, item: DeclaredEvent, *, always: bool = False) -> None:
        """Hand out an event's declaration: when it is new, and whenever it is enabled or disabled here."""
        wanted = self.wants(item)
        if not always and wanted == (item.index in self._enabled):
            return
        if wanted:
            self._enabled.add(item.index)
        else:
            self._enabled.discard(item.index)
        self._push(frames.event_frame(self.program, item, enabled=wanted))

    def tell_threads(self, names: dict[int, str]) -> None:
        """Hand out the names of threads."""
        if names:
            self._push(stream.pack_threads(self.program.number, names))

    def tell_note(self, text: str) -> None:
        """Hand out a warning for whoever reads the trace."""
        self._push(stream.pack_note(text))

    def push(self, ring: RingFile, pieces: list[Piece], start: Position, mark: Mark) -> None:
        """Hand out what was just read from a ring, of which the first began at `start`."""
        first = ring.generation not in self._seen_rings
        self._seen_rings.add(ring.generation)
        found = []
        for number, piece in enumerate(pieces):
            is_rest = first and number == 0 and isinstance(piece, Part) and piece.offset > 0
            before = ring.time_before(start) if is_rest else None
            found.append(frames.piece_frame(self.program, ring.generation, piece, time_before=before))
        if not self.instance.stream.push_all(found, mark):
            self._seen_rings.discard(ring.generation)  # the next part begins anew, in the middle of a page
            self._missed += sum(len(walk(part.data, part.ts).starts) for piece in pieces for part in piece.parts())
            mark.kept()

    def tell_ledger(self, end: Snapshot | None = None) -> None:
        """Hand out the counts so far: exact if `end` is, a running sum without it."""
        now = end or running(self.program)
        ledger = frames.ledger_frame(
            self.program, self._base, now, self._enabled, missed=self._missed, exact=self._complete
        )
        told = self.program.told.mark(now.counters)
        if end is None:
            self._push(ledger, told)
        elif not self._push(ledger, mark := LedgerMark(self.program, told)):
            mark.let_go()

    def _push(self, frame: bytes, mark: object = None) -> bool:
        is_taken = self.instance.stream.push(frame, mark, 0)
        if not is_taken:
            self._complete = False
        return is_taken
