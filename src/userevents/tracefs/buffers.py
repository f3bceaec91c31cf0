"""The control files about the size of an instance's rings, and about waiting until they fill.

Source: user_events contract, tracefs.md section 8; recordings of a real kernel.
"""

import errno
from typing import ClassVar, Final

from ..abi import tracefs as abi
from ..abi.ring_buffer import PAGE_SIZE
from ..errors import Refused
from .controls import Control
from .node import File, OpenNode
from .text import parse_unsigned

_PERCENT_MAX: Final = 100


class BufferSize(Control):
    """``buffer_size_kb``, of all CPUs or of one."""

    def text(self) -> str:
        """The size in KiB."""
        return self.place.instance.recorder.size_text(self.place.cpu)

    def write(self, node: OpenNode, data: bytes) -> int:
        """Set the size; records that still fit are kept."""
        kib = parse_unsigned(data)
        if not kib:
            raise Refused(errno.EINVAL, "a ring of 0 KiB")
        if kib > abi.BUFFER_KIB_MAX:
            raise Refused(errno.ENOMEM, f"a ring of {kib} KiB; at most {abi.BUFFER_KIB_MAX} here")
        self.place.instance.recorder.set_size(kib, self.place.cpu)
        return len(data)


class BufferTotalSize(File):
    """``buffer_total_size_kb``."""

    def text(self) -> str:
        """The sum over all CPUs, in KiB."""
        return self.place.instance.recorder.total_text()


class SubbufSize(Control):
    """``buffer_subbuf_size_kb``: how large the pages of the rings are."""

    def text(self) -> str:
        """The size in KiB."""
        return f"{self.place.instance.recorder.page_size >> 10}\n"

    def write(self, node: OpenNode, data: bytes) -> int:
        """Set it, rounded up to a power of two pages of memory; what was recorded goes. EINVAL for 0 and above 512."""
        kib = parse_unsigned(data)
        if not 0 < kib <= abi.SUBBUF_KIB_MAX:
            raise Refused(errno.EINVAL, f"a page of {kib} KiB; it has 1 to {abi.SUBBUF_KIB_MAX}")
        size = PAGE_SIZE << (-(-(kib << 10) // PAGE_SIZE) - 1).bit_length()
        self.place.instance.recorder.set_page_size(size)
        return len(data)


class BufferPercent(Control):
    """``buffer_percent``: how full a ring must be before a reader that waits is woken."""

    def text(self) -> str:
        """A percentage."""
        return f"{self.place.instance.recorder.wake_percent}\n"

    def write(self, node: OpenNode, data: bytes) -> int:
        """Set it; EINVAL for more than 100."""
        percent = parse_unsigned(data)
        if percent > _PERCENT_MAX:
            raise Refused(errno.EINVAL, f"'{percent}' is more than {_PERCENT_MAX}")
        self.place.instance.recorder.wake_percent = percent
        return len(data)


class FreeBuffer(File):
    """``free_buffer``: closing it makes the rings as small as they get."""

    mode: ClassVar[int] = abi.MODE_FREE_BUFFER
    has_positions: ClassVar[bool] = False

    def closed(self, node: OpenNode, *, aborted: bool) -> None:
        """Shrink the rings, and with ``disable_on_free`` stop recording."""
        instance = self.place.instance
        if instance.options["disable_on_free"]:
            instance.recorder.tracing_on = False
        instance.recorder.set_size(1, instance.recorder.all_cpus)

    def text(self) -> str:
        """EINVAL: there is nothing to read."""
        raise Refused(errno.EINVAL, "free_buffer cannot be read")

    def write(self, node: OpenNode, data: bytes) -> int:
        """Whatever is written is ignored."""
        return len(data)
