"""Open files of the mount: the tree's node behind each, the reads that wait on it, and who polls it."""

from typing import NamedTuple

from ...abi import fuse, tracefs
from ...tracefs import OpenNode


class Handle:
    """One opening, shared by every descriptor that was duplicated or inherited from it."""

    __slots__ = ("fh", "is_data", "is_stream", "node", "pollers")

    def __init__(self, fh: int, node: OpenNode) -> None:
        self.fh = fh
        self.node = node
        name = node.path.rpartition("/")[2]
        self.is_stream = name in tracefs.STREAMS
        self.is_data = name == tracefs.USER_EVENTS_DATA
        self.pollers: set[int] = set()
        """Handles that the kernel wants to be notified by once the file is readable."""

    @property
    def open_flags(self) -> int:
        """How the kernel is to treat it.

        A stream has no positions, and what is written to it in more than one request can be told by its offset.
        No close waits for us: a program whose children inherit the file must not hang while we do.
        """
        flags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH
        if self.is_stream:
            flags |= fuse.FOPEN_STREAM | fuse.FOPEN_PARALLEL_DIRECT_WRITES
        return flags


class Waiting(NamedTuple):
    """A read that had nothing to return yet."""

    handle: Handle
    size: int
