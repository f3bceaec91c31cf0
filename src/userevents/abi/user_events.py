"""linux/user_events.h: ioctl numbers, structures, flags and limits.

Source: user_events contract, abi.md sections 2 to 4.
"""

from typing import Final

DIAG_IOC_TYPE: Final = 0x2A
DIAG_IOCSREG: Final = 0xC0082A00
DIAG_IOCSDEL: Final = 0x40082A01
DIAG_IOCSUNREG: Final = 0x40082A02

USER_REG: Final = "<IBBHQQI"
"""struct user_reg: size, enable_bit, enable_size, flags, enable_addr, name_args, write_index."""
USER_REG_SIZE: Final = 28
USER_REG_WRITE_INDEX_OFFSET: Final = 24

USER_UNREG: Final = "<IBBHQ"
"""struct user_unreg: size, disable_bit, __reserved, __reserved2, disable_addr."""
USER_UNREG_SIZE: Final = 16

USER_EVENT_REG_PERSIST: Final = 0x1
USER_EVENT_REG_MULTI_FORMAT: Final = 0x2

USER_EVENTS_SYSTEM: Final = "user_events"
USER_EVENTS_MULTI_SYSTEM: Final = "user_events_multi"
USER_EVENTS_PREFIX: Final = "u:"

MAX_NAME_ARGS_SIZE: Final = 512
"""Bytes of a registration's text, its NUL included: at most 511 characters."""
MAX_FIELD_ARRAY_SIZE: Final = 1024
MAX_USER_EVENTS: Final = 32768
"""Default of kernel.user_events_max."""
MAX_FAULT_TRIES: Final = 10
PERF_MAX_TRACE_SIZE: Final = 8192
"""Longest record that perf samples, its 8-byte header included, rounded up to 8."""
PAGE_SIZE: Final = 4096

EVENT_STATUS_FTRACE: Final = 0x01
EVENT_STATUS_PERF: Final = 0x02
EVENT_STATUS_OTHER: Final = 0x80

FIRST_EVENT_ID: Final = 20
"""Lowest dynamic event type id on 6.12."""
MAX_EVENT_ID: Final = 65535
