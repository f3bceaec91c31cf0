"""The triggers of one event in one instance, in the order in which they are listed and run.

Source: user_events contract, tracefs.md section 11.
"""

from collections.abc import Iterator
from typing import ClassVar

from .trigger_context import TriggerContext
from .triggers_text import Condition


class Trigger:
    """One trigger: when it runs, and what it does then."""

    is_post: ClassVar[bool] = False
    """Whether it runs after the record was committed."""
    needs_record: ClassVar[bool] = False
    """Whether it looks at the record even without a filter."""
    is_last: ClassVar[bool] = False
    """Whether it is listed after those that are there already; most come first."""

    def __init__(self, condition: Condition | None) -> None:
        self.condition = condition
        self.paused = False

    @property
    def line(self) -> str:
        """Its line in the ``trigger`` file, the newline included."""
        raise NotImplementedError

    @property
    def condition_text(self) -> str:
        """How its filter is listed, with the blank before it; empty where there is none."""
        return f" if {self.condition.text}" if self.condition is not None else ""

    def wants(self, record: bytes, context: TriggerContext) -> bool:
        """Whether its filter lets `record` pass."""
        if self.condition is None:
            return True
        return self.condition.filter.matches(record, cpu=context.cpu, comm=context.comm)

    def fire(self, record: bytes | None, context: TriggerContext) -> None:
        """Do what it is there for; `record` is there where it is needed."""
        raise NotImplementedError

    def removed(self, context: TriggerContext) -> None:
        """It was taken off its event: let go of what it holds."""


class TriggerList:
    """Triggers in order: histograms last and in the order of their making, the others newest first."""

    def __init__(self) -> None:
        self._triggers: list[Trigger] = []

    def __len__(self) -> int:
        return len(self._triggers)

    def __iter__(self) -> Iterator[Trigger]:
        return iter(tuple(self._triggers))

    def add(self, trigger: Trigger) -> None:
        """Take in a trigger."""
        self._triggers.insert(len(self._triggers) if trigger.is_last else 0, trigger)

    def remove(self, trigger: Trigger, context: TriggerContext) -> None:
        """Take off a trigger."""
        self._triggers.remove(trigger)
        trigger.removed(context)
