"""System calls that Python does not offer, by their C names. Each raises OSError with the errno that was left."""

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong]
_libc.write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]

PROT_READ: Final = 1
PROT_WRITE: Final = 2
MAP_SHARED: Final = 0x01
MAP_PRIVATE: Final = 0x02
MAP_FIXED: Final = 0x10
MAP_ANONYMOUS: Final = 0x20
_PR_SET_KEEPCAPS: Final = 8
_PR_SET_NAME: Final = 15
_SYS_CAPSET: Final = 126
_SYS_PERF_EVENT_OPEN: Final = 298
_CAPABILITY_VERSION_3: Final = 0x20080522
_MAP_FAILED: Final = (1 << 64) - 1

_PERF_ATTR_SIZE: Final = 112
_PERF_TYPE_TRACEPOINT: Final = 2
_PERF_SAMPLE_RAW: Final = 1 << 10


def mmap(address: int, size: int, protection: int, flags: int, fd: int = -1) -> int:
    """Map memory; return its address."""
    ctypes.set_errno(0)
    found = _libc.mmap(address or None, size, protection, flags, fd, 0)
    if found is None or found == _MAP_FAILED:
        raise OSError(ctypes.get_errno(), "mmap")
    return int(found)


def munmap(address: int, size: int) -> int:
    """Unmap memory."""
    return _checked(_libc.munmap, address, size)


def mprotect(address: int, size: int, protection: int) -> int:
    """Change what may be done with mapped memory."""
    return _checked(_libc.mprotect, address, size, protection)


def ioctl(fd: int, command: int, argument: int) -> int:
    """Any ioctl with any argument, valid or not."""
    return _checked(_libc.ioctl, fd, command, argument)


def write(fd: int, address: int, size: int) -> int:
    """Write bytes from any address, valid or not."""
    return _checked(_libc.write, fd, address, size)


def unshare(flags: int) -> int:
    """Leave namespaces."""
    return _checked(_libc.unshare, flags)


def set_name(name: str) -> None:
    """Give the calling thread a name of at most 15 bytes."""
    _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def keep_capabilities() -> None:
    """Keep permitted capabilities when the user changes."""
    _libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)


def set_capabilities(numbers: Sequence[int]) -> int:
    """Have these capabilities, and no others."""
    value = sum(1 << number for number in numbers)
    low, high = value & 0xFFFFFFFF, value >> 32
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("<6I", low, low, 0, high, high, 0)
    return _checked(_libc.syscall, _SYS_CAPSET, ctypes.c_char_p(header), ctypes.c_char_p(data))


def perf_event_open(event_id: int, pid: int, cpu: int, *, disabled: bool) -> int:
    """Open a perf event on a tracepoint that samples each hit with its raw data."""
    fields = (_PERF_TYPE_TRACEPOINT, _PERF_ATTR_SIZE, event_id, 1, _PERF_SAMPLE_RAW, 0, int(disabled))
    attributes = ctypes.create_string_buffer(struct.pack("<IIQQQQQ", *fields), _PERF_ATTR_SIZE)
    return _checked(_libc.syscall, _SYS_PERF_EVENT_OPEN, ctypes.byref(attributes), pid, cpu, -1, 0)


def load(address: int, size: int) -> bytes:
    """Bytes of this process; a bad address kills it."""
    return ctypes.string_at(address, size)


def store(address: int, data: bytes) -> None:
    """Write bytes of this process; a bad address kills it."""
    ctypes.memmove(address, data, len(data))


class Bytes:
    """Bytes at an address, followed by room, for as long as this object lives."""

    def __init__(self, data: bytes, room: int = 1) -> None:
        self._buffer = ctypes.create_string_buffer(data, len(data) + room)
        self.address = ctypes.addressof(self._buffer)

    @property
    def data(self) -> bytes:
        """What is there now."""
        return self._buffer.raw


def _checked(function: Callable[..., int], *arguments: object) -> int:
    ctypes.set_errno(0)
    result = int(function(*arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), getattr(function, "__name__", "system call"))
    return result
