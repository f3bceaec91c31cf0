"""Seccomp filters with a listener: system call numbers, the filter's words, the listener's ioctls. Numbers only.

Source: the kernel's own headers, ``include/uapi/linux/seccomp.h``, ``filter.h``, ``audit.h``, their numbers only.
"""

from struct import Struct
from typing import Final, NamedTuple

PR_SET_CHILD_SUBREAPER: Final = 36

RET_ALLOW: Final = 0x7FFF0000
RET_USER_NOTIF: Final = 0x7FC00000

NOTIF_RECV: Final = 0xC0502100
NOTIF_SEND: Final = 0xC0182101
NOTIF_ID_VALID: Final = 0x40082102
NOTIF_ADDFD: Final = 0x40182103
NOTIF_SET_FLAGS: Final = 0x40082104

NOTIFICATION: Final = Struct("<QIIiIQ6Q")
"""id, thread id, flags, system call, architecture, instruction pointer, six arguments."""
RESPONSE: Final = Struct("<QqiI")
"""id, result, negative errno, flags."""
RESPONSE_CONTINUE: Final = 1
"""Flag of a response: make the call as if there were no filter."""
ADD_FD: Final = Struct("<QIIII")
"""id, flags, our descriptor, the number wanted, the new descriptor's flags (O_CLOEXEC)."""
ADD_FD_SEND: Final = 2
"""Flag: answer the call with the new descriptor, in one step."""
ID: Final = Struct("<Q")
SYNC_WAKE_UP: Final = 1

FILTER_WORD: Final = Struct("<HBBI")
"""One instruction: code, jump if true, jump if false, operand."""
LOAD: Final = 0x20
AND: Final = 0x54
JUMP_IF_EQUAL: Final = 0x15
RETURN: Final = 0x06
DATA_NR: Final = 0
DATA_ARCH: Final = 4
DATA_ARGS: Final = 16
"""Offsets in what a filter looks at; an argument takes 8 bytes, the low half first."""


class Machine(NamedTuple):
    """What an architecture calls the system calls that matter; -1 for one that it has not."""

    audit_arch: int
    seccomp: int
    open: int
    openat: int
    ioctl: int
    writev: int
    pwritev2: int


MACHINES: Final = {
    "x86_64": Machine(0xC000003E, 317, 2, 257, 16, 20, 328),
    "aarch64": Machine(0xC00000B7, 277, -1, 56, 29, 66, 287),
}
