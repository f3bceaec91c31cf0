"""The random machine: steps as the search takes them, in a world too large to search."""

from typing import Final

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.model.invariants import check
from tests.model.plain import DESTROY, FAULT, MULTI, PERSIST, QUEUE
from tests.model.world import Argument, Limits, Step, World

LARGE: Final = Limits(
    texts=("a u32 x", "a u64 x", "b"),
    flags=(0, 0, PERSIST, MULTI, PERSIST | MULTI),
    processes=2,
    files=2,
    bits=2,
    tracers=2,
    threads=True,
    orphans=100,
)
PROCESSES_MAX: Final = 4
FAILING: Final = ((), (), (), (), (), (), (), (QUEUE,), (DESTROY,), (FAULT,), (DESTROY, FAULT, QUEUE))

anyone = st.integers(0, PROCESSES_MAX - 1)
anything = st.integers(0, 7)
bits = st.integers(0, LARGE.bits - 1)
failures = st.sampled_from(FAILING)
mostly = st.sampled_from((True, True, False))


class Lifecycles(RuleBasedStateMachine):
    """The engine beside its model, in a world of up to four processes, two files, an instance and perf."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(LARGE)

    @rule(
        who=anyone,
        which=st.integers(0, LARGE.files - 1),
        text=st.sampled_from(LARGE.texts),
        flags=st.sampled_from(LARGE.flags),
        bit=bits,
        perfmon=mostly,
        failing=failures,
    )
    def register(
        self, who: int, which: int, text: str, flags: int, bit: int, perfmon: bool, failing: tuple[str, ...]
    ) -> None:
        """A process registers an event through a file."""
        self._take("register", self._process(who), which, text, flags, bit, perfmon, failing=failing)

    @rule(text=st.sampled_from(LARGE.texts), perfmon=mostly)
    def create(self, text: str, perfmon: bool) -> None:
        """Somebody writes a ``u:`` line."""
        self._take("create", text, perfmon)

    @rule(who=anyone, bit=bits, failing=failures)
    def unregister(self, who: int, bit: int, failing: tuple[str, ...]) -> None:
        """A process lets a bit go."""
        self._take("unregister", self._process(who), bit, failing=failing)

    @rule(which=st.integers(0, LARGE.files - 1), failing=failures)
    def close(self, which: int, failing: tuple[str, ...]) -> None:
        """The final close of a file."""
        self._take("close", which, failing=failing)

    @rule(who=anyone, failing=failures)
    def exit(self, who: int, failing: tuple[str, ...]) -> None:
        """A task ends or execs."""
        self._take("exit", self._process(who), failing=failing)

    @rule(who=anyone)
    def thread(self, who: int) -> None:
        """A process starts a thread."""
        self._take("thread", self._process(who))

    @precondition(lambda self: self._place() <= PROCESSES_MAX - 1)
    @rule(who=anyone)
    def fork(self, who: int) -> None:
        """A process forks."""
        if self._place() != self._process(who):
            self._take("fork", self._process(who), self._place())

    @rule(who=anyone)
    def steal(self, who: int) -> None:
        """A page goes."""
        self._take("steal", self._process(who))

    @precondition(lambda self: self.world.plain.events)
    @rule(which=anything, tracer=st.integers(0, LARGE.tracers - 1), failing=failures)
    def trace(self, which: int, tracer: int, failing: tuple[str, ...]) -> None:
        """A tracer begins to listen to an event, or ceases to."""
        place = which % len(self.world.plain.events)
        listens = tracer in self.world.plain.events[place].tracers
        self._take("disable" if listens else "enable", place, tracer, failing=failing)

    @rule(failing=failures)
    def leave(self, failing: tuple[str, ...]) -> None:
        """Every process ends and every file is closed: last puts, which single steps seldom reach here."""
        for who in range(len(self.world.processes)):
            self._take("exit", who, failing=failing)
        for which in range(len(self.world.files)):
            self._take("close", which, failing=failing)

    @rule(name=st.sampled_from(("a", "b")), perfmon=mostly, failing=failures)
    def delete(self, name: str, perfmon: bool, failing: tuple[str, ...]) -> None:
        """Somebody deletes by name."""
        self._take("delete", name, perfmon, failing=failing)

    @precondition(lambda self: self.world.group.pending)
    @rule(index=anything, failing=failures)
    def work(self, index: int, failing: tuple[str, ...]) -> None:
        """The worker takes an item."""
        self._take("work", index % len(self.world.group.pending), failing=failing)

    @invariant()
    def everything_holds(self) -> None:
        """The contract's invariants, after every step."""
        check(self.world)
        self.world.drop_the_gone()

    def _take(self, verb: str, *arguments: Argument, failing: tuple[str, ...] = ()) -> None:
        self.world.take(Step(verb, arguments, failing))

    def _process(self, who: int) -> int:
        return who % len(self.world.processes)

    def _place(self) -> int:
        """Where a child can go: the place of a process that holds nothing, or one more."""
        processes = [process.plain for process in self.world.processes]
        free = (n for n, plain in enumerate(processes) if not plain.enablers and not plain.word and plain.tasks == 1)
        return next(free, len(processes))
