"""Writing an event: from the bytes of one write call to the probes that record it.

Source: user_events contract, write.md section 2.
"""

import errno

from ..errors import Refused
from ..fields import min_payload
from .open_file import OpenFile
from .ports import Writer
from .profile import Profile

INDEX_SIZE = 4


def write_event(profile: Profile, file: OpenFile, data: bytes, size: int, writer: Writer) -> int:
    """Hand one event to every probe; returns `size`, whatever the probes did with it.

    `data` is what could be read of the `size` bytes that were to be written.

    Source: user_events contract, write.md section 2, steps 3 to 10.
    """
    if len(data) < INDEX_SIZE:
        raise Refused(errno.EFAULT, f"a write of {len(data)} readable bytes; it begins with a {INDEX_SIZE}-byte index")
    index = int.from_bytes(data[:INDEX_SIZE], "little", signed=True)
    if index < 0:
        raise Refused(errno.EINVAL, f"write index {index} is negative")
    if index >= len(file.events):
        raise Refused(errno.ENOENT, f"write index {index}: this file has {len(file.events)} events registered")
    event = file.events[index]
    needed = min_payload(event.fields)
    if size - INDEX_SIZE < needed:
        raise Refused(
            errno.EINVAL, f"a payload of {size - INDEX_SIZE} bytes; '{event.tracepoint_name}' has at least {needed}"
        )
    if not event.probes:
        if profile.disabled_write_errno:
            raise Refused(profile.disabled_write_errno, f"nobody listens to '{event.tracepoint_name}'")
        return size
    if len(data) < size:
        raise Refused(errno.EFAULT, f"{size - len(data)} of {size} bytes cannot be read")
    payload = bytes(data[INDEX_SIZE:])
    outcomes = [probe.record(event, payload, writer) for probe in tuple(event.probes)]
    if not all(outcomes):
        raise Refused(
            errno.EFAULT, f"a dynamic field of '{event.tracepoint_name}' points outside the record, or lacks its NUL"
        )
    return size
