"""The engine against a plain model: a set of holders for each event, and the rule that it lives while someone holds it.

The machine takes random steps in a world of two processes (and their children), two files, two tracers and
two names, with destroys and queueing that may fail. After every step the engine must agree with the model.

Source: user_events contract, lifecycle.md section 10.
"""

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.engine.world import ROOT, USER, WORD, FakeMemory, Probe, World, refused
from userevents.engine import Caller, OpenFile, UserEvent, UserEventMm
from userevents.engine.enabler import Enabler
from userevents.engine.lifecycle import Lifecycle
from userevents.errors import Refused

PERSIST, MULTI = 1, 2
TEXTS = ("a u32 x", "a u64 x", "b")
BITS = (0, 1)
Holder = tuple[object, ...]
SELF, WORK, STUCK = ("self",), ("work",), ("stuck",)


class Expected:
    """What the model knows of one event: its declaration, and the set of who holds it."""

    def __init__(self, text: str, flags: int) -> None:
        self.name, _, self.args = text.partition(" ")
        self.persist = bool(flags & PERSIST)
        self.multi = bool(flags & MULTI)
        self.holders: set[Holder] = {SELF} if self.persist else set()

    @property
    def listened(self) -> bool:
        """Whether a tracer listens."""
        return any(holder[0] == "tracer" for holder in self.holders)


