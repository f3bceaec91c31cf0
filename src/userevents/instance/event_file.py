"""One event in one instance: attached or not, soft mode, its filter and its triggers, and what a written event meets.

States, as the ``enable`` file shows them (attached: the instance is a probe of the event, which sets its bits):

    attached  soft_mode  soft_disabled  shows
    no        no         no             0
    yes       no         no             1
    yes       yes        yes            0*    only triggers (or an enable_event trigger elsewhere) want it
    yes       yes        no             1*

Source: user_events contract, tracefs.md sections 1, 10 and 11.
"""

from collections.abc import Callable
from typing import Protocol

from ..abi.ring_buffer import MAX_BODY_SIZE
from ..engine import UserEvent, Writer
from ..errors import Refused
from ..fields import validate
from ..fields.filter import Filter, FilterError, filter_error_text, filter_file_text, parse_filter, subsystem_error
from .body import record_body
from .recorder import Rings
from .trigger_context import FILTER_LOCATION, TriggerContext
from .triggers import TriggerSet


class Owner(Protocol):
    """What an event file needs of its instance."""

    def attach(self, file: "EventFile") -> None:
        """Become a probe of the event."""

    def detach(self, file: "EventFile") -> None:
        """Cease to be one."""

    def recording_changed(self, file: "EventFile") -> None:
        """`file.recording` or `file.has_triggers` may have changed."""

    def selects(self, tid: int) -> bool:
        """Whether a thread is recorded."""

    @property
    def rings(self) -> Rings | None:
        """The rings that take records now; None while nothing is recorded."""

    def now(self) -> int:
        """The time of a record that is made now."""

    def commit(self, rings: Rings, ts_ns: int, body: bytes, writer: Writer) -> None:
        """Put a record into the rings."""

    def context(self, writer: Writer | None = None, now_ns: int | None = None) -> TriggerContext:
        """What triggers may look at and do."""

    @property
    def cpus(self) -> int:
        """How many CPUs there are."""

    @property
    def holder_name(self) -> str:
        """What the event's history calls it."""


