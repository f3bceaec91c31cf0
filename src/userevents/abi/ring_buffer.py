"""The ring buffer's sub-buffer ("page") and its record headers, 64-bit little endian.

Source: user_events contract, ringbuffer.md sections 1 to 4.
"""

from typing import Final

PAGE_SIZE: Final = 4096
PAGE_HEADER_SIZE: Final = 16
PAGE_DATA_SIZE: Final = PAGE_SIZE - PAGE_HEADER_SIZE
PAGE_HEADER: Final = "<QQ"
"""time_stamp (ns) of the first record, commit (bytes of data, and the two loss flags)."""

COMMIT_LENGTH_MASK: Final = 0xFFFFF
COMMIT_MISSED_EVENTS: Final = 1 << 31
COMMIT_MISSED_STORED: Final = 1 << 30

TYPE_LEN_BITS: Final = 5
TYPE_LEN_MASK: Final = 31
TYPE_LEN_DATA_MAX: Final = 28
TYPE_LEN_PADDING: Final = 29
TYPE_LEN_TIME_EXTEND: Final = 30
TYPE_LEN_TIME_STAMP: Final = 31
DELTA_BITS: Final = 27
DELTA_MAX: Final = (1 << DELTA_BITS) - 1
STAMP_BITS: Final = 59

SHORT_BODY_MAX: Final = 112
"""Longest record body whose length fits type_len (28 * 4)."""
MAX_BODY_SIZE: Final = PAGE_DATA_SIZE - 8
"""Longest record body that fits a page at all (4072)."""

RECORD_HEADER: Final = "<HBBi"
"""common_type, common_flags, common_preempt_count, common_pid (the thread's id)."""
RECORD_HEADER_SIZE: Final = 8


def header_page_text(page_size: int) -> str:
    """Return what ``events/header_page`` says of pages of `page_size` bytes."""
    return (
        "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
        "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
        "\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
        f"\tfield: char data;\toffset:16;\tsize:{page_size - PAGE_HEADER_SIZE};\tsigned:0;\n"
    )


HEADER_PAGE_TEXT: Final = header_page_text(PAGE_SIZE)
HEADER_EVENT_TEXT: Final = (
    "# compressed entry header\n"
    "\ttype_len    :    5 bits\n"
    "\ttime_delta  :   27 bits\n"
    "\tarray       :   32 bits\n"
    "\n"
    "\tpadding     : type == 29\n"
    "\ttime_extend : type == 30\n"
    "\ttime_stamp : type == 31\n"
    "\tdata max type_len  == 28\n"
)
