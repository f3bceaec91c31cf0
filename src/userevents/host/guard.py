"""Touching the memory of users whom the tracer need not trust: each time in an errand, given up when it is late.

Whoever lets the tracer wait has nothing of his touched any more for a while: he cannot keep it busy by starting one
process after the other.
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from .errand import Errand, Late

T = TypeVar("T")

LIMIT_S: Final = 0.2
"""How long the tracer, and so everybody else, waits for somebody's memory; reading it from a disk takes less."""
PENANCE_S: Final = 30.0


class Guards:
    """What stands between the tracer, whose own user is `uid`, and the memory of every other user."""

    def __init__(self, uid: int, log: Callable[[str, str], None]) -> None:
        self._trusted = {0, uid}
        self._log = log
        self._errand = Errand(LIMIT_S)
        self._guards: dict[int, Guard] = {}

    def of(self, uid: int) -> "Guard | None":
        """The guard for a user's memory; None for the tracer's own user and root, who can do worse than that."""
        if uid in self._trusted:
            return None
        return self._guards.setdefault(uid, Guard(uid, self._errand, self._log))

    def close(self) -> None:
        """Let the thread go."""
        self._errand.close()


class Guard:
    """One user's."""

    def __init__(self, uid: int, errand: Errand, log: Callable[[str, str], None]) -> None:
        self._uid = uid
        self._errand = errand
        self._log = log
        self._until_s = 0.0

    def run(self, pid: int, call: Callable[[], T]) -> T:
        """Touch the memory of a process. Raises `Late` when that takes too long, and for a while after that."""
        if time.monotonic() < self._until_s:
            raise Late
        try:
            return self._errand.run(call)
        except Late:
            self._until_s = time.monotonic() + PENANCE_S
            self._log(
                "warning",
                f"the memory of process {pid} (user {self._uid}) did not answer within {LIMIT_S:g} s: it is let go of,"
                f" and no memory of that user is touched for {PENANCE_S:g} s",
            )
            raise
