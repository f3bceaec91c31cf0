"""What ring a program should have."""

from typing import Final, NamedTuple

from ..session import layout
from ..session.ring_file import RingFile


class RingWish(NamedTuple):
    """How many pages at least, what the ring does when it is full, whether a larger one may take its place then."""

    pages: int
    mode: int = layout.MODE_DISCARD
    may_grow: bool = True

    def is_met_by(self, ring: RingFile) -> bool:
        """Whether that ring will do."""
        return ring.mode == self.mode and (ring.pages == self.pages or (self.may_grow and ring.pages > self.pages))


NO_RING: Final = RingWish(0)
