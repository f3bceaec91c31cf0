"""The filter: which system calls of the program, and of all its descendants, we are asked about.

Of opens only those for writing, which is how every program opens ``user_events_data``: all others, by far the most,
cost no more than the filter's few instructions. Calls of another architecture (32 bits) pass.
"""

import ctypes
import os
from typing import Final

from ...abi import seccomp
from ...abi.tracefs import O_ACCMODE
from ...abi.user_events import DIAG_IOC_TYPE
from ...errors import Unusable

_TYPE_BITS: Final = 0xFF00
"""The bits of an ioctl's number that say whose it is."""
_ALLOW: Final = "allow"
_NOTIFY: Final = "notify"


def machine() -> seccomp.Machine:
    """The numbers of this machine. Raises `Unusable` on one whose numbers are not known."""
    name = os.uname().machine
    found = seccomp.MACHINES.get(name)
    if found is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        known = ", ".join(seccomp.MACHINES)
        raise Unusable(f"the seccomp door knows the system calls of {known}, and this is a '{name}'; use --door fuse")
    return found


def program(numbers: seccomp.Machine, *, ioctls: bool) -> bytes:
    """The filter's instructions; `ioctls`: those of user_events are held up, too."""
    opens = [(numbers.open, 1), (numbers.openat, 2)]
    calls = [(number, argument, O_ACCMODE, 0, False) for number, argument in opens if number >= 0]
    if ioctls:
        calls.append((numbers.ioctl, 1, _TYPE_BITS, DIAG_IOC_TYPE << 8, True))
    lines: list[tuple[int, int, str | None, str | None]] = [
        (seccomp.LOAD, seccomp.DATA_ARCH, None, None),
        (seccomp.JUMP_IF_EQUAL, numbers.audit_arch, None, _ALLOW),
        (seccomp.LOAD, seccomp.DATA_NR, None, None),
    ]
    for number, *_ in calls:
        lines.append((seccomp.JUMP_IF_EQUAL, number, f"call {number}", None))
    lines.append((seccomp.RETURN, seccomp.RET_ALLOW, None, None))
    labels = {}
    for number, argument, mask, value, is_wanted in calls:
        labels[f"call {number}"] = len(lines)
        equal, other = (_NOTIFY, _ALLOW) if is_wanted else (_ALLOW, _NOTIFY)
        lines += [
            (seccomp.LOAD, seccomp.DATA_ARGS + 8 * argument, None, None),
            (seccomp.AND, mask, None, None),
            (seccomp.JUMP_IF_EQUAL, value, equal, other),
        ]
    labels[_ALLOW], labels[_NOTIFY] = len(lines), len(lines) + 1
    lines += [(seccomp.RETURN, seccomp.RET_ALLOW, None, None), (seccomp.RETURN, seccomp.RET_USER_NOTIF, None, None)]
    return b"".join(_word(at, line, labels) for at, line in enumerate(lines))


def _word(at: int, line: tuple[int, int, str | None, str | None], labels: dict[str, int]) -> bytes:
    code, operand, if_true, if_false = line
    jumps = [0 if label is None else labels[label] - at - 1 for label in (if_true, if_false)]
    return seccomp.FILTER_WORD.pack(code, *jumps, operand)
