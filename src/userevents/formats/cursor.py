"""Bounds-checked reading of little-endian files: every overrun is `Malformed`, naming the file and the byte."""

import os
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final

from ..errors import Malformed

_U16 = Struct("<H")
_U32 = Struct("<I")
_U64 = Struct("<Q")
MAX_BLOB: Final = 1 << 26
"""Longest piece read into memory at once."""
MAX_NAME: Final = 4096


ReadAt = Callable[[int, int], bytes]
"""Gives up to so many bytes at an offset of a file; fewer only at its end."""


def reader_of(fd: int, name: str) -> ReadAt:
    """Return what reads an open file; an error of it names the file."""

    def read_at(offset: int, size: int) -> bytes:
        try:
            return os.pread(fd, size, offset)
        except OSError as error:
            raise OSError(error.errno, error.strerror, name) from None

    return read_at


class Cursor:
    """A place in a file that moves on as it is read, never past `end`."""

    def __init__(self, read_at: ReadAt, at: int, end: int, name: str) -> None:
        self._read_at = read_at
        self.at = at
        self.end = end
        self.name = name

    def take(self, size: int, what: str) -> bytes:
        """Return the next `size` bytes. Raises Malformed if there are fewer, or too many for one piece."""
        if size > self.end - self.at:
            raise Malformed(self.name, f"{what} claims {size} bytes, {max(self.end - self.at, 0)} are left", self.at)
        if size > MAX_BLOB:
            raise Malformed(self.name, f"{what} claims {size} bytes, more than {MAX_BLOB}", self.at)
        data = self._read_at(self.at, size)
        if len(data) != size:
            raise Malformed(self.name, f"{what} is cut", self.at + len(data))
        self.at += size
        return data

    def skip(self, size: int, what: str) -> None:
        """Move on over `size` bytes."""
        if size > self.end - self.at:
            raise Malformed(self.name, f"{what} claims {size} bytes, {max(self.end - self.at, 0)} are left", self.at)
        self.at += size

    def u16(self, what: str) -> int:
        """Return a 16-bit number."""
        return int(_U16.unpack(self.take(2, what))[0])

    def u32(self, what: str) -> int:
        """Return a 32-bit number."""
        return int(_U32.unpack(self.take(4, what))[0])

    def u64(self, what: str) -> int:
        """Return a 64-bit number."""
        return int(_U64.unpack(self.take(8, what))[0])

    def name_text(self, what: str) -> str:
        """Return text up to its NUL, one character a byte."""
        data = self._read_at(self.at, min(MAX_NAME, max(self.end - self.at, 0)))
        text, nul, _ = data.partition(b"\0")
        if not nul:
            raise Malformed(self.name, f"{what} has no end", self.at)
        self.at += len(text) + 1
        return text.decode("latin-1")

    def expect(self, wanted: bytes, what: str) -> None:
        """Move on over bytes that must stand here."""
        at = self.at
        found = self.take(len(wanted), what)
        if found != wanted:
            raise Malformed(self.name, f"{what} should be {wanted!r} and is {found!r}", at)


def varint_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protocol-buffer message, numbers and byte strings; what makes no sense ends it."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value: int | bytes
            value, at = _varint(data, at)
        elif tag & 7 == 2:
            size, at = _varint(data, at)
            value = data[at : at + size]
            at += size
        elif tag & 7 in (1, 5):
            size = 8 if tag & 7 == 1 else 4
            value = int.from_bytes(data[at : at + size], "little")
            at += size
        else:
            return
        if at > len(data):
            return
        yield tag >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the varint at a place and where it ends; beyond the data if it has no end."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    return 0, len(data) + 1
