"""Reading files that another process may change at any moment.

A program may truncate, overwrite or fill its files with noise. So the tracer reads and writes with pread and
pwrite alone (a mapping would hand it the program's SIGBUS), checks every number against the file before it
uses it, and answers `Malformed` for what does not hold.
"""

import contextlib
import os
import stat
from collections.abc import Iterator

from ..errors import Malformed

_owners: list[int] = []
"""Whose files are being opened, where that is not ourselves."""


@contextlib.contextmanager
def owned_by(uid: int) -> Iterator[None]:
    """Take files of this user for our own, until it ends."""
    _owners.append(uid)
    try:
        yield
    finally:
        _owners.pop()


def owner() -> int:
    """Return whose files and directories must be."""
    return _owners[-1] if _owners else os.geteuid()


def open_own(path: str, flags: int) -> int:
    """Open a regular file of ours (mode 0600 if it is made) without following links or waiting.

    Raises OSError or Malformed.
    """
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != owner():
        os.close(fd)
        raise Malformed(path, f"not a regular file of uid {owner()} (owner {found.st_uid})")
    return fd


def read_exactly(fd: int, size: int, offset: int, what: str) -> bytes:
    """Return `size` bytes at `offset`; raises Malformed, naming the file `what`, if it ends before."""
    data = os.pread(fd, size, offset)
    if len(data) != size:
        raise Malformed(what, f"ends after {offset + len(data)} bytes, {offset + size} wanted", offset + len(data))
    return data
