"""Bringing hosts together: messages of the fleet's stream in, hosts, clocks and batches out, each once and in turn.

Pure. What comes out goes to a `Sink`: a recording on disk (`FileSink`), or windows that live views look at (live.py).
"""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from ..buffer import stream as wire
from ..errors import Malformed
from ..formats.hosts import MAX_HOSTS
from .sequence import Head, Ready, Turns, parse_head
from .stream import Message

SAMPLES_MAX: Final = 64
"""Comparisons of a clock that are kept for a run of an agent of which no batch has come yet."""


class Sample(NamedTuple):
    """One comparison of a host's clock with ours (formats/host_clock.py)."""

    here_ns: int
    there_ns: int
    uncertainty_ns: int


class Sink(Protocol):
    """What takes in what hosts sent."""

    def host(self, scope: int, name: str, number: int, run: str) -> None:
        """A host's agent appears, under a new scope; `number` is the host's, the same for each of its runs."""

    def clock(self, scope: int, sample: Sample) -> None:
        """A scope's clock was compared."""

    def batch(self, scope: int, ready: Ready, stored: int, upto: int) -> None:
        """A batch's turn. `stored` is the last message that was read, `upto` the records up to the batch's end."""


class FileSink:
    """Writes a recording of several hosts, each thing in one piece (docs/formats/recording.md)."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def host(self, scope: int, name: str, number: int, run: str) -> None:
        """Write the HOST frame."""
        self._write(wire.pack_host(scope, {"name": name, "number": number, "incarnation": run}))

    def clock(self, scope: int, sample: Sample) -> None:
        """Write the CLOCK frame."""
        self._write(wire.pack_clock(scope, *sample))

    def batch(self, scope: int, ready: Ready, stored: int, upto: int) -> None:
        """Write the BATCH frame and what follows it."""
        head = ready.head
        facts: dict[str, object] = {"seq": head.seq, "recording": head.recording, "stored": stored, "upto": upto}
        facts["size"] = len(ready.payload)
        if ready.missing or ready.missing_records:
            facts |= {"missing": ready.missing, "missing_records": ready.missing_records}
        self._write(wire.pack_batch(scope, facts) + ready.payload)


class AgentRun:
    """One run of a host's agent, as far as it was taken in. `open` until its host has another, or it ended."""

    def __init__(self, host: str, run: str) -> None:
        self.host = host
        self.run = run
        self.taken = 0
        """The recording of its last batch that was taken."""
        self.scope = 0
        """0 until its first batch was taken."""
        self.turns = Turns()
        self.waiting: list[Sample] = []
        self.awaited = 0
        """The recording with which this run has given all that is wanted; 0 while there is no end in sight."""
        self.has_gap = False
        """Whether batches never came since it was last asked for a new recording: facts may have been among them."""
        self.is_ending = False
        """Whether it was asked to end, and `awaited` may not be known yet: what a next recording has is then kept."""
        self.after: list[tuple[Ready, int]] = []

    @property
    def is_done(self) -> bool:
        """Whether all that is wanted of it came."""
        return self.awaited > 0 and (self.turns.ended >= self.awaited or self.turns.recording > self.awaited)


class Merged:
    """Takes messages as they come. `wants` says which hosts are wanted; what is not understood is counted."""

    def __init__(self, sink: Sink, wants: Callable[[str], bool] = lambda host: True) -> None:
        self.runs: dict[tuple[str, str], AgentRun] = {}
        self.numbers: dict[str, int] = {}
        """The number of each host."""
        self.records = 0
        self.missing = 0
        """Batches that never came."""
        self.missing_records = 0
        self.odd = 0
        """Messages that are none of ours."""
        self.left_out: set[str] = set()
        """Hosts for which a trace has no number left."""
        self._sink = sink
        self._wants = wants
        self._scopes = 0
        self._latest: dict[str, AgentRun] = {}
        self._holding: set[str] = set()

    def take(self, message: Message) -> None:
        """Take a message of the stream in."""
        if not self._wants(message.host):
            return
        try:
            head = parse_head(message.head)
        except Malformed:
            self.odd += 1
            return
        run = self.run_of(message.host, head.run)
        latest = self._latest.get(message.host)
        if latest is not run:
            if latest is not None:
                self._put(latest, latest.turns.give_up(), 0)
                self._holding.discard(latest.run)
            self._latest[message.host] = run
        ready = run.turns.add(head, message.payload)
        if run.turns.held:
            self._holding.add(run.run)
        else:
            self._holding.discard(run.run)
        self._put(run, ready, message.stored)

    def run_of(self, host: str, run: str) -> AgentRun:
        """Return what is known of one run of a host's agent."""
        return self.runs.setdefault((host, run), AgentRun(host, run))

    def latest(self, host: str) -> AgentRun | None:
        """Return the run of which a host's last message was."""
        return self._latest.get(host)

    def add_sample(self, host: str, run: str, sample: Sample) -> None:
        """A host answered what its clock shows."""
        known = self.run_of(host, run)
        if known.scope:
            self._sink.clock(known.scope, sample)
        elif len(known.waiting) < SAMPLES_MAX:
            known.waiting.append(sample)

    def resume(self, scope: int, name: str, number: int, run: str) -> AgentRun:
        """A scope that is in the recording already."""
        self._scopes = max(self._scopes, scope)
        self.numbers.setdefault(name, number)
        known = self._latest[name] = self.run_of(name, run)
        known.scope = scope
        return known

    def end_with(self, run: AgentRun, recording: int) -> None:
        """A run has said with which recording all is given that is wanted."""
        run.awaited = max(recording, run.taken)
        self._take_after(run)

    def _take_after(self, run: AgentRun) -> None:
        kept, run.after = run.after, []
        run.is_ending = run.is_ending and run.awaited > 0
        for each, stored in kept:
            if not run.awaited or each.head.recording <= run.awaited:
                run.taken = max(run.taken, each.head.recording)
                self._put(run, [each], stored)

    def give_up(self, stored: int) -> None:
        """Nothing more will come: what waits for a batch before it goes without."""
        for run in self.runs.values():
            self._take_after(run)
            self._put(run, run.turns.give_up(), stored)
        self._holding.clear()

    def _put(self, run: AgentRun, ready: list[Ready], stored: int) -> None:
        for each in ready:
            if run.is_ending and each.head.recording > max(run.awaited, run.taken):
                run.after.append((each, stored))
                continue
            if not run.scope and not self._open(run):
                return
            run.taken = each.head.recording
            self.records += each.head.records
            self.missing += each.missing
            run.has_gap = run.has_gap or bool(each.missing or each.missing_records)
            self.missing_records += each.missing_records
            # What waits for its turn is read again after a restart: only what lies before it is done with.
            done = 0 if self._holding else stored
            self._sink.batch(run.scope, each, done, _upto(each.head))

    def _open(self, run: AgentRun) -> bool:
        if run.host not in self.numbers and len(self.numbers) >= MAX_HOSTS:
            self.left_out.add(run.host)
            return False
        number = self.numbers.setdefault(run.host, len(self.numbers) + 1)
        self._scopes += 1
        run.scope = self._scopes
        self._sink.host(run.scope, run.host, number, run.run)
        for sample in run.waiting:
            self._sink.clock(run.scope, sample)
        run.waiting.clear()
        return True


def _upto(head: Head) -> int:
    return head.before + head.records
