"""Which file of the tree a caller's path means, if any."""

import os
import posixpath
from collections.abc import Sequence
from typing import Final

from ...abi import tracefs

PLACES: Final = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
"""Where programs look for the kernel's tree."""
AT_FDCWD: Final = -100
_NAMES: Final = frozenset(value.encode() for value in vars(tracefs).values() if isinstance(value, str))
"""Names that files of the tree have: a path that ends in another one is none of ours, whatever its links."""


def signed(argument: int) -> int:
    """An argument of a system call as the int that it is."""
    argument &= 0xFFFFFFFF
    return argument - (1 << 32) if argument >> 31 else argument


def in_tree(path: bytes, tid: int, directory: int, places: Sequence[str] = PLACES) -> str | None:
    """The path in the tree that `path` means to thread `tid`, relative to its descriptor `directory`; None if none.

    As the caller's own root has it: a program in a chroot looks for the tree where all others do. Symbolic links on
    the way are followed where the name is one that the tree has.
    """
    found = _below(_absolute(path, tid, directory), places)
    if found is None and posixpath.basename(path) in _NAMES:
        found = _below(_linked(path, tid, directory), places)
    return found


def _below(path: bytes, places: Sequence[str]) -> str | None:
    whole = os.fsdecode(posixpath.normpath(path))
    for place in places:
        if whole.startswith(place + "/"):
            return whole[len(place) + 1 :]
    return None


def _absolute(path: bytes, tid: int, directory: int) -> bytes:
    """`path` from the caller's root on; b"" where that cannot be told."""
    if path.startswith(b"/"):
        return path
    link = "cwd" if directory == AT_FDCWD else f"fd/{directory}"
    try:
        base = os.fsencode(os.readlink(f"/proc/{tid}/{link}"))
        root = os.fsencode(os.readlink(f"/proc/{tid}/root"))
    except OSError:
        return b""
    if root != b"/" and base.startswith(root):
        base = base[len(root) :] or b"/"
    return posixpath.join(base, path)


def _linked(path: bytes, tid: int, directory: int) -> bytes:
    """`path` with symbolic links followed; b"" where that cannot be told."""
    whole = _absolute(path, tid, directory)
    try:
        root = os.fsencode(os.readlink(f"/proc/{tid}/root"))
    except OSError:
        return b""
    return os.path.realpath(whole) if whole.startswith(b"/") and root == b"/" else b""
