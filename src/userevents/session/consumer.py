"""The tracer's side of a session and of its rings: everything read is checked, nothing is mapped.

A program may truncate, overwrite or fill its file with noise at any moment. So the tracer reads and writes
with pread and pwrite alone (a mapping would hand it the program's SIGBUS), checks every number against the
file before it uses it, and answers `Malformed` for what does not hold.
"""

import os
import stat
from collections.abc import Iterator
from struct import Struct, unpack_from
from typing import NamedTuple

from ..abi.ring_buffer import PAGE_DATA_SIZE, PAGE_HEADER_SIZE, PAGE_SIZE
from ..abi.user_events import MAX_NAME_ARGS_SIZE
from ..buffer.page import records
from ..errors import Malformed
from . import layout
from .layout import DECLARATION, HEADER, Header
from .producer import Declared

_PAGE_HEAD = Struct("<QQ")
_WORD = Struct("<I")
_MAX_SESSION_SIZE = layout.geometry(layout.MAX_CAPACITY).size
_RUN_OF_PAGES = 64


def _open_own(path: str, flags: int) -> int:
    """Open a regular file of ours without following links or waiting; raises OSError or Malformed."""
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(fd)
        raise Malformed(path, f"not a regular file of uid {os.geteuid()} (owner {found.st_uid})")
    return fd


def _read(fd: int, size: int, offset: int, what: str) -> bytes:
    data = os.pread(fd, size, offset)
    if len(data) != size:
        raise Malformed(what, f"ends after {offset + len(data)} bytes, {offset + size} wanted", offset + len(data))
    return data


class SessionFile:
    """A session as its tracer holds it: one open descriptor, valid also after the name is gone.

    Raises `Malformed` for a file that is no session of this version, `OSError` if it cannot be opened.
    """

    def __init__(self, directory: str, name: str) -> None:
        self.directory = directory
        self.name = name
        self.path = f"{directory}/{name}"
        self.fd = _open_own(self.path, os.O_RDWR)
        try:
            self.header = self._checked_header()
        except BaseException:
            os.close(self.fd)
            raise
        self.place = layout.geometry(self.header.capacity)
        self._text_at = self.place.text

    def _checked_header(self) -> Header:
        raw = _read(self.fd, layout.HEADER_SIZE, 0, self.path)
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
        count = _WORD.unpack(_read(self.fd, 4, layout.EVENT_COUNT, self.path))[0]
        if count < known or count > self.place.capacity:
            raise Malformed(self.path, f"claims {count} declarations, of at most {self.place.capacity}")
        end = self.place.text + self.place.text_size
        for _ in range(count - known):
            length, flags = DECLARATION.unpack(_read(self.fd, DECLARATION.size, self._text_at, self.path))
            start = self._text_at + DECLARATION.size
            if length >= MAX_NAME_ARGS_SIZE or start + length > end:
                raise Malformed(self.path, f"a declaration claims {length} bytes", self._text_at)
            text = _read(self.fd, length, start, self.path)
            self._text_at = start + length + -length % 4
            yield Declared(text, flags)

    def words(self, count: int) -> list[int]:
        """Return the first `count` enable words as they stand."""
        return list(unpack_from(f"<{count}I", _read(self.fd, 4 * count, self.place.words, self.path)))

    def write_word(self, index: int, word: int) -> None:
        """Store one enable word."""
        os.pwrite(self.fd, _WORD.pack(word), self.place.words + 4 * index)

    def answers(self, count: int) -> list[tuple[int, int]]:
        """Return (event id, errno) of the first `count` events, as a tracer last answered."""
        raw = _read(self.fd, 4 * count, self.place.answers, self.path)
        return [(value & 0xFFFF, value >> 16) for value in unpack_from(f"<{count}I", raw)]

    def write_answer(self, index: int, event_id: int, errno: int) -> None:
        """Store an event's id (0 if refused) and the errno of its refusal (0 if not)."""
        os.pwrite(self.fd, _WORD.pack(event_id | errno << 16), self.place.answers + 4 * index)

    def counters(self, count: int) -> list[tuple[int, ...]]:
        """Return the counters of the first `count` events, each in the order of COUNTER_NAMES."""
        raw = _read(self.fd, layout.COUNTER_SIZE * count, self.place.counters, self.path)
        names = len(layout.COUNTER_NAMES)
        return [unpack_from(f"<{names}Q", raw, layout.COUNTER_SIZE * index) for index in range(count)]

    def late_answers(self) -> int:
        """Return how many answers came too late for the program that waited."""
        return int.from_bytes(_read(self.fd, 8, layout.LATE_ANSWERS, self.path), "little")

    def ring_wanted(self) -> tuple[int, int]:
        """Return (generation, pages) that the program should use; pages 0: none."""
        generation, pages = layout.TRACER_LINE_STRUCT.unpack(_read(self.fd, 8, layout.RING_GENERATION, self.path))
        return generation, pages

    def set_ring(self, generation: int, pages: int) -> None:
        """Ask the program to use the ring of this generation from its next page on."""
        os.pwrite(self.fd, layout.TRACER_LINE_STRUCT.pack(generation, pages), layout.RING_GENERATION)

    def generation_in_use(self) -> int:
        """Return the generation of the ring the program writes, 0 for none."""
        return int.from_bytes(_read(self.fd, 4, layout.GENERATION_IN_USE, self.path), "little")

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


