"""Watching directories: which name in them was made, written to or removed.

The standard library has no inotify, so the three calls go through ctypes. Where the kernel has no more
watches to give, `DirectoryWatch.fd` is -1 and the tracer looks at its directories by itself.
"""

import ctypes
import os
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

IN_MODIFY = 0x00000002
IN_CREATE = 0x00000100
IN_Q_OVERFLOW = 0x00004000
IN_IGNORED = 0x00008000
IN_ONLYDIR = 0x01000000
_EVENT = Struct("iIII")


class Seen(NamedTuple):
    """Something happened to `name` in `directory`; an empty name: look at everything."""

    directory: str
    name: str
    mask: int


class DirectoryWatch:
    """An inotify instance over a few directories."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._directories: dict[int, str] = {}

    def add(self, directory: str) -> bool:
        """Watch a directory for files that appear or are written; False where the kernel refuses."""
        if self.fd < 0:
            return False
        mask = IN_MODIFY | IN_CREATE | IN_ONLYDIR
        watch = self._libc.inotify_add_watch(self.fd, os.fsencode(directory), mask)
        if watch >= 0:
            self._directories[watch] = directory
        return bool(watch >= 0)

    def read(self) -> Iterator[Seen]:
        """Yield what has happened since the last call."""
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return
        offset = 0
        while offset + _EVENT.size <= len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
            offset += length
            if mask & IN_Q_OVERFLOW:
                yield Seen("", "", mask)
            elif watch in self._directories and not mask & IN_IGNORED:
                yield Seen(self._directories[watch], name, mask)

    def close(self) -> None:
        """Close the inotify descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
