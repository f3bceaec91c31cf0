"""Patterns of events that somebody wants recorded while they look: each is forgotten unless it is renewed. Pure.

`fleet record -e`, `tail` and `query` want events that nobody may have enabled. A wish would outlive them if they were
killed; what is borrowed ends by itself.
"""

from collections.abc import Sequence
from typing import Final

LEND_S: Final = 30.0
"""How long patterns hold without being renewed."""
BORROWERS_MAX: Final = 1000


class Borrowed:
    """Who wants which patterns, and until when. Times are of any clock that only goes on, in seconds."""

    def __init__(self) -> None:
        self._wanted: dict[str, tuple[tuple[str, ...], float]] = {}

    def renew(self, who: str, patterns: Sequence[str], now_s: float) -> bool:
        """Somebody wants these for a while, or none any more; False where there are too many already."""
        if not patterns:
            self._wanted.pop(who, None)
        elif who in self._wanted or len(self._wanted) < BORROWERS_MAX:
            self._wanted[who] = tuple(patterns), now_s + LEND_S
        else:
            return False
        return True

    def patterns(self, now_s: float) -> list[str]:
        """Return what is wanted now, each once."""
        self._wanted = {who: wanted for who, wanted in self._wanted.items() if wanted[1] > now_s}
        return list(dict.fromkeys(pattern for patterns, _ in self._wanted.values() for pattern in patterns))
