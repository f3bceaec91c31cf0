"""What triggers may look at and do in an instance, at the moment of one write.

Source: user_events contract, tracefs.md section 11.
"""

import errno
from typing import TYPE_CHECKING

from ..engine import UserEvent, Writer
from ..errors import Refused
from .body import stack_body
from .hist_names import HistNames
from .machine import CLOCKS

if TYPE_CHECKING:
    from .instance import Instance

_NOBODY = Writer(0, 0, "", 0)


class InstanceContext:
    """The `TriggerContext` of an instance; without a writer, when a command is written rather than an event."""

    def __init__(self, instance: "Instance", writer: Writer | None, now_ns: int | None) -> None:
        self._instance = instance
        self._writer = writer if writer is not None else _NOBODY
        self._now_ns = now_ns

    @property
    def now_ns(self) -> int:
        """The time stamp of the record, in the instance's clock."""
        return self._instance.recorder.now() if self._now_ns is None else self._now_ns

    @property
    def clock_in_ns(self) -> bool:
        """Whether that clock counts nanoseconds."""
        return CLOCKS[self._instance.recorder.clock]

    @property
    def tid(self) -> int:
        """The thread that writes."""
        return self._writer.tid

    @property
    def cpu(self) -> int:
        """The CPU it writes on."""
        return self._writer.cpu

    @property
    def cpus(self) -> int:
        """How many CPUs there are."""
        return self._instance.cpus

    @property
    def comm(self) -> str:
        """Its name."""
        return self._writer.comm

    @property
    def tracing_is_on(self) -> bool:
        """Whether the instance records."""
        return self._instance.recorder.tracing_on

    @property
    def hist_names(self) -> HistNames:
        """The named histograms, which all events of all instances share."""
        return self._instance.machine.hist_names

    def traceon(self) -> None:
        """Record from now on."""
        self._instance.recorder.tracing_on = True

    def traceoff(self) -> None:
        """Record nothing from now on."""
        self._instance.recorder.tracing_on = False

    def make_snapshot(self) -> None:
        """Have a snapshot buffer, as soon as a trigger might swap it."""
        self._instance.recorder.make_snapshot()

    def snapshot(self) -> None:
        """Swap the ring with the snapshot buffer, recording or not."""
        self._instance.recorder.take_snapshot()

    def stacktrace(self) -> None:
        """Record where the writer stands."""
        self._instance.write_mark(stack_body(self._writer.tid), self._writer)

    def set_clock(self, name: str) -> None:
        """Choose the instance's clock, which erases its ring."""
        self._instance.recorder.set_clock(name)

    def event_exists(self, system: str, event: str) -> bool:
        """Whether there is an event ``SYSTEM:EVENT``."""
        return self._instance.group.events.by_tracepoint(system, event) is not None

    def hold_soft(self, system: str, event: str, hold: bool) -> None:
        """Keep a target event attached in soft mode, or let go of it."""
        target = self._instance.file(self._event(system, event))
        if hold:
            target.hold_soft()
        else:
            target.release_soft()

    def soft_enabled(self, system: str, event: str) -> bool:
        """Whether the target event is not soft-disabled."""
        return not self._instance.file(self._event(system, event)).soft_disabled

    def set_soft(self, system: str, event: str, on: bool) -> None:
        """Let the target event record, or not."""
        self._instance.file(self._event(system, event)).set_soft_enabled(on)

    def toggle_hists(self, system: str, event: str, on: bool) -> None:
        """Continue or pause every histogram of the target event."""
        self._instance.file(self._event(system, event)).triggers.pause_hists(not on)

    def log_error(self, location: str, message: str, command: str, position: int) -> None:
        """Put an entry into the instance's ``error_log``."""
        self._instance.errors.add(self._instance.recorder.now(), location, message, command, position)

    def _event(self, system: str, name: str) -> UserEvent:
        event = self._instance.group.events.by_tracepoint(system, name)
        if event is None:
            raise Refused(errno.EINVAL, f"there is no event '{system}:{name}'")
        return event
