"""What triggers may look at and do: one instance, at the moment of one write or one command.

Source: user_events contract, tracefs.md sections 11 and 12.
"""

from typing import Final, Protocol

from .hist_names import HistNames

FILTER_LOCATION: Final = "event filter parse error"
"""Where the error log says a filter error happened, a trigger's filter included."""


class TriggerContext(Protocol):
    """An instance as triggers see it. The writer's facts are those of nobody while a command is written."""

    @property
    def now_ns(self) -> int:
        """The time stamp of the record, in the instance's clock."""

    @property
    def clock_in_ns(self) -> bool:
        """Whether that clock counts nanoseconds."""

    @property
    def tid(self) -> int:
        """The thread that writes."""

    @property
    def cpu(self) -> int:
        """The CPU it writes on."""

    @property
    def cpus(self) -> int:
        """How many CPUs there are."""

    @property
    def comm(self) -> str:
        """Its name."""

    @property
    def tracing_is_on(self) -> bool:
        """Whether the instance records."""

    @property
    def hist_names(self) -> HistNames:
        """The named histograms, which all events of all instances share."""

    def traceon(self) -> None:
        """Record from now on."""

    def traceoff(self) -> None:
        """Record nothing from now on."""

    def make_snapshot(self) -> None:
        """Have a snapshot buffer."""

    def snapshot(self) -> None:
        """Swap the ring with the snapshot buffer."""

    def stacktrace(self) -> None:
        """Record where the writer stands."""

    def set_clock(self, name: str) -> None:
        """Choose the instance's clock, which erases its ring; `Refused` (EINVAL) where there is no such clock."""

    def event_exists(self, system: str, event: str) -> bool:
        """Whether there is an event ``SYSTEM:EVENT``."""

    def hold_soft(self, system: str, event: str, hold: bool) -> None:
        """Keep a target event attached in soft mode, or let go of it; `Refused` (EBUSY) where it cannot be kept."""

    def soft_enabled(self, system: str, event: str) -> bool:
        """Whether the target event records now (is not soft-disabled)."""

    def set_soft(self, system: str, event: str, on: bool) -> None:
        """Let the target event record, or not."""

    def toggle_hists(self, system: str, event: str, on: bool) -> None:
        """Continue or pause every histogram of the target event."""

    def log_error(self, location: str, message: str, command: str, position: int) -> None:
        """Put an entry into the instance's ``error_log``; `position` characters stand before the caret."""
