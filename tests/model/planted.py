"""Faults to plant into the engine, each one that a person could make, and the shortest story that shows it.

A search that finds nothing proves something only if it would have found these. A fault is planted by replacing one
method; the story is the verbs of the shortest path to a state in which something does not hold.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest

from tests.model.world import Limits
from userevents.engine import Memory, OpenFile, Probe, UserEvent, UserEventMm
from userevents.engine import group as group_module
from userevents.engine.enabler import Enabler, FaultWork
from userevents.engine.lifecycle import Lifecycle


class Planted(NamedTuple):
    """A fault, and what shows it."""

    plant: Callable[[pytest.MonkeyPatch], None]
    story: tuple[str, ...]
    limits: Limits = Limits(faults=False)


def _replaced(owner: type, name: str, wrap: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """Replace a method by what `wrap` makes of it."""
    return lambda patch: patch.setattr(owner, name, wrap(getattr(owner, name)))


def _nothing(method: Any) -> Any:
    return lambda self, *arguments: None


def _attach_for_free(attach: Any) -> Any:
    def attached(event: UserEvent, probe: Probe) -> None:
        attach(event, probe)
        event.refcnt -= 1

    return attached


def _fork_for_free(fork: Any) -> Any:
    def forked(mm: UserEventMm, memory: Memory, label: str = "") -> UserEventMm:
        child: UserEventMm = fork(mm, memory, label)
        for enabler in child.enablers.values():
            enabler.event.refcnt -= 1
        return child

    return forked


def _fork_without_enablers(fork: Any) -> Any:
    def forked(mm: UserEventMm, memory: Memory, label: str = "") -> UserEventMm:
        return UserEventMm(mm._lifecycle, memory, label)

    return forked


def _fork_with_those_on_their_way_out(fork: Any) -> Any:
    def forked(mm: UserEventMm, memory: Memory, label: str = "") -> UserEventMm:
        child: UserEventMm = fork(mm, memory, label)
        for enabler in mm.enablers.values():
            if enabler.freeing:
                child._track(Enabler(child, enabler.event, enabler.addr, enabler.bit, enabler.size))
        return child

    return forked


def _born_without_itself(init: Any) -> Any:
    def born(event: UserEvent, *arguments: Any, **named: Any) -> None:
        init(event, *arguments, **named)
        event.refcnt = 1

    return born


def _destroy_without_looking_again(run: Any) -> Any:
    def ran(lifecycle: Lifecycle, event: UserEvent) -> None:
        event.refcnt = 1
        run(lifecycle, event)

    return ran


def _queue_at_one(put: Any) -> Any:
    def putting(lifecycle: Lifecycle, event: UserEvent) -> None:
        waits = event.work is not None
        put(lifecycle, event)
        if waits and event.refcnt == 1:
            lifecycle._queue_destroy(event)

    return putting


def _count_each_registration(add: Any) -> Any:
    def added(file: OpenFile, event: UserEvent) -> int:
        known = event in file.events
        index: int = add(file, event)
        if known:
            event.refcnt += 1
        return index

    return added


def _keep_the_first_entry(close: Any) -> Any:
    def closed(file: OpenFile) -> None:
        for event in file.events[:1]:
            event.refcnt += 1
        close(file)

    return closed


def _free_while_a_retry_is_in_flight(disable: Any) -> Any:
    def disabled(mm: UserEventMm, addr: int, bit: int) -> None:
        enabler = mm.enablers.get((addr, bit))
        if enabler is not None:
            enabler.faulting = False
        disable(mm, addr, bit)

    return disabled


def _leave_retries_behind(leave: Any) -> Any:
    def left(mm: UserEventMm) -> None:
        leave(mm)
        if not mm.tasks and mm.refcnt:
            for enabler in tuple(mm.enablers.values()):
                mm._destroy(enabler)

    return left


def _forget_the_retry(finish: Any) -> Any:
    def finished(mm: UserEventMm, work: FaultWork) -> None:
        work.enabler.event.status, status = 0, work.enabler.event.status
        finish(mm, work)
        work.enabler.event.status = status

    return finished


def _bit_stays(write: Any) -> Any:
    def written(mm: UserEventMm, enabler: Enabler, on: bool, *how: Any) -> bool:
        return enabler.freeing or bool(write(mm, enabler, on, *how))

    return written


def _detach_in_silence(detach: Any) -> Any:
    def detached(event: UserEvent, probe: Probe) -> None:
        del event.probes[probe]
        event._lifecycle.put(event)

    return detached


def _forget_who_is_stuck(run: Any) -> Any:
    def ran(lifecycle: Lifecycle, event: UserEvent) -> None:
        run(lifecycle, event)
        if event.stuck:
            event.refcnt = event.stuck = 0

    return ran


def _delete_the_busy(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(group_module, "_require_idle", lambda event: None)


def _ask_nobody(persist: Any) -> Any:
    return lambda mm, addr, bit: None


_FAULTS: Final = Limits()

PLANTED: Final[dict[str, Planted]] = {
    "the last reference is not taken again for the worker": Planted(
        _replaced(Lifecycle, "_retake", _nothing), ("register", "close", "unregister")
    ),
    "a tracer takes no reference": Planted(_replaced(UserEvent, "attach", _attach_for_free), ("create", "enable")),
    "fork copies enablers without references": Planted(
        _replaced(UserEventMm, "fork", _fork_for_free), ("register", "fork")
    ),
    "fork forgets the enablers": Planted(_replaced(UserEventMm, "fork", _fork_without_enablers), ("register", "fork")),
    "fork copies enablers that are on their way out": Planted(
        _replaced(UserEventMm, "fork", _fork_with_those_on_their_way_out),
        ("register", "steal", "enable", "unregister", "fork"),
        _FAULTS,
    ),
    "a persistent event does not hold itself": Planted(
        _replaced(UserEvent, "__init__", _born_without_itself), ("create",)
    ),
    "exit keeps the enablers' references": Planted(_replaced(UserEventMm, "_put", _nothing), ("register", "exit")),
    "the worker does not look whether somebody came back": Planted(
        _replaced(Lifecycle, "run_destroy", _destroy_without_looking_again),
        ("register", "close", "unregister", "register", "work"),
    ),
    "a destroy is queued although one waits already": Planted(
        _replaced(Lifecycle, "put", _queue_at_one), ("register", "close", "unregister", "create")
    ),
    "an event is destroyed inside the call that lets go of it": Planted(
        _replaced(Lifecycle, "_queue_destroy", lambda queue: lambda self, event: self.run_destroy(event)),
        ("register", "close", "unregister"),
    ),
    "each registration through a file counts": Planted(
        _replaced(OpenFile, "add", _count_each_registration), ("register", "register")
    ),
    "a closed file keeps a reference": Planted(
        _replaced(OpenFile, "close", _keep_the_first_entry), ("register", "close")
    ),
    "an enabler is freed while its retry is in flight": Planted(
        _replaced(UserEventMm, "disable", _free_while_a_retry_is_in_flight),
        ("register", "steal", "enable", "unregister"),
        _FAULTS,
    ),
    "an exit does not wait for retries in flight": Planted(
        _replaced(UserEventMm, "exit", _leave_retries_behind), ("register", "steal", "enable", "exit"), _FAULTS
    ),
    "a retry writes another status than that of its moment": Planted(
        _replaced(UserEventMm, "finish_fault", _forget_the_retry), ("register", "steal", "enable", "work"), _FAULTS
    ),
    "unregistering leaves the bit as it is": Planted(
        _replaced(UserEventMm, "_write_now", _bit_stays), ("register", "enable", "unregister")
    ),
    "detaching changes no status": Planted(
        _replaced(UserEvent, "detach", _detach_in_silence), ("create", "enable", "disable")
    ),
    "a failed destroy leaves an event that nothing counts": Planted(
        _replaced(Lifecycle, "run_destroy", _forget_who_is_stuck), ("register", "close", "unregister", "work")
    ),
    "an event in use can be deleted by hand": Planted(_delete_the_busy, ("register", "delete")),
    "one bit can follow two events": Planted(
        _replaced(UserEventMm, "require_unused", _ask_nobody), ("register", "register")
    ),
}
"""By what is wrong."""
