"""``set_event_pid`` and ``set_event_notrace_pid``: which threads an instance records.

Source: user_events contract, tracefs.md section 2.
"""

import errno
import re
from typing import Final

from ..errors import Refused

PID_MAX: Final = 1 << 30
_DIGITS_MAX: Final = 20
_INT_MASK: Final = (1 << 32) - 1
_NUMBER: Final = re.compile(r"\+?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")


class PidList:
    """Thread ids that are the only ones wanted, and ids that are not wanted."""

    def __init__(self) -> None:
        self.wanted: set[int] = set()
        self.unwanted: set[int] = set()
        self._all_exited = False

    @property
    def judges(self) -> bool:
        """Whether anybody is left out."""
        return bool(self.wanted or self.unwanted or self._all_exited)

    def selects(self, tid: int) -> bool:
        """Whether a thread is recorded. A list whose last thread has exited selects nobody."""
        return (tid in self.wanted or not (self.wanted or self._all_exited)) and tid not in self.unwanted

    def forked(self, parent: int, child: int) -> None:
        """Put a new thread on the lists that its parent is on."""
        for pids in (self.wanted, self.unwanted):
            if parent in pids:
                pids.add(child)

    def exited(self, tid: int) -> None:
        """Take a thread off the lists."""
        self._all_exited = self._all_exited or self.wanted == {tid}
        self.wanted.discard(tid)
        self.unwanted.discard(tid)

    def forget_wanted(self) -> None:
        """Want every thread again."""
        self.wanted.clear()
        self._all_exited = False


def parse_pids(text: str) -> set[int]:
    """Read thread ids, separated by white space. EINVAL for what is no number, EPERM for one that is too large.

    Only the low 32 bits of a number count.
    """
    pids = set()
    for word in text.split():
        found = _NUMBER.fullmatch(word)
        if found is None or len(word) > _DIGITS_MAX:
            raise Refused(errno.EINVAL, f"'{word[:40]}' is no thread id")
        digits = found[1]
        octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX"
        pid = int(digits, 8 if octal else 0) & _INT_MASK
        if pid >= PID_MAX:
            raise Refused(errno.EPERM, f"thread id {word} is {PID_MAX} or more")
        pids.add(pid)
    return pids
