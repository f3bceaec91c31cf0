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

    def selects(self, tid: int) -> bool:
        """Whether a thread is recorded."""
        return (not self.wanted or tid in self.wanted) and tid not in self.unwanted


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
