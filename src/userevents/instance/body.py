"""Record bodies as they stand in a ring: the common header and what follows.

Source: user_events contract, ringbuffer.md section 7.
"""

from struct import Struct
from typing import Final

from ..abi.ring_buffer import RECORD_HEADER
from ..abi.tracefs import PRINT_EVENT_ID, RAW_DATA_EVENT_ID, STACK_EVENT_ID

_RAW_MIN: Final = 17
"""The kernel reserves as much, for what it would say of bytes that cannot be read."""
_HEADER: Final = Struct(RECORD_HEADER)


def record_body(event_id: int, tid: int, payload: bytes) -> bytes:
    """The body of one record: header, then payload as it is."""
    return _HEADER.pack(event_id, 0, 0, tid) + payload


def mark_body(tid: int, text: bytes) -> bytes:
    """The body of a ``trace_marker`` record: no address, then the text."""
    return record_body(PRINT_EVENT_ID, tid, bytes(8) + text + b"\0")


def raw_mark_body(tid: int, data: bytes) -> bytes:
    """The body of a ``trace_marker_raw`` record: the bytes as they are, and at least 4 zeros, which are shown, too."""
    return record_body(RAW_DATA_EVENT_ID, tid, (data + bytes(4)).ljust(_RAW_MIN, b"\0"))


def stack_body(tid: int) -> bytes:
    """The body of a stack trace without entries: a user-space tracer knows none of the kernel's."""
    return record_body(STACK_EVENT_ID, tid, bytes(8))
