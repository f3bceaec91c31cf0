"""What describes the events in files of trace-cmd and perf alike: headers, formats, command names; and compression."""

import zlib
from collections.abc import Callable
from shlex import quote
from struct import Struct
from typing import Any, Final, NamedTuple

from ..errors import Malformed
from . import facts
from .cursor import MAX_BLOB, Cursor

MAX_FORMATS: Final = 65536
MAX_CMDLINES: Final = 1 << 23
_SIZES: Final = Struct("<II")

Decompress = Callable[[bytes, int], bytes]
"""Gives the plain form, of this size, of compressed bytes; anything it raises means that they are damaged."""


class Format(NamedTuple):
    """The `format` text of one event, one character a byte."""

    system: str
    text: str


class Descriptions:
    """The formats and command names of a file, as its parts are read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.formats: list[Format] = []
        self.cmdlines: dict[int, str] = {}

    def _read_headers(self, cursor: Cursor) -> None:
        cursor.expect(b"header_page\0", "the page header")
        at = cursor.at
        text = cursor.take(cursor.u64("the size of the page header"), "the page header")
        if b"field: char data;\toffset:16;" not in text:
            raise Malformed(self.name, f"has pages of a layout that cannot be read ({text[:200]!r})", at)
        cursor.expect(b"header_event\0", "the event header")
        cursor.skip(cursor.u64("the size of the event header"), "the event header")

    def _read_ftrace(self, cursor: Cursor) -> None:
        for _ in range(self._count(cursor, MAX_FORMATS, "ftrace formats")):
            self._read_format(cursor, "ftrace")

    def _read_events(self, cursor: Cursor) -> None:
        for _ in range(self._count(cursor, MAX_FORMATS, "systems")):
            system = cursor.name_text("the name of a system")
            for _ in range(self._count(cursor, MAX_FORMATS, "events")):
                self._read_format(cursor, system)

    def _read_format(self, cursor: Cursor, system: str) -> None:
        text = cursor.take(cursor.u64("the size of an event format"), "an event format")
        self.formats.append(Format(system, text.decode("latin-1")))
        self._check_count(len(self.formats), MAX_FORMATS, "event formats", cursor.at)

    def _read_cmdlines(self, cursor: Cursor) -> None:
        size = cursor.u64("the size of the command names")
        text = cursor.take(min(size, MAX_CMDLINES), "the command names")
        for line in text.decode("utf-8", "backslashreplace").splitlines():
            tid, _, comm = line.strip().partition(" ")
            number = facts.id_of(tid)
            if number is not None:
                self.cmdlines[number] = comm
        cursor.skip(size - len(text), "the command names")

    def _count(self, cursor: Cursor, limit: int, what: str) -> int:
        """Read how many there are of something."""
        at = cursor.at
        number = cursor.u32(f"the number of {what}")
        self._check_count(number, limit, what, at)
        return number

    def _check_count(self, number: int, limit: int, what: str, at: int) -> None:
        if number > limit:
            raise Malformed(self.name, f"claims {number} {what}, more than {limit}", at)


def decompressor(compression: str, name: str, at: int) -> Decompress | None:
    """Return what undoes a file's compression, named at byte `at`; None for ``none``.

    Raises `Malformed` with the way out for one that cannot be undone.
    """
    if compression == "none":
        return None
    if compression == "zlib":
        return _inflated
    reason = "which this userevents does not read"
    if compression == "zstd":
        found = _zstd()
        if found is not None:
            return found
        reason = "which needs the package zstandard (pip install 'userevents[zstd]')"
    raise Malformed(
        name,
        f"is compressed with {compression!r}, {reason}; or write it plain: "
        f"trace-cmd convert --compression none -i {quote(name)} -o plain.dat",
        at,
    )


def _inflated(data: bytes, size: int) -> bytes:
    return zlib.decompressobj().decompress(data, size + 1)


def _zstd() -> Decompress | None:
    try:
        import zstandard
    except ImportError:
        return None
    module: Any = zstandard

    def expanded(data: bytes, size: int) -> bytes:
        # What a frame claims is allocated at once: it must not be more than was said before.
        if module.frame_content_size(data) > size:
            raise ValueError("a frame claims more than its chunk")
        found: bytes = module.ZstdDecompressor(max_window_size=1 << 27).decompress(data, max_output_size=size)
        return found

    return expanded


def plain(cursor: Cursor, decompress: Decompress, what: str) -> bytes:
    """Read a compressed piece: u32 compressed size, u32 plain size, data. Raises `Malformed` naming its place."""
    at = cursor.at
    packed_size, size = _SIZES.unpack(cursor.take(_SIZES.size, what))
    if size > MAX_BLOB:
        raise Malformed(cursor.name, f"{what} claims {size} bytes, more than {MAX_BLOB}", at)
    data = cursor.take(packed_size, what)
    try:
        found = decompress(data, size)
    except Exception as error:
        raise Malformed(cursor.name, f"{what} cannot be decompressed: {error}", at) from None
    if len(found) != size:
        raise Malformed(cursor.name, f"{what} claims {size} bytes and has {len(found)}", at)
    return found