class EventFile:
    """The state behind ``events/SYSTEM/EVENT/`` in one instance."""

    __slots__ = (
        "_filter",
        "_filter_text",
        "_owner",
        "_soft_users",
        "_triggers",
        "attached",
        "event",
        "soft_disabled",
        "soft_mode",
        "was_attached",
    )

    def __init__(self, owner: Owner, event: UserEvent) -> None:
        self._owner = owner
        self.event = event
        self.attached = False
        self.was_attached = False
        self.soft_mode = False
        self.soft_disabled = False
        self._soft_users = 0
        self._filter: Filter | None = None
        self._filter_text: str | None = None
        self._triggers: TriggerSet | None = None

    @property
    def triggers(self) -> TriggerSet:
        """The event's triggers here."""
        if self._triggers is None:
            self._triggers = TriggerSet(self.event)
        return self._triggers

    @property
    def recording(self) -> bool:
        """Whether written events are kept."""
        return self.attached and not self.soft_disabled

    @property
    def has_filter(self) -> bool:
        """Whether a filter decides what is kept."""
        return self._filter is not None

    @property
    def has_triggers(self) -> bool:
        """Whether triggers run when the event is written."""
        return self._triggers is not None and self._triggers.count > 0

    @property
    def enable_text(self) -> str:
        """What ``enable`` shows."""
        return f"{int(self.recording)}{'*' if self.soft_mode or self.soft_disabled else ''}\n"

    def enable(self) -> None:
        """Record from now on (a hard enable)."""
        if self.attached and self.soft_disabled:
            self._note("enabled")
        self.soft_disabled = False
        self._attach()

    def disable(self) -> None:
        """Record no more (a hard disable); in soft mode the event stays attached, and its bits set."""
        if self.soft_mode:
            if not self.soft_disabled:
                self._note("disabled", "(its triggers keep it attached)")
            self.soft_disabled = True
            self._owner.recording_changed(self)
        else:
            self.soft_disabled = False
            self._detach()

    def hold_soft(self) -> None:
        """One more trigger wants the event attached."""
        self._soft_users += 1
        if self._soft_users > 1:
            return
        self.soft_mode = True
        if not self.attached:
            self.soft_disabled = True
            self._attach()
        self._owner.recording_changed(self)

    def release_soft(self) -> None:
        """One trigger less wants the event attached."""
        self._soft_users -= 1
        if self._soft_users:
            return
        self.soft_mode = False
        was_disabled, self.soft_disabled = self.soft_disabled, False
        if was_disabled:
            self._detach()
        self._owner.recording_changed(self)

    def set_soft_enabled(self, on: bool) -> None:
        """Record or not, as an enable_event or disable_event trigger says."""
        self.soft_disabled = not on
        self._owner.recording_changed(self)

    @property
    def filter_text(self) -> str:
        """What ``filter`` shows."""
        return filter_file_text(self._filter_text)

    def set_filter(self, text: str, *, of_system: bool = False) -> None:
        """Keep only what passes `text`. A filter that is refused leaves none, and says why.

        One that is meant for a whole system (`of_system`) only says that it does not suit.

        Source: user_events contract, tracefs.md section 10.
        """
        try:
            self._filter = parse_filter(text, self.event.fields, cpus=self._owner.cpus)
        except FilterError as refused:
            error = subsystem_error(text) if of_system else refused
            self._filter, self._filter_text = None, filter_error_text(text, error)
            self._note("filter refused", f"'{text}': {error.message}")
            self._owner.context().log_error(FILTER_LOCATION, error.message, text, error.position)
            raise error from None
        self._filter_text = text
        self._note("filter set", f"'{text}'")

    def clear_filter(self) -> None:
        """Keep everything."""
        if self._filter_text is not None:
            self._note("filter cleared")
        self._filter = self._filter_text = None

    def write_trigger(self, text: str) -> None:
        """Take one trigger command."""
        try:
            self._follow_triggers(lambda: self.triggers.write(text, self._owner.context()))
        except Refused as refused:
            self._note("trigger refused", f"'{text}': {refused.reason}")
            raise
        self._note("trigger removed" if text.startswith("!") else "trigger set", f"'{text.removeprefix('!')}'")

    def clear_triggers(self) -> None:
        """Remove every trigger."""
        if self._triggers is not None:
            self._follow_triggers(lambda: self.triggers.clear(self._owner.context()))

    def truncate_triggers(self) -> None:
        """Remove the triggers that opening the file with O_TRUNC removes."""
        self._follow_triggers(lambda: self.triggers.truncate(self._owner.context()))

    def hit(self, payload: bytes, writer: Writer) -> bool:
        """The event was written: run triggers, and keep the record or not. False if the payload is not valid.

        A record has its place in the rings before triggers run, so a snapshot that one of them takes holds it;
        with a filter (or soft-disabled) it is built elsewhere, and gets its place when it is kept.

        Source: user_events contract, tracefs.md section 11 (order at a hit), write.md section 4.
        """
        triggers = self._triggers if self._triggers is not None and self._triggers.count else None
        needs_record = triggers is not None and triggers.needs_record
        if not needs_record:
            if triggers is not None:
                triggers.fire_before(None, self._owner.context(writer))
            if self.soft_disabled or not self._owner.selects(writer.tid):
                return True
        now_ns = self._owner.now()
        body = record_body(self.event.id, writer.tid, payload)
        reserved = self._owner.rings
        if (reserved is None and not needs_record and self._filter is None) or len(body) > MAX_BODY_SIZE:
            return True
        is_buffered = self._filter is not None or self.soft_disabled
        if not validate(self.event.fields, body):
            if reserved is not None and not is_buffered:
                reserved[writer.cpu].discard()
            return False
        if triggers is not None and needs_record:
            context = self._owner.context(writer, now_ns)
            triggers.fire_before(body, context)
        if is_buffered:
            reserved = self._owner.rings
        if reserved is not None and self._keeps(body, writer):
            self._owner.commit(reserved, now_ns, body, writer)
        if triggers is not None and needs_record:
            triggers.fire_after(body, context)
        return True

    def _note(self, what: str, detail: str = "") -> None:
        """Tell the event's history what was done to it here."""
        self.event.note(what, f"{self._owner.holder_name} {detail}".rstrip())

    def _keeps(self, body: bytes, writer: Writer) -> bool:
        if self.soft_disabled or not self._owner.selects(writer.tid):
            return False
        return self._filter is None or self._filter.matches(body, cpu=writer.cpu, comm=writer.comm)

    def _follow_triggers(self, change: Callable[[], None]) -> None:
        """Change the triggers, and stay attached in soft mode while there are any."""
        before = self.triggers.count
        try:
            change()
        finally:
            if self.triggers.count > 0 and not before:
                self.hold_soft()
            elif before and not self.triggers.count:
                self.release_soft()
            self._owner.recording_changed(self)  # a trigger on its own event has held it before it was counted

    def _attach(self) -> None:
        if not self.attached:
            self._owner.attach(self)
            self.attached = self.was_attached = True
        self._owner.recording_changed(self)

    def _detach(self) -> None:
        if self.attached:
            self.attached = False
            self._owner.recording_changed(self)
            self._owner.detach(self)
