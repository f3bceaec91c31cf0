"""Mapped files whose descriptors may be closed, and reused, behind our back.

Up to Python 3.12 an `mmap` keeps a duplicate of its descriptor and closes it, by number, when it goes. In a
program that closed descriptors it did not know, that number belongs to somebody else by then.
"""

import mmap
import os
import sys

_kept: list[mmap.mmap] = []


class Mapping:
    """A shared, writable mapping of a whole open file; `map` is the memory."""

    __slots__ = ("_identity", "map")

    def __init__(self, fd: int, size: int) -> None:
        found = os.fstat(fd)
        self._identity = (found.st_dev, found.st_ino)
        if sys.version_info >= (3, 13):
            self.map = mmap.mmap(fd, size, trackfd=False)
        else:
            self.map = mmap.mmap(fd, size)

    def owns(self, fd: int) -> bool:
        """Whether a descriptor number is still the mapped file."""
        try:
            found = os.fstat(fd)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def let_go(self) -> None:
        """Call before the last reference goes: memory whose duplicate descriptor was closed is kept for good."""
        if sys.version_info < (3, 13) and not self._has_descriptor():
            _kept.append(self.map)

    def _has_descriptor(self) -> bool:
        try:
            numbers = [int(name) for name in os.listdir("/proc/self/fd")]
        except (OSError, ValueError):
            return False
        return any(self.owns(number) for number in numbers)
