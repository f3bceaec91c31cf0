"""Event type ids: the lowest free one is given out, except those somebody reserved.

An id is *in use* while an event has it, and may besides be *reserved*, any number of times: by a
recording that still decodes records with it, or by a session that an earlier tracer numbered.

Source: user_events contract, abi.md section 4.
"""

import errno
import heapq

from ..abi.user_events import FIRST_EVENT_ID, MAX_EVENT_ID
from ..errors import Refused


class IdPool:
    """Hands out event ids, lowest free first; both calls cost O(log n) at most."""

    def __init__(self, first: int = FIRST_EVENT_ID, last: int = MAX_EVENT_ID) -> None:
        self._first = first
        self._last = last
        self._next = first
        self._free: list[int] = []
        self._used: set[int] = set()
        self._reserved: dict[int, int] = {}

    def allocate(self, want: int | None = None) -> int:
        """Take an id for a new event: `want` if no event has it (reserved or not), else the lowest free one.

        Raises `Refused` with ENODEV when none is left.
        """
        if want is not None and self._first <= want <= self._last and want not in self._used:
            self._used.add(want)
            return want
        taken = self._lowest()
        self._used.add(taken)
        return taken

    def free(self, event_id: int) -> None:
        """Give back the id of an event that is gone; it stays kept from others while reserved."""
        self._used.remove(event_id)
        self._offer(event_id)

    def reserve(self, event_id: int) -> None:
        """Keep `event_id` from being given out, until `release` was called as often."""
        self._reserved[event_id] = self._reserved.get(event_id, 0) + 1

    def release(self, event_id: int) -> None:
        """Take back one `reserve` of `event_id`."""
        left = self._reserved[event_id] - 1
        if left:
            self._reserved[event_id] = left
            return
        del self._reserved[event_id]
        self._offer(event_id)

    def in_use(self, event_id: int) -> bool:
        """Whether an event has this id now."""
        return event_id in self._used

    def reserved(self, event_id: int) -> bool:
        """Whether somebody keeps this id from being given out."""
        return event_id in self._reserved

    def _offer(self, event_id: int) -> None:
        """Put an id back among the candidates; those above the high-water mark are found by counting up."""
        if self._first <= event_id < self._next and self._available(event_id):
            heapq.heappush(self._free, event_id)

    def _available(self, event_id: int) -> bool:
        return event_id not in self._used and event_id not in self._reserved

    def _lowest(self) -> int:
        while self._free:
            candidate = heapq.heappop(self._free)
            if self._available(candidate):
                return candidate
        while self._next <= self._last:
            candidate = self._next
            self._next += 1
            if self._available(candidate):
                return candidate
        raise Refused(errno.ENODEV, f"no event id is left between {self._first} and {self._last}")
