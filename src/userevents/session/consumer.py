"""The tracer's side of a session file: everything read is checked, nothing is mapped.

How a file of another process is read at all, and why so: session/untrusted.py. The rings: session/ring_file.py.
"""

import os
from collections.abc import Iterator
from struct import Struct, unpack_from
from typing import NamedTuple

from ..abi.user_events import MAX_NAME_ARGS_SIZE
from ..errors import Malformed
from . import layout
from .layout import DECLARATION, HEADER, Header
from .producer import Declared
from .ring_file import Part, Position, RingFile
from .untrusted import open_own, read_exactly

__all__ = ["Part", "Position", "RingFile", "SessionFile"]

_WORD = Struct("<I")


class RingWanted(NamedTuple):
    """The ring that a tracer asks of a program: its generation, its size (0 pages: none), its mode."""

    generation: int
    pages: int
    mode: int


class SessionFile:
    """A session as its tracer holds it: one open descriptor, valid also after the name is gone.

    Raises `Malformed` for a file that is no session of this version, `OSError` if it cannot be opened.
    """

    def __init__(self, directory: str, name: str) -> None:
        self.directory = directory
        self.name = name
        self.path = f"{directory}/{name}"
        self.fd = open_own(self.path, os.O_RDWR)
        try:
            self.header = self._checked_header()
        except BaseException:
            os.close(self.fd)
            raise
        self.place = layout.geometry(self.header.capacity)
        self._text_at = self.place.text

    def _checked_header(self) -> Header:
        raw = read_exactly(self.fd, layout.HEADER_SIZE, 0, self.path)
        header = Header._make(HEADER.unpack_from(raw))
        if header.magic != layout.SESSION_MAGIC:
            raise Malformed(self.path, f"begins with {header.magic!r}, which is no session file", 0)
        if header.version != layout.VERSION:
            raise Malformed(
                self.path,
                f"is a session of format version {header.version}; this tracer reads version {layout.VERSION} "
                f"(trace it with the userevents of that program, or update one of the two)",
            )
        capacity = header.capacity
        if not 16 <= capacity <= layout.MAX_CAPACITY or capacity % 16:
            raise Malformed(self.path, f"claims room for {capacity} events")
        place = layout.geometry(capacity)
        claimed = (header.size, header.words, header.answers, header.counters, header.text, header.text_size)
        if claimed != (place.size, place.words, place.answers, place.counters, place.text, place.text_size):
            raise Malformed(self.path, f"claims a geometry {claimed} that does not go with {capacity} events")
        if os.fstat(self.fd).st_size != place.size:
            raise Malformed(self.path, f"has {os.fstat(self.fd).st_size} bytes, its header says {place.size}")
        return header

    @property
    def is_lane(self) -> bool:
        """Whether it is one thread's, of a program that has another session."""
        return bool(self.header.flags & layout.FLAG_LANE)

    @property
    def run(self) -> str:
        """The token of the `record` that started the program, if one did."""
        return self.header.run.rstrip(b"\0").decode("ascii", "replace")

    @property
    def comm(self) -> str:
        """The program's name when the session was made."""
        return self.header.comm.rstrip(b"\0").decode("utf-8", "replace")

    @property
    def cmdline(self) -> list[str]:
        """The program's command line when the session was made (its first 495 bytes)."""
        return [word.decode("utf-8", "replace") for word in self.header.cmdline.rstrip(b"\0").split(b"\0")]

    def new_declarations(self, known: int) -> Iterator[Declared]:
        """Yield the declarations from number `known` on. Raises Malformed for a count or text out of bounds."""
        count = _WORD.unpack(read_exactly(self.fd, 4, layout.EVENT_COUNT, self.path))[0]
        if count < known or count > self.place.capacity:
            raise Malformed(self.path, f"claims {count} declarations, of at most {self.place.capacity}")
        end = self.place.text + self.place.text_size
        for _ in range(count - known):
            length, flags = DECLARATION.unpack(read_exactly(self.fd, DECLARATION.size, self._text_at, self.path))
            start = self._text_at + DECLARATION.size
            if length >= MAX_NAME_ARGS_SIZE or start + length > end:
                raise Malformed(self.path, f"a declaration claims {length} bytes", self._text_at)
            text = read_exactly(self.fd, length, start, self.path)
            self._text_at = start + length + -length % 4
            yield Declared(text, flags)

    def words(self, count: int) -> list[int]:
        """Return the first `count` enable words as they stand."""
        return list(unpack_from(f"<{count}I", read_exactly(self.fd, 4 * count, self.place.words, self.path)))

    def write_word(self, index: int, word: int) -> None:
        """Store one enable word."""
        os.pwrite(self.fd, _WORD.pack(word), self.place.words + 4 * index)

    def answers(self, count: int) -> list[tuple[int, int]]:
        """Return (event id, errno) of the first `count` events, as a tracer last answered."""
        raw = read_exactly(self.fd, 4 * count, self.place.answers, self.path)
        return [(value & 0xFFFF, value >> 16) for value in unpack_from(f"<{count}I", raw)]

    def write_answer(self, index: int, event_id: int, errno: int) -> None:
        """Store an event's id (0 if refused) and the errno of its refusal (0 if not)."""
        os.pwrite(self.fd, _WORD.pack(event_id | errno << 16), self.place.answers + 4 * index)

    def counters(self, count: int) -> list[tuple[int, ...]]:
        """Return the counters of the first `count` events, each in the order of COUNTER_NAMES."""
        raw = read_exactly(self.fd, layout.COUNTER_SIZE * count, self.place.counters, self.path)
        eight = f"<{layout.COUNTERS_PER_EVENT}Q"
        return [layout.counts_of(unpack_from(eight, raw, layout.COUNTER_SIZE * index)) for index in range(count)]

    def is_leaving(self) -> bool:
        """Whether the program said that it ends."""
        return any(read_exactly(self.fd, 4, layout.LEAVING, self.path))

    def late_answers(self) -> int:
        """Return how many answers came too late for the program that waited."""
        return int.from_bytes(read_exactly(self.fd, 8, layout.LATE_ANSWERS, self.path), "little")

    def ring_wanted(self) -> RingWanted:
        """Return which ring the program should use."""
        line = layout.TRACER_LINE_STRUCT
        return RingWanted(*line.unpack(read_exactly(self.fd, line.size, layout.TRACER_LINE, self.path)))

    def set_ring(self, generation: int, pages: int, mode: int = layout.MODE_DISCARD) -> None:
        """Ask the program to use the ring of this generation from its next page on."""
        os.pwrite(self.fd, layout.TRACER_LINE_STRUCT.pack(generation, pages, mode), layout.TRACER_LINE)

    def retired(self) -> tuple[int, int]:
        """Return how many records were committed in rings that are gone, and the generation of the first one after."""
        line = layout.RETIRED_STRUCT
        records, first = line.unpack(read_exactly(self.fd, line.size, layout.RETIRED, self.path))
        return records, first

    def set_retired(self, records: int, first: int) -> None:
        """Store that, in one call, before the last of these rings is removed: whoever comes next counts none twice."""
        os.pwrite(self.fd, layout.RETIRED_STRUCT.pack(records, first), layout.RETIRED)

    def generation_in_use(self) -> int:
        """Return the generation of the ring the program writes, 0 for none."""
        return int.from_bytes(read_exactly(self.fd, 4, layout.GENERATION_IN_USE, self.path), "little")

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)
