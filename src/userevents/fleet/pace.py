"""How fast a host goes about its lease and its keys: slower while the broker answers late.

A broker, a network or a host that has too much to do answers late. Renewing as often as before would make it later
still, until leases run out; each that does has a host write all its keys anew, and peers take away the old ones: more
to do, so that a fleet that is just too large never comes to rest. So a lease is longer where renewals take long, and
fewer keys are written at once. Pure: times are given.
"""

from typing import Final

LEASE_S: Final = 3
"""How long a lease is, in whole seconds, while the broker answers at once."""
LEASE_MAX_S: Final = 30
BEATS: Final = 3
"""A lease is renewed so often while it runs."""
SLOW_S: Final = 1.0
"""Writes that take longer than this are too many at once, and more may go where they take less than half of it."""
WRITES_MIN: Final = 8
"""Never fewer at once: each would take its host and the broker twice the work."""
WRITES_MAX: Final = 64
_FORGET: Final = 0.5
"""What is left of a slow renewal's weight after each that was quicker."""


class Pace:
    """The pace of one host."""

    def __init__(self) -> None:
        self.writes = WRITES_MIN
        """How many keys to write at once."""
        self._slow_s = 0.0

    @property
    def lease_s(self) -> int:
        """How long the next lease is to be.

        >>> pace = Pace()
        >>> pace.renewed(1.5)
        >>> pace.lease_s, pace.beat_s
        (7, 2.3333333333333335)
        """
        return min(int(LEASE_S + BEATS * self._slow_s), LEASE_MAX_S)

    @property
    def beat_s(self) -> float:
        """How long after a renewal the next one is due."""
        return self.lease_s / BEATS

    def renewed(self, took_s: float) -> None:
        """A renewal was answered, or given up, so long after it was due."""
        self._slow_s = max(took_s, self._slow_s * _FORGET)

    def wrote(self, took_s: float) -> None:
        """So many writes at once were answered after so long."""
        if took_s > SLOW_S:
            self.writes = max(self.writes // 2, WRITES_MIN)
        elif took_s < SLOW_S / 2:
            self.writes = min(self.writes * 2, WRITES_MAX)