class Part(NamedTuple):
    """Committed bytes of one page: `data` stands at `offset` of the data of page number `seq`."""

    seq: int
    cpu: int
    ts: int
    offset: int
    data: bytes


class Position(NamedTuple):
    """How far a ring has been read: `offset` bytes of the data of page `seq`, all pages before it whole."""

    seq: int
    offset: int


class RingFile:
    """A ring as its tracer holds it. `position` is how far it was read; `acknowledge` gives the room back.

    Raises `Malformed` for a file that is no ring of this session, `OSError` if it cannot be opened.
    """

    def __init__(self, directory: str, name: str, generation: int, nonce: bytes) -> None:
        self.path = f"{directory}/{layout.ring_name(name, generation)}"
        self.generation = generation
        self.fd = _open_own(self.path, os.O_RDWR)
        try:
            self._check(generation, nonce)
            self.position = self._consumed()
        except BaseException:
            os.close(self.fd)
            raise
        self.acknowledged = self.position
        self._waiting = False

    def _check(self, generation: int, nonce: bytes) -> None:
        raw = _read(self.fd, layout.RING_IDENTITY_STRUCT.size, layout.RING_IDENTITY, self.path)
        magic, version, pages, found, _mode, table, data, owner = layout.RING_IDENTITY_STRUCT.unpack(raw)
        if magic != layout.RING_MAGIC or version != layout.VERSION or found != generation or owner != nonce:
            raise Malformed(self.path, f"is not ring generation {generation} of its session (magic {magic!r})")
        if not pages or pages & (pages - 1) or pages > layout.MAX_RING_PAGES:
            raise Malformed(self.path, f"claims {pages} pages")
        size = os.fstat(self.fd).st_size
        if (table, data) != (layout.RING_TABLE, layout.ring_data_offset(pages)) or size != layout.ring_size(pages):
            raise Malformed(self.path, f"has {size} bytes, which does not go with {pages} pages")
        self.pages: int = pages
        self._data: int = data

    def _consumed(self) -> Position:
        seq, offset = unpack_from("<QQ", _read(self.fd, 16, layout.RING_TAIL, self.path))
        head = self.head()
        if not head - self.pages <= seq <= head or offset > PAGE_DATA_SIZE:
            raise Malformed(self.path, f"was read up to page {seq}, byte {offset}, while page {head} is written")
        return Position(seq, offset)

    def head(self) -> int:
        """Return the number of the page that the program writes now."""
        return int.from_bytes(_read(self.fd, 8, layout.RING_HEAD, self.path), "little")

    def _entry(self, seq: int) -> tuple[int, int]:
        at = layout.RING_TABLE + layout.RING_TABLE_ENTRY.size * (seq & (self.pages - 1))
        raw = _read(self.fd, layout.RING_TABLE_ENTRY.size, at, self.path)
        before: int
        before, cpu, _ = layout.RING_TABLE_ENTRY.unpack(raw)
        return before, min(cpu, 0xFFFF)

    def _page_at(self, seq: int) -> int:
        return self._data + PAGE_SIZE * (seq & (self.pages - 1))

    def _commit(self, page: bytes, seq: int, offset: int) -> tuple[int, int]:
        ts, commit = _PAGE_HEAD.unpack_from(page)
        if commit > PAGE_DATA_SIZE or commit & 3 or commit < offset:
            raise Malformed(self.path, f"page {seq} claims {commit} committed bytes after {offset} were read")
        return ts, commit

    def read(self, budget: int) -> list[Part]:
        """Return what was committed since the last call, about `budget` bytes at most, and move `position` on.

        Raises Malformed when the program's numbers do not hold; the position then stands where it was.
        """
        head = self.head()
        seq, offset = self.position
        if not seq <= head < seq + self.pages:
            raise Malformed(self.path, f"page {head} is written while page {seq} is read, of {self.pages} pages")
        parts: list[Part] = []
        while seq < head and budget > 0:
            run = min(head - seq, _RUN_OF_PAGES, self.pages - (seq & (self.pages - 1)))
            raw = _read(self.fd, run * PAGE_SIZE, self._page_at(seq), self.path)
            for number in range(run):
                start = number * PAGE_SIZE
                ts, commit = self._commit(raw[start : start + PAGE_HEADER_SIZE], seq, offset)
                if commit > offset:
                    data = raw[start + PAGE_HEADER_SIZE + offset : start + PAGE_HEADER_SIZE + commit]
                    parts.append(Part(seq, self._entry(seq)[1], ts, offset, data))
                seq, offset = seq + 1, 0
            budget -= run * PAGE_SIZE
        if seq == head and budget > 0:
            at = self._page_at(seq)
            ts, commit = self._commit(_read(self.fd, PAGE_HEADER_SIZE, at, self.path), seq, offset)
            if commit > offset:
                data = _read(self.fd, commit - offset, at + PAGE_HEADER_SIZE + offset, self.path)
                parts.append(Part(seq, self._entry(seq)[1], ts, offset, data))
                offset = commit
        self.position = Position(seq, offset)
        return parts

    def acknowledge(self, position: Position) -> None:
        """Tell the program that everything before `position` is kept, so that its room may be used again."""
        if position > self.acknowledged:
            self.acknowledged = position
            os.pwrite(
                self.fd, position.seq.to_bytes(8, "little") + position.offset.to_bytes(8, "little"), layout.RING_TAIL
            )

    def set_waiting(self, waiting: bool) -> None:
        """Say whether the tracer sleeps until the program opens a page. Never raises: it is only a hint."""
        if waiting != self._waiting:
            self._waiting = waiting
            try:
                os.pwrite(self.fd, b"\1\0\0\0" if waiting else bytes(4), layout.RING_READER_WAITING)
            except OSError:
                pass

    def records_before(self, position: Position) -> int:
        """Return how many records were committed before `position`."""
        before, _ = self._entry(position.seq)
        return before + sum(1 for _ in self._walk(position)) if position.offset else before

    def time_before(self, position: Position) -> int:
        """Return the time (ns) of the last record before `position` in its page, 0 if there is none."""
        last = 0
        for ts, _, _ in self._walk(position):
            last = ts
        return last

    def _walk(self, position: Position) -> Iterator[tuple[int, int, int]]:
        page = bytearray(_read(self.fd, PAGE_SIZE, self._page_at(position.seq), self.path))
        page[8:16] = position.offset.to_bytes(8, "little")
        return records(bytes(page))

    def fill(self) -> float:
        """Return how full the ring is, 0 to 1."""
        return (self.head() - self.acknowledged.seq) / self.pages

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)
