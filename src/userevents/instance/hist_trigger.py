"""The hist trigger: counts every record that passes its filter into its table, or into that of its name.

Source: user_events contract, tracefs.md section 11.
"""

from .hist_print import hist_text
from .hist_spec import HistSpec
from .hist_table import HistTable
from .trigger_context import TriggerContext
from .triggers_list import Trigger
from .triggers_text import Condition


class HistTrigger(Trigger):
    """A histogram of one event, or an event's part in a named one."""

    needs_record = True
    is_last = True

    def __init__(
        self, spec: HistSpec, name: str, condition: Condition | None, *, shared: "HistTrigger | None" = None
    ) -> None:
        super().__init__(condition)
        self.spec = spec
        """As its own command said; a named histogram counts by what the first command of that name said."""
        self.name = name
        self.shared = shared
        """The trigger that brought the name in, where that is another one."""
        self.table: HistTable = shared.table if shared is not None else HistTable(spec)

    @property
    def line(self) -> str:
        """How the ``trigger`` file lists it."""
        name = f"name={self.name}:" if self.name else ""
        state = "paused" if self.paused else "active"
        return f"hist:{name}{self.table.spec.text}{self.condition_text} [{state}]\n"

    def text(self) -> str:
        """Its part of the ``hist`` file."""
        return hist_text(self.line, self.table)

    def meant_by(self, other: "HistTrigger", named: "HistTrigger | None") -> bool:
        """Whether the command that made `other` means this trigger; `named` is the first one of the command's name.

        A name that nobody uses is as good as none.
        """
        if named is not None and named is not self and named is not self.shared:
            return False
        if named is None and self.name:
            return False
        return self.table.spec.same_as(other.spec) and self.condition_text == other.condition_text

    def fire(self, record: bytes | None, context: TriggerContext) -> None:
        """Count the record."""
        if record is not None:
            self.table.count(record, context)

    def removed(self, context: TriggerContext) -> None:
        """Let go of the name."""
        context.hist_names.leave(self)
