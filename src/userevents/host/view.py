"""What one instance sees of one program: its frames, its ledger, and what may be given back when it has read.

Source: docs/formats/recording.md for the frames.
"""

import time
from collections import Counter
from typing import NamedTuple

from ..abi.user_events import USER_EVENTS_SYSTEM
from ..buffer import stream
from ..buffer.page import body_start, walk
from ..fields import fields_text
from ..instance import Instance
from ..session.consumer import Part, Position, RingFile
from ..session.layout import COUNTER_NAMES
from .program import DeclaredEvent, TracedProgram

_SNAPSHOT_TRIES = 20
_PAUSE_S = 0.0002
_ZEROS = (0,) * len(COUNTER_NAMES)


class Mark:
    """Pages handed out: once all `waiting` readers have kept them, the program may use their room again."""

    __slots__ = ("position", "program", "ring", "waiting")

    def __init__(self, program: TracedProgram, ring: RingFile, position: Position, waiting: int) -> None:
        self.program = program
        self.ring = ring
        self.position = position
        self.waiting = waiting
        program.outstanding += 1

    def kept(self) -> None:
        """One reader has kept the pages."""
        self.waiting -= 1
        if self.waiting == 0:
            self.program.outstanding -= 1
            try:
                self.ring.acknowledge(self.position)
            except OSError:
                pass  # the ring is closed already, or was shrunk: nothing to give back


class Snapshot(NamedTuple):
    """A program's counts at the ring positions that have been read."""

    counters: list[tuple[int, ...]]
    """Per event, in the order of COUNTER_NAMES, without the attempts whose records still lie unread."""
    committed: int
    exact: bool
    """Whether the program held still for the instant that it took."""


