"""The engine and its plain model side by side: every step is taken by both, and must come out alike.

The search (`search.py`) takes every step from every state, the machine (`test_machine.py`) takes random ones.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from tests.engine.world import ROOT, USER, WORD, FakeMemory, Probe, refused
from tests.model.plain import DESTROY, FAULT, PERSIST, QUEUE, Plain, PlainEvent, PlainFile, PlainProcess, Waiting
from userevents.engine import Fault, Group, OpenFile, UserEvent, UserEventMm, Work, WorkQueue
from userevents.engine.enabler import FaultWork
from userevents.engine.lifecycle import DestroyWork
from userevents.errors import Refused

Argument = int | str | bool


SENTENCES: Final = {
    "register": "process {0} registers '{2}' through file {1}, flags {3}, bit {4}",
    "create": "'u:{0}' is written to dynamic_events",
    "unregister": "process {0} unregisters bit {1}",
    "close": "file {0} is closed",
    "exit": "process {0} exits",
    "thread": "process {0} starts a thread",
    "fork": "process {0} forks, the child is process {1}",
    "steal": "the page of process {0} goes away",
    "enable": "tracer {1} enables event {0}",
    "disable": "tracer {1} disables event {0}",
    "delete": "'{0}' is deleted by hand",
    "work": "the worker takes item {0}",
}


class Step(NamedTuple):
    """One thing that happens, and what fails meanwhile."""

    verb: str
    arguments: tuple[Argument, ...] = ()
    failing: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = SENTENCES[self.verb].format(*self.arguments, *[""] * 9)
        return f"{words} ({' and '.join(self.failing)} failing)" if self.failing else words


class Limits(NamedTuple):
    """How large a world is, and what can happen in it."""

    texts: tuple[str, ...] = ("a u32 x",)
    flags: tuple[int, ...] = (0, PERSIST)
    processes: int = 2
    files: int = 2
    bits: int = 1
    tracers: int = 1
    threads: bool = False
    """Whether processes start threads."""
    faults: bool = True
    """Whether pages go and have to be brought in."""
    orphans: int = 1
    """How many dead processes may have a retry in flight."""
    recover: bool = False


class Process(NamedTuple):
    """One process, in the engine and in the model."""

    memory: FakeMemory
    mm: UserEventMm
    plain: PlainProcess


class File(NamedTuple):
    """One open file, in the engine and in the model."""

    real: OpenFile
    plain: PlainFile


class Birth(NamedTuple):
    """What must never change in an event's life."""

    id: int
    persist: bool
    multi: bool


class Watched(FakeMemory):
    """Memory that tells when it is asked to bring a page in, and lets that fail."""

    def __init__(self, may_fail: Callable[[str], bool]) -> None:
        super().__init__()
        self._may_fail = may_fail

    def fault_in(self, addr: int) -> None:
        """Bring an absent page in, unless that is to fail now."""
        if addr in self.absent and self._may_fail(FAULT):
            raise Fault
        self.absent.discard(addr)


