"""Enablers: the words in processes whose bits follow an event, and the per-task object that owns them.

An enabler says "set this bit of this word while anybody listens to this event". It holds a reference
to the event, so it must go when its process does: the user-event-mm sees to that.

Source: user_events contract, lifecycle.md sections 1 and 6, write.md section 5.
"""

import errno
from collections.abc import Callable

from ..abi.user_events import MAX_FAULT_TRIES
from ..errors import Refused
from .event import UserEvent
from .lifecycle import Lifecycle
from .ports import Fault, Memory

WARN_QUEUE_FAULT = "user_events: Unable to queue fault handler"


class Enabler:
    """One (address, bit) of one address space, kept equal to "somebody listens to `event`"."""

    __slots__ = ("addr", "bit", "event", "faulting", "freeing", "mm", "size")

    def __init__(self, mm: "UserEventMm", event: UserEvent, addr: int, bit: int, size: int) -> None:
        self.mm = mm
        self.event = event
        self.addr = addr
        self.bit = bit
        self.size = size
        self.faulting = False
        """A retry is queued; status changes skip the enabler, since the retry writes the then current status."""
        self.freeing = False
        """Unregistered while a retry was queued; destroyed when that ends."""

    def describe(self) -> str:
        """Who and where, for `Holder.detail`."""
        return f"{self.mm.label} bit {self.bit} of 0x{self.addr:x}".lstrip()

    def update(self) -> None:
        """Write the event's current state into the word, or queue a retry where it cannot be reached now."""
        self.mm.update(self)


class FaultWork:
    """The queued retry of one enabler whose word could not be written; keeps the user-event-mm."""

    kind = "fault"

    def __init__(self, enabler: Enabler, attempt: int) -> None:
        self.enabler = enabler
        self.attempt = attempt

    def run(self) -> None:
        """Bring the word in and write the status of this moment."""
        self.enabler.mm.finish_fault(self)


