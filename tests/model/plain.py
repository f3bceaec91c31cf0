"""What ought to be, in the plainest terms: each event has a set of holders, and lives while the set is not empty.

Nothing here counts. `Plain` takes the steps that the engine takes, with the same failures injected, and says which
errno each must give. It knows sets, lists and flags only, so that it can be read and believed beside the contract.

Source: user_events contract, lifecycle.md sections 1 to 6 and 9, write.md section 5.
"""

from collections.abc import Hashable, Iterator
from typing import Final, NamedTuple

PERSIST, MULTI = 1, 2
QUEUE, DESTROY, FAULT = "queue", "destroy", "fault"
"""What can be made to fail: queueing, the destroy, and bringing a page in."""

Holder = tuple[Hashable, ...]
SELF: Final[Holder] = ("self",)
CALL: Final[Holder] = ("call",)
WORK: Final[Holder] = ("work",)
STUCK: Final[Holder] = ("stuck",)


class PlainEvent:
    """A declaration, and who holds it."""

    def __init__(self, text: str, flags: int) -> None:
        self.name, _, self.args = text.partition(" ")
        self.persist = bool(flags & PERSIST)
        self.multi = bool(flags & MULTI)
        self.holders: set[Holder] = {SELF} if self.persist else set()

    @property
    def tracers(self) -> set[int]:
        """Who listens."""
        return {holder[1] for holder in self.holders if holder[0] == "tracer" and isinstance(holder[1], int)}


class PlainFile:
    """An open file: its events in order of first registration."""

    def __init__(self) -> None:
        self.events: list[PlainEvent] = []


class PlainEnabler:
    """One bit that follows an event."""

    def __init__(self, event: PlainEvent) -> None:
        self.event = event
        self.faulting = False
        self.freeing = False


class PlainProcess:
    """Memory (one page with one word), the bits registered in it, and how many tasks are left."""

    def __init__(self) -> None:
        self.word = 0
        self.absent = False
        """The page has to be brought in before the word can be written."""
        self.lost: set[int] = set()
        """Bits that are wrong because a write was given up: they wait for the next change of status."""
        self.tasks = 1
        self.retries = 0
        """Retries in flight; they keep the enablers of a process that is gone."""
        self.enablers: dict[int, PlainEnabler] = {}

    def store(self, bit: int, on: bool) -> None:
        """A write that succeeded."""
        self.word = self.word | 1 << bit if on else self.word & ~(1 << bit)
        self.lost.discard(bit)

    def lose(self, bit: int, on: bool) -> None:
        """A write that will not happen: the bit stays as it is, right or wrong."""
        if bool(self.word >> bit & 1) == on:
            self.lost.discard(bit)
        else:
            self.lost.add(bit)


class Waiting(NamedTuple):
    """One queued step: the destroy of an event, or the retry of a process's bit."""

    event: PlainEvent | None = None
    process: PlainProcess | None = None
    bit: int = 0