class World:
    """A few processes, files and tracers around one group. Steps are methods, named as `Step.verb` names them."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.alerts: list[str] = []
        self.asked: set[str] = set()
        """What could have failed in the last step."""
        self.failing: tuple[str, ...] = ()
        self.group = Group(log=self._log, queue=WorkQueue(self._refuses), recover=limits.recover)
        self.group.lifecycle.before_destroy = self._before_destroy
        self.plain = Plain(recover=limits.recover)
        self.real: dict[PlainEvent, UserEvent] = {}
        self.births: dict[PlainEvent, Birth] = {}
        self.tracers = [Probe(f"tracer {number}", status_bit=1 << number % 2) for number in range(limits.tracers)]
        """An instance, perf, another instance, ..."""
        self.processes = [self._new_process() for _ in range(limits.processes)]
        self.orphans: list[Process] = []
        """Dead processes whose enablers a retry still keeps."""
        self.files = [self._new_file() for _ in range(limits.files)]
        self._may_destroy = False

    def take(self, step: Step) -> None:
        """Take a step on both sides; AssertionError when they disagree about its outcome."""
        self.asked = set()
        self.failing = self.plain.failing = step.failing
        getattr(self, step.verb)(*step.arguments)
        for event in self.plain.events:
            if event not in self.real:
                self._remember(event)
        self.orphans = [orphan for orphan in self.orphans if orphan.plain.retries]

    def drop_the_gone(self) -> None:
        """Forget events that are gone: called once a state has been checked."""
        for event in tuple(self.real):
            if event not in self.plain.events:
                del self.real[event], self.births[event]

    # -- steps -------------------------------------------------------------------------------------

    def register(self, who: int, which: int, text: str, flags: int = 0, bit: int = 0, perfmon: bool = True) -> None:
        """A process registers an event through a file."""
        process, file = self.processes[who], self.files[which]
        expected = self.plain.register(file.plain, process.plain, text, bit, flags, perfmon=perfmon)
        indices: list[int] = []
        caller = ROOT if perfmon else USER
        _same(
            expected,
            lambda: indices.append(
                self.group.register(file.real, process.mm, text, addr=WORD, bit=bit, flags=flags, caller=caller)
            ),
        )
        if not expected:
            index = file.plain.events.index(process.plain.enablers[bit].event)
            assert indices == [index], f"write index {indices}, not {index}"

    def create(self, text: str, perfmon: bool = True) -> None:
        """A ``u:`` line is written to dynamic_events."""
        expected = self.plain.create(text, perfmon=perfmon)
        _same(expected, lambda: self.group.dynamic_create(f"u:{text}", ROOT if perfmon else USER))

    def unregister(self, who: int, bit: int = 0) -> None:
        """A process lets a bit go; nobody else's memory is touched (invariant 10)."""
        process = self.processes[who]
        others = [other for other in self.processes if other is not process]
        before = [(dict(other.memory.words), tuple(other.mm.enablers)) for other in others]
        expected = self.plain.unregister(process.plain, bit)
        _same(expected, lambda: self.group.unregister(process.mm, WORD, bit))
        if not expected:
            assert process.memory.bit(WORD, bit) == 0, "invariant 9: the bit is not 0 after it was unregistered"
        after = [(dict(other.memory.words), tuple(other.mm.enablers)) for other in others]
        assert before == after, "invariant 10: unregistering changed another process"

    def close(self, which: int) -> None:
        """The final close of a file; another is opened in its place."""
        self.plain.close(self.files[which].plain)
        self.files[which].real.close()
        self.files[which] = self._new_file()

    def exit(self, who: int) -> None:
        """A task ends or execs; where it was the last one, another process takes its place."""
        process = self.processes[who]
        self.plain.leave(process.plain)
        process.mm.exit()
        if not process.plain.tasks:
            self.processes[who] = self._new_process()
            self.orphans.append(process)

    def thread(self, who: int) -> None:
        """A process starts a thread."""
        self.processes[who].plain.tasks += 1
        self.processes[who].mm.share()

    def fork(self, who: int, place: int) -> None:
        """A child of one process takes the place of another, which holds nothing."""
        parent = self.processes[who]
        memory = self._memory()
        memory.words = dict(parent.memory.words)
        child = Process(memory, parent.mm.fork(memory, "child"), self.plain.fork(parent.plain))
        if place < len(self.processes):
            self.processes[place] = child
        else:
            self.processes.append(child)

    def steal(self, who: int) -> None:
        """The page of a process's word goes: it must be brought in before the next write."""
        self.processes[who].memory.absent.add(WORD)
        self.processes[who].plain.absent = True

    def enable(self, which: int, tracer: int = 0) -> None:
        """A tracer begins to listen."""
        event = self.plain.events[which]
        self.plain.attach(event, tracer)
        self.real[event].attach(self.tracers[tracer])

    def disable(self, which: int, tracer: int = 0) -> None:
        """A tracer listens no more."""
        event = self.plain.events[which]
        self.plain.detach(event, tracer)
        self.real[event].detach(self.tracers[tracer])

    def delete(self, name: str, perfmon: bool = True) -> None:
        """Somebody deletes by name; an auto-delete event never goes by hand (invariant 12)."""
        self._may_destroy = True
        keeps = not self.limits.recover and any(e.name == name and not e.persist for e in self.plain.events)
        expected = self.plain.delete(name, perfmon=perfmon)
        _same(expected, lambda: self.group.delete(name, ROOT if perfmon else USER))
        assert not keeps or expected, "invariant 12: an auto-delete event was deleted by hand"
        self._may_destroy = False

    def work(self, index: int = 0) -> None:
        """The worker takes one item of the queue, whichever: a pool of workers keeps no order."""
        item = self.waiting(self.group.pending[index])
        assert item in self.plain.queue, "something waits that should not"
        self._may_destroy = item.event is not None
        self.plain.work(item)
        self.group.queue.run_one(index)
        self._may_destroy = False

    def waiting(self, work: Work) -> Waiting:
        """What an item of the engine's queue is in the model."""
        if isinstance(work, DestroyWork):
            return Waiting(event=next((event for event, real in self.real.items() if real is work.event), None))
        assert isinstance(work, FaultWork), work
        living = (*self.processes, *self.orphans)
        owner = next((process.plain for process in living if process.mm is work.enabler.mm), None)
        return Waiting(process=owner, bit=work.enabler.bit)

    # -- seams of the engine -----------------------------------------------------------------------

    def _may_fail(self, what: str) -> bool:
        self.asked.add(what)
        return what in self.failing

    def _refuses(self, work: Work) -> bool:
        return self._may_fail(QUEUE)

    def _before_destroy(self, event: UserEvent) -> None:
        assert self._may_destroy, "an event was destroyed inside a call that has nothing to do with destroying"
        if self._may_fail(DESTROY):
            raise Refused(12, "made to fail")

    def _log(self, level: str, message: str) -> None:
        if level == "alert" or "refcount_t" in message:
            self.alerts.append(message)

    def _memory(self) -> Watched:
        return Watched(self._may_fail)

    def _new_process(self) -> Process:
        memory = self._memory()
        return Process(memory, self.group.new_mm(memory, "process"), PlainProcess())

    def _new_file(self) -> File:
        return File(self.group.open_file("file"), PlainFile())

    def _remember(self, event: PlainEvent) -> None:
        """Pair a new event of the model with the engine's: the newest that has no partner."""
        known = set(self.real.values())
        fresh = [real for real in self.group.events if real not in known]
        assert fresh, f"'{event.name}' should have been created"
        self.real[event] = fresh[0]
        self.births[event] = Birth(fresh[0].id, fresh[0].persist, fresh[0].multi)


def _same(expected: str, call: Callable[[], object]) -> None:
    got = refused(call)
    assert got == expected, f"the engine says {got or 'yes'}, the model {expected or 'yes'}"
