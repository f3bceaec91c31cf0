"""An instance that keeps no record: it enables every event there is, and hands on each record as it comes."""

from collections.abc import Callable

from ..engine import Group, UserEvent, Writer
from ..errors import Refused
from .event_file import EventFile
from .instance import Instance
from .machine import Machine
from .recorder import Rings

Keep = Callable[[UserEvent, int, bytes, Writer], None]
"""Takes an event, the time of a record (ns), the record with its common header, and who wrote it."""
Refusal = Callable[[str, str, Refused], None]
"""Takes a declaration that was refused ("" where it could not be read), who made it, and why."""


class Watch(Instance):
    """Hands each record to `keep`, and each event that comes to be to `declared`, from its first record on.

    A declaration that comes to nothing goes to `refused`.
    """

    def __init__(
        self,
        name: str,
        group: Group,
        machine: Machine,
        keep: Keep,
        declared: Callable[[UserEvent], None],
        refused: Refusal,
    ) -> None:
        super().__init__(name, group, machine)
        self._keep = keep
        self._declared = declared
        self._refused = refused
        self._current: UserEvent | None = None
        for event in group.events:
            self.event_added(event)

    def event_added(self, event: UserEvent) -> None:
        """Enable it, before anybody can write it."""
        self._declared(event)
        self.enable(event)

    def event_refused(self, text: str, who: str, refused: Refused) -> None:
        """Hand it on."""
        self._refused(text, who, refused)

    @property
    def is_fed(self) -> bool:
        """Always: programs must be known before they declare anything, or their first records would be missed."""
        return True

    @property
    def lost(self) -> int:
        """Records that were written and did not come, or not whole."""
        return sum(ring.dropped for ring in self.recorder.rings)

    def judges(self, event: UserEvent) -> bool:
        """Always: every record is looked at here."""
        return True

    def attach(self, file: EventFile) -> None:
        """Become a probe of the event; there is no ring that would need its size."""
        file.event.attach(self)

    def record(self, event: UserEvent, payload: bytes, writer: Writer) -> bool:
        """Remember which event this is while it is judged."""
        self._current = event
        return super().record(event, payload, writer)

    def commit(self, rings: Rings, ts_ns: int, body: bytes, writer: Writer) -> None:
        """Hand on what would go into the rings."""
        if self._current is not None:
            self._keep(self._current, ts_ns, body, writer)
