"""What ledgers have told of a program's drops, beside its rings: for the tracer after one that was killed.

What lies unread in a ring goes into the next tracer's recording. What the program dropped before, between or after
that, and no ledger has told, belongs there, too: else the recording had a gap, and said that nothing was lost.
"""

import os
from collections.abc import Sequence
from struct import Struct
from typing import Final

from ..errors import Malformed
from ..session import layout
from ..session.consumer import SessionFile
from ..session.untrusted import open_own

SUFFIX: Final = ".told"
_DROPS: Final = Struct("<5Q")
"""Of each event, in the order of layout.DROP_REASONS."""
Counters = Sequence[tuple[int, ...]]
"""Per event, in the order of COUNTER_NAMES."""


class Told:
    """The file of one session. It is made when there is a drop to tell of, and goes with the session's rings."""

    def __init__(self, session: SessionFile) -> None:
        stem = session.name.removesuffix(layout.SESSION_SUFFIX)
        self._path = f"{session.directory}/{layout.RINGS}/{stem}{SUFFIX}"
        self._fd = -1
        self._handed = b""

    def drops(self, counters: Counters) -> list[tuple[int, ...]]:
        """Return the drops of each event that were told, of those in its counters: a file of nonsense tells of more."""
        raw = self._read(_DROPS.size * len(counters))
        pairs = zip(_DROPS.iter_unpack(raw), counters, strict=True)
        return [tuple(map(min, told, layout.drops_of(counts))) for told, counts in pairs]

    def is_behind(self, counters: Counters) -> bool:
        """Whether drops were counted that were not told."""
        return self.drops(counters) != [*map(layout.drops_of, counters)]

    def _read(self, size: int) -> bytes:
        try:
            fd = open_own(self._path, os.O_RDONLY)
        except (OSError, Malformed):
            return bytes(size)
        try:
            return os.pread(fd, size, 0).ljust(size, b"\0")
        finally:
            os.close(fd)

    def mark(self, counters: Counters) -> "DropsMark | None":
        """Return what is to be acknowledged once a ledger with these counters is kept; None where it tells no more."""
        raw = b"".join(_DROPS.pack(*layout.drops_of(counts)) for counts in counters)
        if raw.rstrip(b"\0") == self._handed.rstrip(b"\0"):
            return None
        if self._fd < 0:
            try:
                self._fd = open_own(self._path, os.O_RDWR | os.O_CREAT)
            except (OSError, Malformed):
                return None
        self._handed = raw
        return DropsMark(self, raw)

    def keep(self, raw: bytes) -> None:
        """Store what was told."""
        try:
            os.pwrite(self._fd, raw, 0)
        except OSError:
            pass  # memory is short, or the program is forgotten already: more is told than need be

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class DropsMark:
    """The drops that one ledger tells."""

    def __init__(self, told: Told, raw: bytes) -> None:
        self._told = told
        self._raw = raw

    def kept(self) -> None:
        """The ledger is in its reader's hands."""
        self._told.keep(self._raw)
