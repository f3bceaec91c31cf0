"""Native programs in recordings: whatever is written through doors, by process, for each instance that records it.

Doors write to the tree in their own threads, under the loop's lock; an instance that records an event hands each write
of it here (`Instance.tap`). A program is known from its first registration or write on.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from ..engine import Group, UserEvent, Writer
from ..instance import Instance
from . import frames
from .native_program import NativeProgram
from .native_view import AnyNative, NativeFlight, NativeView, all_flights
from .remote import RemoteMemory

_DEAD_SIZE: Final = 64 << 20
"""Bytes of dead programs' records that flight recordings keep."""
_DEAD_COUNT: Final = 200
_FIRST_NUMBER: Final = 1 << 24
"""The streams of a recording below this are programs with sessions."""


class Natives:
    """Every native program that is known, and what each instance sees of it."""

    def __init__(self) -> None:
        self.catch_ups: list[Callable[[], None]] = []
        """What takes in all that has been written until now, for doors where that takes a while."""
        self._numbers = itertools.count(_FIRST_NUMBER)
        self._programs: dict[int, NativeProgram] = {}
        self._dead: list[NativeProgram] = []
        """Those whose records flight recordings keep."""
        self._views: dict[Instance, dict[NativeProgram, AnyNative | None]] = {}
        self._seen: dict[Instance, int] = {}
        """How often each instance had changed when its views were last looked at."""

    def __len__(self) -> int:
        """How many programs are known."""
        return len(self._programs)

    def listen(self, instance: Instance) -> None:
        """Record what doors write for an instance."""
        self._views[instance] = {}
        instance.tap, instance.tell_lost = partial(self.take, instance), partial(self.give_up, instance)

    def meet(self, pid: int) -> NativeProgram:
        """A process registers or writes: know it from now on."""
        found = self._programs.get(pid)
        if found is None:
            found = self._programs[pid] = NativeProgram(pid, next(self._numbers))
            for instance in self._views:
                if instance.has_recording:
                    self._view(instance, found)
        return found

    def take(self, instance: Instance, event: UserEvent, payload: bytes, writer: Writer) -> bool:
        """Record a write of an event that the instance wants; False if its payload is not valid."""
        program = self._programs.get(writer.pid) or self.meet(writer.pid)
        view = self._view(instance, program)
        return True if view is None else view.take(event, payload, writer)

    def take_many(
        self, instance: Instance, event: UserEvent, writer: Writer, times_ns: Sequence[int], payloads: Sequence[bytes]
    ) -> None:
        """Record writes of one thread, each at its time."""
        view = self._view(instance, self.meet(writer.pid))
        if view is not None:
            view.take_many(event, writer, times_ns, payloads)

    def give_up(self, instance: Instance, event: UserEvent, writer: Writer, count: int) -> None:
        """Count records of an event that were lost on their way."""
        view = self._view(instance, self.meet(writer.pid))
        if view is not None:
            view.give_up(event, count)

    def catch_up(self) -> None:
        """Have everything in that was written until now."""
        for catch_up in self.catch_ups:
            catch_up()

    def flush(self) -> int:
        """Hand out what was written since the last time; returns how many bytes that were."""
        return sum(view.flush() for views in self._views.values() for view in views.values() if view is not None)

    def tick(self) -> None:
        """Look after the living, and hand out the counts so far."""
        for program in self._programs.values():
            program.look()
        dead = [program for program in self._programs.values() if not program.alive]
        if dead:
            self.catch_up()
        for views in self._views.values():
            for view in views.values():
                if isinstance(view, NativeView):
                    view.tell_ledger()
        for program in dead:
            self._bury(program)

    def rotate(self, instance: Instance, between: bytes) -> None:
        """End a recording's counts, hand out what is `between` one and the next, and begin anew."""
        views = self._streamed(instance)
        for view in views:
            view.tell_ledger()
        instance.stream.push(between, None, 0)
        for view in views:
            view.begin()

    def finish(self, instance: Instance) -> None:
        """Hand out what is left and the last counts of a recording that ends."""
        for program in self._programs.values():
            program.look()
        for view in self._streamed(instance):
            view.tell_ledger()
        self._views.pop(instance, None)
        instance.tap = instance.tell_lost = None

    def forget(self, instance: Instance) -> None:
        """The instance is removed."""
        self._views.pop(instance, None)
        self._seen.pop(instance, None)

    def flying(self, instance: Instance) -> list[NativeFlight]:
        """What a flight recording holds of native programs."""
        return all_flights(self._views.get(instance, {}).values())

    def facts(self, group: Group) -> list[dict[str, object]]:
        """What there is to tell of each program and its events in `group`, for JSON."""
        declared = _declared(group)
        return [frames.native_facts(program, declared.get(program.pid, {})) for program in self._programs.values()]

    def _streamed(self, instance: Instance) -> list[NativeView]:
        return [view for view in self._views.get(instance, {}).values() if isinstance(view, NativeView)]

    def _view(self, instance: Instance, program: NativeProgram) -> AnyNative | None:
        """What an instance sees of a program; None where it has not selected it."""
        views = self._views.get(instance)
        if views is None or instance.stream.finished:
            return None
        if self._seen.get(instance) != instance.changes:
            self._seen[instance] = instance.changes
            self._select_anew(instance, views)
        if program not in views:
            views[program] = self._new_view(instance, program) if instance.selection.selects(program.facts) else None
        return views[program]

    def _select_anew(self, instance: Instance, views: dict[NativeProgram, AnyNative | None]) -> None:
        """The instance has changed, perhaps whom it selects: who is not any more gets its last counts."""
        for program, view in tuple(views.items()):
            if view is None:
                del views[program]
            elif not instance.selection.selects(program.facts):
                if isinstance(view, NativeView):
                    view.tell_ledger()
                del views[program]

    def _new_view(self, instance: Instance, program: NativeProgram) -> AnyNative:
        return NativeFlight(instance, program) if instance.is_flight else NativeView(instance, program)

    def _bury(self, program: NativeProgram) -> None:
        """Let go of a dead program, but for what flight recordings hold of it."""
        del self._programs[program.pid]
        for views in self._views.values():
            if isinstance(views.get(program), NativeFlight):
                self._dead.append(program)
            else:
                views.pop(program, None)
        held = [view for views in self._views.values() for view in all_flights(views.get(each) for each in self._dead)]
        while len(held) > _DEAD_COUNT or sum(view.held_size for view in held) > _DEAD_SIZE:
            held.pop(0).give_up_pages()


def _declared(group: Group) -> dict[int, dict[UserEvent, None]]:
    """The events that native processes have registered and not let go of: a bit of theirs follows each."""
    found: dict[int, dict[UserEvent, None]] = {}
    for event in group.events:
        for enabler in event.enablers:
            memory = enabler.mm.memory
            if isinstance(memory, RemoteMemory):
                found.setdefault(memory.pid, {})[event] = None
    return found
