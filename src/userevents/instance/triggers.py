"""The triggers of one event in one instance: commands in, effects at every hit, the ``trigger`` and ``hist`` files.

Source: user_events contract, tracefs.md section 11.
"""

import errno
from typing import Final

from ..engine import UserEvent
from ..errors import Refused
from .hist_command import take_hist
from .hist_trigger import HistTrigger
from .trigger_context import TriggerContext
from .triggers_kinds import KINDS, Site, Take
from .triggers_list import Trigger, TriggerList
from .triggers_text import parse_order

COMMANDS: Final[dict[str, Take]] = {**KINDS, "hist": take_hist}
_NONE_TEXT: Final = f"# Available triggers:\n# {' '.join(COMMANDS)}\n"


class TriggerSet:
    """All triggers of an event. Its owner keeps the event attached in soft mode while `count` is not 0.

    At a hit the owner calls ``fire_before(None, context)`` before a record is built, unless `needs_record`;
    then ``fire_before(record, context)`` with the finished record, and ``fire_after(record, context)`` once
    that was committed or discarded. With tracing off, too.
    """

    def __init__(self, event: UserEvent) -> None:
        self._event = event
        self._triggers = TriggerList()
        self._pending: list[Trigger] = []
        self._needs_record = False

    @property
    def count(self) -> int:
        """How many triggers there are, spent and paused ones included."""
        return len(self._triggers)

    @property
    def needs_record(self) -> bool:
        """Whether some trigger has a filter, is a histogram, or runs after the record was committed."""
        return self._needs_record

    def write(self, text: str, context: TriggerContext) -> None:
        """Carry out one command.

        Raises `Refused` with the kernel's errno; histogram and filter errors are in the error log, too.
        """
        order = parse_order(text)
        take = COMMANDS.get(order.command)
        if take is None:
            raise Refused(errno.EINVAL, f"'{order.command}' is no trigger; there are {', '.join(COMMANDS)}")
        try:
            take(order, Site(self._event, self._triggers, context))
        finally:
            self._look()

    def text(self) -> str:
        """What the ``trigger`` file shows."""
        return "".join(trigger.line for trigger in self._triggers) or _NONE_TEXT

    def hist_text(self) -> str:
        """What the ``hist`` file shows."""
        return "\n\n".join(trigger.text() for trigger in self._hists())

    @property
    def hits(self) -> int:
        """How many records all histograms have counted."""
        return sum(trigger.table.hits for trigger in self._hists())

    def clear(self, context: TriggerContext) -> None:
        """Remove every trigger."""
        for trigger in self._triggers:
            self._triggers.remove(trigger, context)
        self._look()

    def truncate(self, context: TriggerContext) -> None:
        """Do what opening the file with O_TRUNC does: remove every histogram, and no other trigger."""
        for trigger in self._hists():
            self._triggers.remove(trigger, context)
        self._look()

    def pause_hists(self, paused: bool) -> None:
        """Pause or continue every histogram: a disable_hist or enable_hist fired somewhere."""
        for trigger in self._hists():
            trigger.paused = paused

    def fire_before(self, record: bytes | None, context: TriggerContext) -> None:
        """Run what runs before the record is committed, or without one; find out what runs after it."""
        self._pending = []
        for trigger in self._triggers:
            if trigger.paused:
                continue
            if record is None:
                trigger.fire(None, context)
            elif trigger.wants(record, context):
                if trigger.is_post:
                    self._pending.append(trigger)
                else:
                    trigger.fire(record, context)

    def fire_after(self, record: bytes, context: TriggerContext) -> None:
        """Run what runs after the record that `fire_before` saw."""
        pending, self._pending = self._pending, []
        for trigger in pending:
            trigger.fire(record, context)

    def _hists(self) -> list[HistTrigger]:
        return [trigger for trigger in self._triggers if isinstance(trigger, HistTrigger)]

    def _look(self) -> None:
        self._needs_record = any(
            trigger.condition is not None or trigger.is_post or trigger.needs_record for trigger in self._triggers
        )
