"""The triggers that do something to the tracer: a class for each, and the table of their commands.

Each can have a count: how many more times it runs. At 0 it stays, and does nothing.

Source: user_events contract, tracefs.md section 11.
"""

import errno
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple

from ..engine import UserEvent
from ..errors import Refused
from .trigger_context import TriggerContext
from .triggers_list import Trigger, TriggerList
from .triggers_text import UNSIGNED_LONG, Condition, Order, cut, parse_condition, read_number, split_condition

UNLIMITED: Final = UNSIGNED_LONG - 1
"""The count of a trigger without one; written as a number it means the same."""


class CountedTrigger(Trigger):
    """A trigger with a command word and, perhaps, a count."""

    family: ClassVar[str]
    """Two triggers of one family exclude each other."""

    def __init__(self, word: str, count: int, condition: Condition | None) -> None:
        super().__init__(condition)
        self.word = word
        self.count = count

    @property
    def line(self) -> str:
        """``WORD:unlimited`` or ``WORD:count=N``; the kernel shows its unsigned count as signed."""
        signed = self.count - UNSIGNED_LONG if self.count >> 63 else self.count
        count = "unlimited" if self.count == UNLIMITED else f"count={signed}"
        return f"{self.word}:{count}{self.condition_text}\n"

    def excludes(self, other: Trigger) -> bool:
        """Whether both cannot be on one event; so also whether removing one means the other."""
        return isinstance(other, CountedTrigger) and other.family == self.family

    def fire(self, record: bytes | None, context: TriggerContext) -> None:
        """Act, and count it; nothing happens once the count is spent, or where nothing would change."""
        if not self.count or not self.changes(context):
            return
        if self.count != UNLIMITED:
            self.count -= 1
        self.act(context)

    def added(self, context: TriggerContext) -> None:
        """It was put on its event: get what it needs."""

    def changes(self, context: TriggerContext) -> bool:
        """Whether running it now makes a difference; if not, it is not counted."""
        return True

    @abstractmethod
    def act(self, context: TriggerContext) -> None:
        """Do it."""


class TraceOn(CountedTrigger):
    """Lets the instance record."""

    family = "tracing"

    def changes(self, context: TriggerContext) -> bool:
        """Only while tracing is off."""
        return not context.tracing_is_on

    def act(self, context: TriggerContext) -> None:
        """Switch tracing on."""
        context.traceon()


class TraceOff(CountedTrigger):
    """Stops the instance's recording, after the record that triggers it."""

    family = "tracing"
    is_post = True

    def changes(self, context: TriggerContext) -> bool:
        """Only while tracing is on."""
        return context.tracing_is_on

    def act(self, context: TriggerContext) -> None:
        """Switch tracing off."""
        context.traceoff()


class Snapshot(CountedTrigger):
    """Takes a snapshot of the ring."""

    family = "snapshot"

    def added(self, context: TriggerContext) -> None:
        """Have the buffer that is swapped."""
        context.make_snapshot()

    def act(self, context: TriggerContext) -> None:
        """Swap the buffers."""
        context.snapshot()


class Stacktrace(CountedTrigger):
    """Records where the writer stands, after the record that triggers it."""

    family = "stacktrace"
    is_post = True

    def act(self, context: TriggerContext) -> None:
        """Put the stack into the ring."""
        context.stacktrace()


class TargetTrigger(CountedTrigger):
    """A trigger that acts on another event (or its own), and keeps it attached in soft mode."""

    def __init__(self, word: str, target: tuple[str, str], count: int, condition: Condition | None) -> None:
        super().__init__(f"{word}:{target[0]}:{target[1]}", count, condition)
        self.target = target
        self.enables = word.startswith("enable")

    def excludes(self, other: Trigger) -> bool:
        """Only of the same family and for the same target."""
        return super().excludes(other) and isinstance(other, TargetTrigger) and other.target == self.target

    def removed(self, context: TriggerContext) -> None:
        """Let go of the target."""
        context.hold_soft(*self.target, False)


class EventSwitch(TargetTrigger):
    """Lets the target event record (enable_event), or not (disable_event)."""

    family = "event"

    def changes(self, context: TriggerContext) -> bool:
        """Only where the target is in the other state; one without a count sets the state anyway."""
        return self.count == UNLIMITED or context.soft_enabled(*self.target) != self.enables

    def act(self, context: TriggerContext) -> None:
        """Set the target's state."""
        context.set_soft(*self.target, self.enables)


class HistSwitch(TargetTrigger):
    """Continues the target event's histograms (enable_hist), or pauses them (disable_hist)."""

    family = "hist"

    def act(self, context: TriggerContext) -> None:
        """Set their state; that they are in it already does not matter."""
        context.toggle_hists(*self.target, self.enables)


class Site(NamedTuple):
    """Where a command is written: the event, its triggers, and the instance."""

    event: UserEvent
    triggers: TriggerList
    context: TriggerContext


Take = Callable[[Order, Site], None]
"""Carries out one command."""


def take_plain(kind: type[CountedTrigger]) -> Take:
    """Return what carries out ``CMD[:COUNT][ if FILTER]``."""

    def take(order: Order, site: Site) -> None:
        rest = order.rest or ""
        if rest[:1].isdecimal():
            count, clause = split_condition(rest)
        else:
            count, clause = "", rest or None
        if order.remove:
            _remove(kind(order.command, 0, None), site)
            return
        number = _count(cut(count, ":")[0]) if count else UNLIMITED
        _add(kind(order.command, number, parse_condition(clause, site.event.fields, site.context)), site)

    return take


def take_target(kind: type[TargetTrigger]) -> Take:
    """Return what carries out ``CMD:SYSTEM:EVENT[:COUNT][ if FILTER]``."""

    def take(order: Order, site: Site) -> None:
        args, clause = split_condition(order.rest or "")
        system, _, rest = args.partition(":")
        event, colon, count = rest.partition(":")
        if not event or not site.context.event_exists(system, event):
            raise Refused(errno.EINVAL, f"'{args}' after '{order.command}': there is no such event; write SYSTEM:EVENT")
        target = (system, event)
        if order.remove:
            _remove(kind(order.command, target, 0, None), site)
            return
        number = _count(cut(count, ":")[0]) if colon else UNLIMITED
        trigger = kind(order.command, target, number, parse_condition(clause, site.event.fields, site.context))
        site.context.hold_soft(*target, True)
        try:
            _add(trigger, site)
        except Refused:
            site.context.hold_soft(*target, False)
            raise

    return take


def _count(text: str) -> int:
    return read_number(text, "a trigger's count")


def _add(trigger: CountedTrigger, site: Site) -> None:
    there = next((other for other in site.triggers if trigger.excludes(other)), None)
    if there is not None:
        raise Refused(
            errno.EEXIST,
            f"'{trigger.word}' cannot be with '{there.line.strip()}' on one event: remove that first",
        )
    site.triggers.add(trigger)
    trigger.added(site.context)


def _remove(like: CountedTrigger, site: Site) -> None:
    there = next((other for other in site.triggers if like.excludes(other)), None)
    if there is not None:
        site.triggers.remove(there, site.context)


KINDS: Final[dict[str, Take]] = {
    "traceon": take_plain(TraceOn),
    "traceoff": take_plain(TraceOff),
    "snapshot": take_plain(Snapshot),
    "stacktrace": take_plain(Stacktrace),
    "enable_event": take_target(EventSwitch),
    "disable_event": take_target(EventSwitch),
    "enable_hist": take_target(HistSwitch),
    "disable_hist": take_target(HistSwitch),
}
"""Each command but ``hist``, in the order in which the ``trigger`` file names them."""
