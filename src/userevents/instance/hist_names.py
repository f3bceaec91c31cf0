"""Named histograms: triggers that give the same name count into the same table, whatever their event or instance.

Source: user_events contract, tracefs.md section 11.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .hist_trigger import HistTrigger


class HistNames:
    """Who uses which name. The first user's trigger stands for the name as long as anybody uses it."""

    def __init__(self) -> None:
        self._first: dict[str, HistTrigger] = {}
        self._users: dict[str, int] = {}

    def find(self, name: str) -> "HistTrigger | None":
        """Return the trigger that brought the name in, though it may be gone itself; None for an unused name."""
        return self._first.get(name)

    def join(self, trigger: "HistTrigger") -> None:
        """One more trigger uses its name."""
        if trigger.name:
            self._first.setdefault(trigger.name, trigger)
            self._users[trigger.name] = self._users.get(trigger.name, 0) + 1

    def leave(self, trigger: "HistTrigger") -> None:
        """One trigger less uses its name; the last one takes the name along."""
        if trigger.name:
            self._users[trigger.name] -= 1
            if not self._users[trigger.name]:
                del self._users[trigger.name], self._first[trigger.name]