class UserEventMm:
    """A task's enablers (the kernel's user-event-mm): shared by the threads it starts, copied by fork.

    `tasks` counts the tasks using it, `refcnt` keeps the object while a retry is in flight.
    """

    def __init__(self, lifecycle: Lifecycle, memory: Memory, label: str) -> None:
        self._lifecycle = lifecycle
        self._number = next(lifecycle.mm_numbers)
        self._memory = memory
        self._fault_in: Callable[[int], None] | None = getattr(memory, "fault_in", None)
        """Of a `Pageable` memory; asked for by name, since isinstance() of a protocol costs more than all the rest."""
        self.label = label
        """Whose memory this is, in words."""
        self.tasks = 1
        self.refcnt = 1
        self.enablers: dict[tuple[int, int], Enabler] = {}
        """By (address, bit); the size is not part of it."""

    @property
    def memory(self) -> Memory:
        """The address space in which the bits are."""
        return self._memory

    def share(self) -> None:
        """A task that has this object started a thread: one more task uses it."""
        self.tasks += 1

    def exit(self) -> None:
        """A task left, by exit or by exec; the last one takes every enabler along. Memory is not written.

        Source: user_events contract, lifecycle.md section 6.
        """
        if not self.tasks:
            return
        self.tasks -= 1
        if not self.tasks:
            self._put()

    def fork(self, memory: Memory, label: str = "") -> "UserEventMm":
        """The child's copy: every enabler not being freed, each holding its event once more.

        Nothing is written: the child's memory is a copy of this one.
        """
        child = UserEventMm(self._lifecycle, memory, label)
        for enabler in self.enablers.values():
            if not enabler.freeing:
                child._track(Enabler(child, enabler.event, enabler.addr, enabler.bit, enabler.size))
        return child

    def require_unused(self, addr: int, bit: int) -> None:
        """Refuse with EADDRINUSE when (addr, bit) is taken, by an enabler on its way out, too.

        Source: user_events contract, abi.md section 5.1 step 10.
        """
        enabler = self.enablers.get((addr, bit))
        if enabler is not None:
            enabler.event.note("refused", f"{self.label}: bit {bit} of 0x{addr:x} follows it already")
            raise Refused(
                errno.EADDRINUSE,
                f"bit {bit} of address 0x{addr:x} already follows event '{enabler.event.tracepoint_name}' in this"
                " process; unregister it first, or use another bit",
            )

    def enable(
        self, event: UserEvent, addr: int, bit: int, size: int, write: Callable[[bool], None] | None = None
    ) -> Enabler:
        """Let a bit follow `event` from now on, and write its state of now, with `write` if that is given.

        Any failure to write is ENOMEM, as in the kernel, and then there is no enabler.

        Source: user_events contract, abi.md section 5.1 step 20.
        """
        enabler = Enabler(self, event, addr, bit, size)
        if not self._write_now(enabler, event.status != 0, write):
            raise Refused(
                errno.ENOMEM, f"the {size}-byte word at 0x{addr:x} cannot be written; give a mapped, writable address"
            )
        self._track(enabler)
        return enabler

    def disable(self, addr: int, bit: int) -> None:
        """End what `enable` began and clear the bit, whatever the event's state.

        ENOENT where nothing is registered there; EFAULT when the bit cannot be cleared any more (the enabler
        is gone all the same).

        Source: user_events contract, abi.md section 5.2 steps 7 to 9.
        """
        enabler = self.enablers.get((addr, bit))
        if enabler is None:
            raise Refused(errno.ENOENT, f"bit {bit} of address 0x{addr:x} is not registered in this process")
        enabler.freeing = True
        if not enabler.faulting:
            self._destroy(enabler)
        if not self._write_now(enabler, False):
            raise Refused(errno.EFAULT, f"bit {bit} of address 0x{addr:x} could not be cleared: the memory is gone")

    def update(self, enabler: Enabler, attempt: int = 0) -> None:
        """Write the event's state; on a fault queue a retry, which `finish_fault` ends.

        Source: user_events contract, write.md section 5.
        """
        if not self.tasks or enabler.faulting or enabler.freeing:
            return
        try:
            self._memory.write_bit(enabler.addr, enabler.bit, enabler.size, enabler.event.status != 0)
        except Fault:
            self._queue_fault(enabler, attempt + 1)

    def finish_fault(self, work: FaultWork) -> None:
        """The retry's turn: at most MAX_FAULT_TRIES, then left until the next status change."""
        enabler = work.enabler
        reached = self._bring_in(enabler.addr, work.attempt)
        if not reached and self.tasks:
            where = f"0x{self._number:x} @ 0x{enabler.addr:x}"
            self._lifecycle.log("warn", f"user_events: Fault for mm: {where} event: {enabler.event.name}")
        if enabler.freeing:
            self._destroy(enabler)
        else:
            enabler.faulting = False
            if reached:
                self.update(enabler, work.attempt)
        self._put()

    def _write_now(self, enabler: Enabler, on: bool, write: Callable[[bool], None] | None = None) -> bool:
        """Write the bit, bringing the word in as often as allowed; whether it was written."""
        attempt = 0
        while self.tasks:
            attempt += 1
            try:
                if write is not None:
                    write(on)
                else:
                    self._memory.write_bit(enabler.addr, enabler.bit, enabler.size, on)
            except Fault:
                if not self._bring_in(enabler.addr, attempt):
                    break
            else:
                return True
        return False

    def _bring_in(self, addr: int, attempt: int) -> bool:
        """Make a word writable; False when it was tried too often, cannot be, or nobody is left to ask."""
        if attempt > MAX_FAULT_TRIES or not self.tasks:
            return False
        if self._fault_in is not None:
            try:
                self._fault_in(addr)
            except Fault:
                return False
        return True

    def _queue_fault(self, enabler: Enabler, attempt: int) -> None:
        enabler.faulting = True
        self.refcnt += 1
        if not self._lifecycle.queue.push(FaultWork(enabler, attempt)):
            enabler.faulting = False
            self.refcnt -= 1
            self._lifecycle.log("warn", WARN_QUEUE_FAULT)

    def _put(self) -> None:
        self.refcnt -= 1
        if not self.refcnt:
            for enabler in tuple(self.enablers.values()):
                self._destroy(enabler)

    def _track(self, enabler: Enabler) -> None:
        self.enablers[enabler.addr, enabler.bit] = enabler
        enabler.event.enablers[enabler] = None
        self._lifecycle.get(enabler.event)

    def _destroy(self, enabler: Enabler) -> None:
        """Forget an enabler; its reference goes last, and may be the event's last."""
        del self.enablers[enabler.addr, enabler.bit]
        del enabler.event.enablers[enabler]
        enabler.event.note("unregistered", self.label)
        self._lifecycle.put(enabler.event)