class View:
    """One instance's view of one program, from the moment the instance selected it."""

    def __init__(self, instance: Instance, program: TracedProgram) -> None:
        self.instance = instance
        self.program = program
        if program.is_unread:
            program.unknown_past = 0
        self.begin(Snapshot([], 0, True) if program.is_unread else self.snapshot())

    def begin(self, base: Snapshot) -> None:
        """Begin a recording of this program: who it is, what it declares, and counts from `base` on."""
        program = self.program
        self._base = base
        self._missed = 0
        self._complete = base.exact
        self._seen_rings: set[int] = set()
        self._enabled: set[int] = set()
        session = program.session
        facts = {
            "pid": program.pid,
            "start_time": session.header.start_time,
            "comm": program.comm,
            "cmdline": session.cmdline,
            "nonce": session.header.nonce.hex(),
        }
        self._push(stream.pack_stream(program.number, facts))
        for item in program.events:
            self.tell_event(item, always=True)
        self.tell_threads(dict(program.threads))

    def snapshot(self) -> Snapshot:
        """Take the counts that belong to the ring positions read so far, also while the program is writing.

        The counters tell how many records were committed at the instant they were read. Those of them that lie
        unread behind the positions are taken off again, by event: they belong to what is read later.
        """
        program = self.program
        exact = False
        for _ in range(_SNAPSHOT_TRIES):
            counters = program.session.counters(len(program.events))
            unread = self._unread_ids()
            committed = program.committed()
            passed = sum(counts[0] - sum(counts[1:6]) for counts in counters)
            if program.unknown_past is None and program.session.counters(len(program.events)) == counters:
                program.unknown_past = passed - committed - len(unread)
            waiting = passed - committed - (program.unknown_past or 0)
            exact = program.unknown_past is not None and (0 <= waiting <= len(unread) or not program.alive)
            if exact:
                del unread[max(waiting, 0) :]
                break
            time.sleep(_PAUSE_S)  # an attempt was counted whose commit is still to come
        backlog = Counter(unread)
        pairs = zip(program.events, counters, strict=True)
        adjusted = [(counts[0] - backlog[_id_of(item)], *counts[1:]) for item, counts in pairs]
        return Snapshot(adjusted, committed, exact)

    def _unread_ids(self) -> list[int]:
        """Return the event id of each record that lies unread in the program's rings, in order."""
        found: list[int] = []
        for _, ring in sorted(self.program.rings.items()):
            position = ring.position
            while parts := ring.read(1 << 22):
                for part in parts:
                    found += _ids(part)
            ring.position = position
        return found

    def wants(self, item: DeclaredEvent) -> bool:
        """Whether the instance has this event enabled."""
        return item.event is not None and item.event in self.instance.enabled

    def tell_event(self, item: DeclaredEvent, *, always: bool = False) -> None:
        """Hand out an event's declaration: when it is new, and whenever it is enabled or disabled here."""
        wanted = self.wants(item)
        if not always and wanted == (item.index in self._enabled):
            return
        if wanted:
            self._enabled.add(item.index)
        else:
            self._enabled.discard(item.index)
        event = item.event
        name, _, args = item.text.partition(" ")
        facts = {
            "id": event.id if event else 0,
            "name": event.tracepoint_name if event else name,
            "system": event.system if event else USER_EVENTS_SYSTEM,
            "fields": fields_text(event.fields) if event else args.strip(),
            "enabled": wanted,
            "error": item.refusal.name if item.refusal else None,
            "reason": item.refusal.reason if item.refusal else None,
        }
        self._push(stream.pack_event(self.program.number, facts))

    def tell_threads(self, names: dict[int, str]) -> None:
        """Hand out the names of threads."""
        if names:
            self._push(stream.pack_threads(self.program.number, names))

    def tell_note(self, text: str) -> None:
        """Hand out a warning for whoever reads the trace."""
        self._push(stream.pack_note(text))

    def push(self, ring: RingFile, parts: list[Part], start: Position, mark: Mark) -> None:
        """Hand out the parts just read from a ring, of which the first began at `start`."""
        first = ring.generation not in self._seen_rings
        self._seen_rings.add(ring.generation)
        frames = []
        number = self.program.number
        for count, part in enumerate(parts):
            flags, ts = 0, part.ts
            if first and count == 0 and part.offset:
                flags, ts = stream.PART_CONTINUES, ring.time_before(start)
            frames.append(
                stream.pack_part(number, ring.generation, part.cpu, part.seq, ts, part.offset, part.data, flags=flags)
            )
        if not self.instance.stream.push(b"".join(frames), mark, 0):
            self._seen_rings.discard(ring.generation)  # the next part begins anew, in the middle of a page
            self._missed += sum(len(walk(part.data, part.ts).starts) for part in parts)
            mark.kept()

    def tell_ledger(self, end: Snapshot | None = None) -> None:
        """Hand out the counts so far: exact if `end` is, a running sum without it."""
        program = self.program
        now = end or Snapshot(program.session.counters(len(program.events)), program.committed(), not program.alive)
        events: dict[str, dict[str, int]] = {}
        for item, counts in zip(program.events, now.counters, strict=False):
            base = self._base.counters[item.index] if item.index < len(self._base.counters) else _ZEROS
            change = [after - before for after, before in zip(counts, base, strict=True)]
            if any(change) or item.index in self._enabled:
                known = events.setdefault(str(_id_of(item)), dict.fromkeys(COUNTER_NAMES, 0))
                for name, value in zip(COUNTER_NAMES, change, strict=True):
                    known[name] += value
        facts = {
            "events": events,
            "committed": now.committed - self._base.committed,
            "overwritten": 0,
            "missed": self._missed,
            "alive": program.alive,
            "exact": self._complete and now.exact,
        }
        self._push(stream.pack_ledger(program.number, facts))

    def _push(self, frame: bytes) -> None:
        if not self.instance.stream.push(frame, None, 0):
            self._complete = False


def _ids(part: Part) -> list[int]:
    """Return the event id of each record in a part."""
    starts = (body_start(part.data, at) for at in walk(part.data, part.ts).starts)
    return [int.from_bytes(part.data[body : body + 2], "little") for body in starts]


def _id_of(item: DeclaredEvent) -> int:
    return item.event.id if item.event is not None else 0
