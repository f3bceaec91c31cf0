"""The group: the one namespace of user events, and every call that the contract offers on it.

Checks come in the kernel's order, since callers can tell which of two mistakes was seen first.

Source: user_events contract, abi.md sections 5 and 6.
"""

import errno
from functools import partial

from ..abi.user_events import (
    MAX_NAME_ARGS_SIZE,
    MAX_USER_EVENTS,
    USER_EVENT_REG_MULTI_FORMAT,
    USER_EVENT_REG_PERSIST,
    USER_EVENTS_MULTI_SYSTEM,
    USER_EVENTS_SYSTEM,
)
from ..errors import Refused
from ..fields import Field, clash, parse_command, parse_fields
from .dynamic import Deletion, creation_text, in_system, parse_deletion
from .enabler import UserEventMm
from .event import UserEvent
from .history import Clock, History
from .ids import IdPool
from .lifecycle import Lifecycle, Log
from .matching import same_fields, spaced
from .open_file import OpenFile
from .ports import Caller, Memory, Observer, Registration, Task, Writer
from .profile import V6_12, Profile
from .table import EventTable
from .work import Work, WorkQueue
from .write import write_event

KNOWN_MAX = 1024
"""Declarations that are remembered with the event that each was found to be of."""
HOLDERS_SHOWN = 8
"""How many holders a refusal names."""
_UNKNOWN: tuple[UserEvent | None, tuple[Field, ...]] = None, ()
NOBODY = Caller(65534, 65534, False)
USER_ADDR_END = (1 << 56) - 4096
"""Addresses from here on are no program's; whether a lower one is mapped is found out by writing."""