class Lifecycles(RuleBasedStateMachine):
    """The engine beside its model."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.events: list[Expected] = []
        self.real: dict[Expected, UserEvent] = {}
        self.queue: list[Expected] = []
        self.mms: list[tuple[UserEventMm, FakeMemory]] = []
        self.files: list[OpenFile] = [self.world.group.open_file() for _ in range(2)]
        self.indices: dict[OpenFile, list[Expected]] = {file: [] for file in self.files}
        self.tracers = [Probe("one"), Probe("two")]
        for _ in range(2):
            self._new_process(FakeMemory())

    # -- steps -------------------------------------------------------------------------------------

    @rule(
        who=st.integers(0, 7),
        which=st.integers(0, 7),
        text=st.sampled_from(TEXTS),
        bit=st.sampled_from(BITS),
        flags=st.sampled_from((0, 0, PERSIST, MULTI)),
        caller=st.sampled_from((ROOT, USER)),
    )
    def register(self, who: int, which: int, text: str, bit: int, flags: int, caller: Caller) -> None:
        """A process registers an event through a file."""
        mm, _ = self.mms[who % len(self.mms)]
        file = self.files[which % len(self.files)]
        errno, event = self._expect_registration(mm, text, bit, flags, caller)
        indices: list[int] = []
        assert errno == refused(
            lambda: indices.append(self.world.register(text, bit=bit, flags=flags, caller=caller, file=file, mm=mm))
        )
        if errno:
            return
        if event is None:
            event = Expected(text, flags)
            self.events.append(event)
            (self.real[event],) = set(self.world.group.events) - set(self.real.values())
        if event not in self.indices[file]:
            self.indices[file].append(event)
        assert indices[0] == self.indices[file].index(event)
        event.holders |= {("file", file), ("enabler", mm, bit)}

    @rule(who=st.integers(0, 7), bit=st.sampled_from(BITS))
    def unregister(self, who: int, bit: int) -> None:
        """A process lets a bit go: it must be 0 then, whatever the event's state."""
        mm, memory = self.mms[who % len(self.mms)]
        held = [event for event in self.events if ("enabler", mm, bit) in event.holders]
        errno = refused(lambda: self.world.group.unregister(mm, WORD, bit))
        assert errno == ("" if held else "ENOENT")
        assert not held or memory.bit(WORD, bit) == 0
        self._drop(held, ("enabler", mm, bit))

    @rule(which=st.integers(0, 7))
    def close(self, which: int) -> None:
        """The final close of a file; another is opened in its place."""
        file = self.files.pop(which % len(self.files))
        file.close()
        self.files.append(self.world.group.open_file())
        self.indices[self.files[-1]] = []
        self._drop(self.indices.pop(file), ("file", file))

    @rule(who=st.integers(0, 7))
    def exit(self, who: int) -> None:
        """A process ends or execs; another takes its place."""
        mm, _ = self.mms.pop(who % len(self.mms))
        mm.exit()
        for bit in BITS:
            self._drop(self.events, ("enabler", mm, bit))
        if len(self.mms) < 2:
            self._new_process(FakeMemory())

    @precondition(lambda self: len(self.mms) < 4)
    @rule(who=st.integers(0, 7))
    def fork(self, who: int) -> None:
        """A child gets a copy of memory and enablers."""
        mm, memory = self.mms[who % len(self.mms)]
        copied = memory.copy()
        child = mm.fork(copied)
        self.mms.append((child, copied))
        for event in self.events:
            event.holders |= {("enabler", child, bit) for bit in BITS if ("enabler", mm, bit) in event.holders}

    @precondition(lambda self: self.events)
    @rule(which=st.integers(0, 7), tracer=st.integers(0, 1), on=st.booleans())
    def trace(self, which: int, tracer: int, on: bool) -> None:
        """A tracer enables or disables an event that exists."""
        event = self.events[which % len(self.events)]
        holder = ("tracer", tracer)
        if on and holder not in event.holders:
            self.real[event].attach(self.tracers[tracer])
            event.holders.add(holder)
        elif not on and holder in event.holders:
            self.real[event].detach(self.tracers[tracer])
            self._drop([event], holder)

    @precondition(lambda self: self.queue)
    @rule(fails=st.booleans())
    def work(self, fails: bool) -> None:
        """The worker runs one item; a destroy may fail."""
        event = self.queue.pop(0)
        event.holders.remove(WORK)
        self.world.group.lifecycle.before_destroy = _fail if fails else None
        self.world.queue.run_one()
        if not event.holders and fails:
            event.holders.add(STUCK)
        elif not event.holders:
            self._gone(event)

    @rule(refused=st.booleans())
    def refuse_queueing(self, refused: bool) -> None:
        """Queueing fails from now on, or does not any more."""
        self.world.queue.refuses = (lambda work: True) if refused else None

    @rule(name=st.sampled_from(("a", "b")), caller=st.sampled_from((ROOT, USER)))
    def delete(self, name: str, caller: Caller) -> None:
        """Somebody deletes by name; an auto-delete event can never be deleted by hand."""
        self.world.group.lifecycle.before_destroy = None
        errno = "" if self._named(name) else "ENOENT"
        for event in reversed(self._named(name)):
            if event.holders != {SELF}:
                errno = "EBUSY"
            elif caller is USER:
                errno = "EPERM"
            else:
                self._gone(event)
                continue
            break
        assert refused(lambda: self.world.group.delete(name, caller)) == errno

    # -- what must hold after every step -----------------------------------------------------------

    @invariant()
    def every_count_is_the_number_of_holders(self) -> None:
        """Invariant 1, three ways: the engine's arithmetic, its structures, the model."""
        for event, real in self.real.items():
            assert real.refcnt == len(real.holders()) == len(event.holders), (real, event.holders)
            assert real.refcnt >= 1

    @invariant()
    def exactly_the_expected_events_are_listed(self) -> None:
        """Invariants 2, 5, 6, 7 and 13."""
        assert list(self.world.group.events) == [self.real[event] for event in self.events]
        assert len({real.id for real in self.real.values()}) == len(self.events)
        singles = [event.name for event in self.events if not event.multi]
        assert len(singles) == len(set(singles))

    @invariant()
    def work_waits_for_those_who_lost_their_last_holder(self) -> None:
        """Invariant 4: at most one item an event, none for a persistent one; invariant 3: no alert."""
        assert len(self.world.group.pending) == len(self.queue)
        assert all(not event.persist for event in self.queue)
        assert not [message for level, message in self.world.log if level == "alert"]

    @invariant()
    def every_bit_follows_its_event(self) -> None:
        """Invariants 9 and 11: a bit is 1 exactly while somebody listens."""
        for mm, memory in self.mms:
            for bit in BITS:
                wanted = [event.listened for event in self.events if ("enabler", mm, bit) in event.holders]
                assert memory.bit(WORD, bit) == any(wanted)

    @invariant()
    def an_index_never_changes(self) -> None:
        """Invariant 8: positions in a file are in order of first registration."""
        for file in self.files:
            assert list(file.events) == [self.real[event] for event in self.indices[file]]

    # -- the model's own bookkeeping ---------------------------------------------------------------

    def _new_process(self, memory: FakeMemory) -> None:
        self.mms.append((self.world.group.new_mm(memory), memory))

    def _named(self, name: str) -> list[Expected]:
        return [event for event in self.events if event.name == name]

    def _expect_registration(
        self, mm: UserEventMm, text: str, bit: int, flags: int, caller: Caller
    ) -> tuple[str, Expected | None]:
        """What registering must give: an errno's name, or the event it must find (None: a new one)."""
        if any(("enabler", mm, bit) in event.holders for event in self.events):
            return "EADDRINUSE", None
        if flags & PERSIST and caller is USER:
            return "EPERM", None
        name, _, args = text.partition(" ")
        alike = [event for event in self._named(name) if event.multi == bool(flags & MULTI)]
        same = [event for event in alike if event.args == args]
        if same:
            return "", same[0]
        return ("EADDRINUSE" if alike and not flags & MULTI else ""), None

    def _drop(self, events: list[Expected], holder: Holder) -> None:
        """Take a holder off; whoever has none left waits for the worker, or is stuck."""
        for event in tuple(events):
            if holder not in event.holders:
                continue
            event.holders.remove(holder)
            if event.holders:
                continue
            if self.world.queue.refuses is not None:
                event.holders.add(STUCK)
            else:
                event.holders.add(WORK)
                self.queue.append(event)

    def _gone(self, event: Expected) -> None:
        self.events.remove(event)
        del self.real[event]