class Plain:
    """Events, and the queue. `failing` is what fails during the present step."""

    def __init__(self, *, recover: bool = False) -> None:
        self.recover = recover
        self.max = 1 << 15
        self.events: list[PlainEvent] = []
        self.queue: set[Waiting] = set()
        """What waits for the worker, which may take any of it."""
        self.failing: tuple[str, ...] = ()

    # -- steps: each returns the name of the errno it must be refused with, or "" ------------------

    def register(
        self, file: PlainFile, process: PlainProcess, text: str, bit: int, flags: int, *, perfmon: bool
    ) -> str:
        """The bit follows the event from now on, and the file holds it; both outlive each other."""
        if bit in process.enablers:
            return "EADDRINUSE"
        error, event = self._find_or_create(text, flags, perfmon=perfmon)
        if event is None:
            return error
        if event not in file.events:
            file.events.append(event)
            event.holders.add(("file", file))
        if not self._write_now(process, bit, on=bool(event.tracers)):
            return "ENOMEM"
        self._track(process, bit, event)
        return ""

    def create(self, text: str, *, perfmon: bool) -> str:
        """A ``u:`` line of dynamic_events."""
        error, event = self._find_or_create(text, PERSIST, perfmon=perfmon)
        if event is not None:
            event.holders.add(CALL)
            self._drop(event, CALL)
        return error

    def unregister(self, process: PlainProcess, bit: int) -> str:
        """The bit is let go and cleared; while a retry of it is in flight the enabler stays."""
        enabler = process.enablers.get(bit)
        if enabler is None:
            return "ENOENT"
        enabler.freeing = True
        if not enabler.faulting:
            self._untrack(process, bit)
        return "" if self._write_now(process, bit, on=False) else "EFAULT"

    def close(self, file: PlainFile) -> None:
        """The final close: every entry lets go."""
        for event in file.events:
            self._drop(event, ("file", file))

    def leave(self, process: PlainProcess) -> None:
        """One task exits or execs; the last one takes the enablers along, unless a retry still needs them."""
        process.tasks -= 1
        self._bury(process)

    def fork(self, process: PlainProcess) -> PlainProcess:
        """The child: a copy of the memory, and of every enabler that is not on its way out."""
        child = PlainProcess()
        child.word, child.lost = process.word, set(process.lost)
        for bit, enabler in process.enablers.items():
            if not enabler.freeing:
                self._track(child, bit, enabler.event)
                child.lose(bit, bool(enabler.event.tracers))
        return child

    def attach(self, event: PlainEvent, tracer: int) -> None:
        """A tracer listens."""
        event.holders.add(("tracer", tracer))
        self._status_changed(event)

    def detach(self, event: PlainEvent, tracer: int) -> None:
        """It listens no more, and lets go last of all."""
        event.holders.remove(("tracer", tracer))
        event.holders.add(CALL)
        self._status_changed(event)
        self._drop(event, CALL)

    def delete(self, name: str, *, perfmon: bool) -> str:
        """Delete by hand, the newest first: only what nobody but itself holds."""
        named = [event for event in reversed(self.events) if event.name == name]
        for event in named:
            alone = event.holders == {SELF} or (self.recover and event.holders == {STUCK})
            if not alone:
                return "EBUSY"
            if event.persist and not perfmon:
                return "EPERM"
            if DESTROY in self.failing:
                return "ENOMEM"
            self.events.remove(event)
        return "" if named else "ENOENT"

    def work(self, item: Waiting) -> None:
        """A queued step is taken, whichever."""
        self.queue.remove(item)
        if item.event is not None:
            self._destroy(item.event)
        elif item.process is not None:
            self._retry(item.process, item.bit)

    # -- what follows from a step ------------------------------------------------------------------

    def _find_or_create(self, text: str, flags: int, *, perfmon: bool) -> tuple[str, PlainEvent | None]:
        if flags & PERSIST and not perfmon:
            return "EPERM", None
        new = PlainEvent(text, flags)
        alike = [event for event in self.events if (event.name, event.multi) == (new.name, new.multi)]
        for event in alike:
            if event.args == new.args:
                return "", event
        if alike and not new.multi:
            return "EADDRINUSE", None
        if len(self.events) >= self.max:
            return "EMFILE", None
        self.events.append(new)
        return "", new

    def _track(self, process: PlainProcess, bit: int, event: PlainEvent) -> None:
        process.enablers[bit] = PlainEnabler(event)
        event.holders.add(("enabler", process, bit))

    def _untrack(self, process: PlainProcess, bit: int) -> None:
        self._drop(process.enablers.pop(bit).event, ("enabler", process, bit))

    def _drop(self, event: PlainEvent, holder: Holder) -> None:
        """Take a holder off. Whoever has none left waits for the worker; where that is promised, a stuck one too."""
        event.holders.remove(holder)
        if self.recover and event.holders == {STUCK}:
            event.holders.remove(STUCK)
        if event.holders:
            return
        if QUEUE in self.failing:
            event.holders.add(STUCK)
        else:
            event.holders.add(WORK)
            self.queue.add(Waiting(event=event))

    def _destroy(self, event: PlainEvent) -> None:
        event.holders.remove(WORK)
        if event.holders:
            return
        if DESTROY in self.failing:
            event.holders.add(STUCK)
        else:
            self.events.remove(event)

    def _status_changed(self, event: PlainEvent) -> None:
        for process, bit in tuple(self._enablers(event)):
            self._write(process, bit)

    def _enablers(self, event: PlainEvent) -> Iterator[tuple[PlainProcess, int]]:
        for kind, *whose in event.holders:
            if kind == "enabler":
                process, bit = whose
                assert isinstance(process, PlainProcess)
                assert isinstance(bit, int)
                yield process, bit

    def _write(self, process: PlainProcess, bit: int) -> None:
        """Write a bit at once, or queue a retry; one that is on its way already will write the status of then."""
        enabler = process.enablers[bit]
        if not process.tasks or enabler.faulting or enabler.freeing:
            return
        if not process.absent:
            process.store(bit, bool(enabler.event.tracers))
        elif QUEUE in self.failing:
            process.lose(bit, bool(enabler.event.tracers))
        else:
            enabler.faulting = True
            process.retries += 1
            self.queue.add(Waiting(process=process, bit=bit))

    def _write_now(self, process: PlainProcess, bit: int, *, on: bool) -> bool:
        if not self._bring_in(process):
            process.lose(bit, False)  # no enabler follows from this
            return False
        process.store(bit, on)
        return True

    def _bring_in(self, process: PlainProcess) -> bool:
        if not process.tasks or (process.absent and FAULT in self.failing):
            return False
        process.absent = False
        return True

    def _retry(self, process: PlainProcess, bit: int) -> None:
        enabler = process.enablers[bit]
        reached = self._bring_in(process)
        enabler.faulting = False
        if enabler.freeing:
            self._untrack(process, bit)
        elif reached:
            process.store(bit, bool(enabler.event.tracers))
        else:
            process.lose(bit, bool(enabler.event.tracers))
        process.retries -= 1
        self._bury(process)

    def _bury(self, process: PlainProcess) -> None:
        if not process.tasks and not process.retries:
            for bit in tuple(process.enablers):
                self._untrack(process, bit)