class Group:
    """Every user event there is, and the operations of ``user_events_data`` on them.

    Single-threaded: whoever owns the group calls it from one thread, and calls `run_work` when it
    has returned to its loop. Nothing here blocks, and no destroy happens inside another call.
    """

    def __init__(
        self,
        profile: Profile = V6_12,
        *,
        ids: IdPool | None = None,
        log: Log | None = None,
        queue: WorkQueue | None = None,
        recover: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.profile = profile
        self.ids = ids if ids is not None else IdPool()
        self.events = EventTable()
        """The listed events, in order of creation."""
        self.queue = queue if queue is not None else WorkQueue()
        self.user_events_max = MAX_USER_EVENTS
        """kernel.user_events_max: how many events may be listed when another is created."""
        log = log if log is not None else _silent
        self.lifecycle = Lifecycle(profile, self.events, self.ids, self.queue, log, recover=recover, clock=clock)
        self._known: dict[tuple[str, int], tuple[UserEvent, tuple[Field, ...]]] = {}
        """By text and flags what a declaration was last found to be of; good while it is listed with these fields."""
        self.next_multi_id = 0
        """The suffix of the next multi-format event; never given twice (fields.md section 9)."""

    @property
    def observers(self) -> list[Observer]:
        """Who is told when events come and go."""
        return self.lifecycle.observers

    @property
    def history(self) -> History:
        """What happened to the events lately."""
        return self.lifecycle.history

    @property
    def pending(self) -> tuple[Work, ...]:
        """The deferred steps that wait."""
        return self.queue.items

    @property
    def has_work(self) -> bool:
        """Whether deferred steps wait."""
        return bool(self.queue)

    def run_work(self) -> int:
        """Run every deferred step, and those that they defer in turn; returns how many ran."""
        return self.queue.run_all()

    def open_file(self, label: str = "") -> OpenFile:
        """Open ``user_events_data``; `label` says whose file it is."""
        return OpenFile(self.lifecycle, label)

    def new_mm(self, memory: Memory, label: str = "") -> UserEventMm:
        """A task's first registration: the owner of its enablers, writing through `memory`."""
        return UserEventMm(self.lifecycle, memory, label)

    def register(
        self,
        file: OpenFile,
        mm: UserEventMm,
        text: str,
        *,
        addr: int,
        bit: int,
        size: int = 4,
        flags: int = 0,
        caller: Caller,
        want_id: int | None = None,
    ) -> int:
        """Declare the event `text` and let bit `bit` of the word at `addr` follow it; returns the write index.

        `want_id` is ours: the id to use if the event has to be created and no event has that id.

        After a failure to write the word (ENOMEM) the event exists and `file` holds it, as in the kernel.

        Source: user_events contract, abi.md section 5.1 steps 5 to 20.
        """
        if file.closed:
            raise Refused(errno.EBADF, "this file is closed")
        try:
            self._check_registration(addr, bit, size, flags)
            mm.require_unused(addr, bit)
            event, index = self._declare(file, text, flags, caller, want_id)
            mm.enable(event, addr, bit, size)
        except Refused as refused:
            self.tell_refused(text, file.label, refused)
            raise
        return index

    def register_task(
        self, file: OpenFile, task: Task, call: Registration, *, addr: int, bit: int, size: int, flags: int
    ) -> None:
        """Register for a thread, which gets its user-event-mm as soon as its first registration looks for duplicates.

        It keeps it when a later check fails. `call` is asked for the declaration once the checks that come
        before it have passed, and stores the bit and the write index.

        Source: user_events contract, abi.md section 5.1 steps 5 to 20.
        """
        text = None
        try:
            self._check_registration(addr, bit, size, flags)
            if task.mm is None:
                task.mm = self.new_mm(task.memory, file.label)
            if (addr, bit) in task.mm.enablers:
                task.mm.require_unused(addr, bit)
            text = call.text()
            # who that is matters to persistent events alone, and takes longer to find out than all the rest
            caller = task.caller if flags & USER_EVENT_REG_PERSIST else NOBODY
            event, index = self._declare(file, text, flags, caller, None)
            task.mm.enable(event, addr, bit, size, partial(call.store, index))
        except Refused as refused:
            self.tell_refused(_declaration(call) if text is None else text, file.label, refused)
            raise

    def tell_refused(self, text: str, who: str, refused: Refused) -> None:
        """Tell the observers that a registration came to nothing; its text is "" where that cannot be read."""
        for observer in tuple(self.observers):
            observer.event_refused(text, who, refused)

    def write(self, file: OpenFile, data: bytes, size: int, writer: Writer) -> int:
        """Write one event: the index, then the payload; `data` is what could be read of `size` bytes.

        Source: user_events contract, write.md section 2.
        """
        return write_event(self.profile, file, data, size, writer)

    def unregister(self, mm: UserEventMm, addr: int, bit: int) -> None:
        """Let the bit go and clear it; the file's write index keeps working.

        Source: user_events contract, abi.md section 5.2.
        """
        mm.disable(addr, bit)

    def delete(self, name: str, caller: Caller) -> None:
        """Delete every event registered as `name`, as DIAG_IOCSDEL does: only persistent ones nobody uses can go.

        Source: user_events contract, abi.md section 5.3.
        """
        events = self.events.named(name)
        if not events:
            raise Refused(errno.ENOENT, f"no event is registered as '{name}'")
        for event in reversed(events):  # newest first, as the kernel's hash chain goes
            self._delete_by_hand(event, caller)

    def dynamic_create(self, text: str, caller: Caller) -> None:
        """Run one ``u:NAME [FIELDS]`` line: the event persists, with itself as its only holder.

        Source: user_events contract, abi.md section 6.
        """
        who = f"user {caller.uid} (dynamic_events)"
        self._find_or_create(creation_text(text), USER_EVENT_REG_PERSIST, caller, None, who).put()

    def dynamic_delete(self, wanted: Deletion | str, caller: Caller) -> None:
        """Run one ``-:[SYSTEM/]NAME [FIELDS]`` line; every event that fits goes, the first failure stops.

        Source: user_events contract, abi.md section 6.
        """
        wanted = parse_deletion(wanted) if isinstance(wanted, str) else wanted
        found = [
            event
            for event in self.events.named(wanted.name)
            if in_system(wanted.system) and spaced(wanted.args) and self._same(event, wanted.args)
        ]
        if not found:
            raise Refused(
                errno.ENOENT, f"'{wanted.name}' fits no event; a deletion names all the fields of what it deletes"
            )
        for event in found:
            self._delete_by_hand(event, caller)

    def dynamic_truncate(self, caller: Caller) -> None:
        """Delete every event, or none if any is busy; an auto-delete event always is.

        Source: user_events contract, abi.md section 6.
        """
        for event in self.events:
            _require_idle(event)
        for event in self.events:
            self._delete_by_hand(event, caller)

    def _declare(
        self, file: OpenFile, text: str, flags: int, caller: Caller, want_id: int | None
    ) -> tuple[UserEvent, int]:
        """Find or create the event of a declaration, and put it into the file's table.

        Source: user_events contract, abi.md section 5.1 steps 11 to 19.
        """
        if len(text) >= MAX_NAME_ARGS_SIZE:
            raise Refused(
                errno.EINVAL, f"a declaration of {len(text)} characters; at most {MAX_NAME_ARGS_SIZE - 1} fit"
            )
        event, fields = self._known.get((text, flags), _UNKNOWN)
        if event is not None and event.listed and event.fields is fields:
            event.note("registered again", file.label)
            return event, file.add(event)
        event = self._find_or_create(text, flags, caller, want_id, file.label)
        try:
            return event, file.add(event)
        finally:
            event.put()

    def _check_registration(self, addr: int, bit: int, size: int, flags: int) -> None:
        if flags & ~self.profile.flags_mask:
            raise Refused(errno.EINVAL, f"flags 0x{flags:x}: {self.profile.name} knows 0x{self.profile.flags_mask:x}")
        if size not in (4, 8):
            raise Refused(errno.EINVAL, f"an enable word of {size} bytes; it has 4 or 8")
        if addr % size:
            raise Refused(errno.EINVAL, f"address 0x{addr:x} is not a multiple of the word's {size} bytes")
        if not 0 <= bit < size * 8:
            raise Refused(errno.EINVAL, f"bit {bit} is not in a word of {size} bytes")
        if addr + size > USER_ADDR_END:
            raise Refused(errno.EFAULT, f"address 0x{addr:x} is not user memory")

    def _find_or_create(self, text: str, flags: int, caller: Caller, want_id: int | None, who: str) -> UserEvent:
        """The event that `text` declares, one reference taken for the caller; `who` asks.

        Source: user_events contract, abi.md section 5.1 steps 12 to 18.
        """
        name, text_flags, args = parse_command(text)
        if text_flags is not None:
            raise Refused(errno.EINVAL, f"'{name}:{text_flags}': flags in the text are not supported")
        if flags and self.profile.parser_refuses_flags:
            raise Refused(errno.EINVAL, f"flags 0x{flags:x}: {self.profile.name} refuses every flag")
        if flags & USER_EVENT_REG_PERSIST and not caller.perfmon:
            raise Refused(errno.EPERM, f"a persistent '{name}' needs CAP_PERFMON; register it without persist")
        event = self._find(name, args, flags, who)
        if event is None:
            return self._create(name, args, flags, want_id, who)
        event.get()
        event.note("registered again", who)
        if not flags & USER_EVENT_REG_PERSIST:  # which asks who it is, each time
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[text, flags] = event, event.fields
        return event

    def _find(self, name: str, args: str, flags: int, who: str) -> UserEvent | None:
        multi = bool(flags & USER_EVENT_REG_MULTI_FORMAT)
        for event in self.events.named(name):
            if event.multi != multi:
                continue
            if self._same(event, args):
                return event
            if not multi:
                reason = clash(name, event.fields, args)
                event.note("refused", f"{who}: {reason}")
                raise Refused(errno.EADDRINUSE, reason)
        return None

    def _create(self, name: str, args: str, flags: int, want_id: int | None, who: str) -> UserEvent:
        multi = bool(flags & USER_EVENT_REG_MULTI_FORMAT)
        tracepoint_name = name
        if multi:
            tracepoint_name = f"{name}.{self.next_multi_id:x}"
            self.next_multi_id += 1
        fields = parse_fields(args)
        if len(self.events) >= self.user_events_max:
            raise Refused(
                errno.EMFILE, f"'{name}' would be one more than {self.user_events_max} events (user_events_max)"
            )
        event = UserEvent(
            self.lifecycle,
            name=name,
            tracepoint_name=tracepoint_name,
            system=USER_EVENTS_MULTI_SYSTEM if multi else USER_EVENTS_SYSTEM,
            event_id=self.ids.allocate(want_id),
            fields=fields,
            persist=bool(flags & USER_EVENT_REG_PERSIST),
            multi=multi,
        )
        event.listed = True
        self.events.add(event)
        event.note("registered", who)
        for observer in tuple(self.observers):
            observer.event_added(event)
        return event

    def _same(self, event: UserEvent, args: str) -> bool:
        spelled = event.spelled
        if spelled is not None and spelled[0] is event.fields and spelled[1] == args:
            return True  # nearly every registration is one of many alike: hashing all fields takes longer
        same = same_fields(self.profile, event.fields, args)
        if same:
            event.spelled = event.fields, args
        return same

    def _delete_by_hand(self, event: UserEvent, caller: Caller) -> None:
        """Destroy an event that nobody uses; EBUSY comes before EPERM.

        Source: user_events contract, lifecycle.md section 4.
        """
        _require_idle(event)
        if event.persist and not caller.perfmon:
            raise Refused(errno.EPERM, f"deleting the persistent event '{event.name}' needs CAP_PERFMON")
        event.note("deleted by hand", f"user {caller.uid}")
        self.lifecycle.destroy(event)


def _require_idle(event: UserEvent) -> None:
    if event.refcnt == event.last_reference:
        return
    others = [f"{holder.kind} {holder.detail}".rstrip() for holder in event.holders() if holder.kind != "self"]
    held = ", ".join(others[:HOLDERS_SHOWN]) or "nobody that is known"
    held += f" and {len(others) - HOLDERS_SHOWN} more" if len(others) > HOLDERS_SHOWN else ""
    way_out = "let its holders go first" if event.persist else "an auto-delete event goes by itself"
    raise Refused(errno.EBUSY, f"event '{event.name}' is held by: {held}; {way_out}")


def _declaration(call: Registration) -> str:
    """What a call that was refused before its turn would have declared; "" where that cannot be read."""
    try:
        return call.text()
    except Refused:
        return ""


def _silent(level: str, message: str) -> None:
    """The log of a group whose owner wants none."""
