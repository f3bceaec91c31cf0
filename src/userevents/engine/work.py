"""The work queue: what the engine defers, run by its owner one step at a time.

The kernel has a worker thread; here a host calls `run_all` once per turn, and a test steps through
with `run_one`. Two kinds of work exist: the destroy of an event, and the retry of a faulting enabler.

Source: user_events contract, lifecycle.md section 3 and write.md section 5.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol


class Work(Protocol):
    """One deferred step."""

    @property
    def kind(self) -> str:
        """``"destroy"`` or ``"fault"``."""

    def run(self) -> None:
        """Do it; called once, after it has left the queue."""


class WorkQueue:
    """First in, first out. `refuses` may turn work away, as the kernel's queue can (tests do)."""

    def __init__(self, refuses: Callable[[Work], bool] | None = None) -> None:
        self.refuses = refuses
        self._items: deque[Work] = deque()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def items(self) -> tuple[Work, ...]:
        """What waits, oldest first."""
        return tuple(self._items)

    def push(self, work: Work) -> bool:
        """Queue `work`; False when it was refused."""
        if self.refuses is not None and self.refuses(work):
            return False
        self._items.append(work)
        return True

    def run_one(self, index: int = 0) -> None:
        """Run one item, the oldest unless `index` says which (a worker pool may reorder)."""
        work = self._items[index]
        del self._items[index]
        work.run()

    def run_all(self) -> int:
        """Run until nothing waits, what the items themselves queue included; returns how many ran."""
        ran = 0
        while self._items:
            self.run_one()
            ran += 1
        return ran