def _fail(event: UserEvent) -> None:
    raise Refused(12, "injected")


QUICK = settings(max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))
HUNT = settings(QUICK, max_examples=100, report_multiple_bugs=False, phases=[Phase.generate], derandomize=True)


def test_the_engine_agrees_with_a_plain_set_of_holders() -> None:
    """Random steps with injected failures: counts, lists, bits, indices and errnos are the model's."""
    run_state_machine_as_test(Lifecycles, settings=QUICK)


def _forget_the_retaken_reference(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lifecycle, "_retake", lambda self, event: None)


def _forget_the_tracers_reference(patch: pytest.MonkeyPatch) -> None:
    attach = UserEvent.attach

    def attach_for_free(event: UserEvent, probe: Probe) -> None:
        attach(event, probe)
        event.refcnt -= 1

    patch.setattr(UserEvent, "attach", attach_for_free)


def _forget_the_forked_reference(patch: pytest.MonkeyPatch) -> None:
    fork = UserEventMm.fork

    def fork_for_free(mm: UserEventMm, memory: FakeMemory) -> UserEventMm:
        child = fork(mm, memory)
        for enabler in child.enablers.values():
            enabler.event.refcnt -= 1
        return child

    patch.setattr(UserEventMm, "fork", fork_for_free)


def _forget_to_clear_the_bit(patch: pytest.MonkeyPatch) -> None:
    write = UserEventMm._write_now

    def write_unless_freeing(mm: UserEventMm, enabler: Enabler, on: bool) -> bool:
        return enabler.freeing or write(mm, enabler, on)

    patch.setattr(UserEventMm, "_write_now", write_unless_freeing)


def _destroy_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lifecycle, "_queue_destroy", lambda self, event: self.run_destroy(event))


@pytest.mark.parametrize(
    "mutate",
    [
        _forget_the_retaken_reference,
        _forget_the_tracers_reference,
        _forget_the_forked_reference,
        _forget_to_clear_the_bit,
        _destroy_at_once,
    ],
)
def test_the_model_notices_a_planted_fault(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that passes on a broken engine proves nothing: each fault must make the machine fail."""
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Lifecycles, settings=HUNT)
