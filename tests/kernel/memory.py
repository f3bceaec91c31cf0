"""Fake address spaces: pages that are there, absent, copied on write, shared, read-only or not mapped at all."""

from collections.abc import Iterator
from typing import Final

from userevents.engine import Fault

PAGE: Final = 4096
SCRATCH: Final = 0x10000000
"""Where a process keeps the structures and texts of its calls."""
SCRATCH_SIZE: Final = 12 * PAGE

AREAS: Final = {
    "word": 0x20000000,
    "fresh": 0x21000000,
    "shared": 0x22000000,
    "ro": 0x23000000,
    "none": 0x24000000,
    "unmapped": 0x25000000,
    "null": 0,
    "kernel": 0xFFFF888000000000,
    "noncanon": 0x0000800000000000,
    "top": 0x00007FFFFFFFF000,
}
"""The named areas of every process; the ones that are mapped have two pages."""


class Died(Exception):
    """The process touched memory that it may not: a real one would be dead."""


class Page:
    """One page as one process sees it. `data` is the same object where a page is shared."""

    def __init__(self, data: bytearray, *, read: bool = True, write: bool = True, present: bool = True) -> None:
        self.data = data
        self.read = read
        self.write = write
        self.present = present
        """Whether a write reaches it at once; else it must be faulted in first (never touched, or shared by fork)."""
        self.shared = False


class Space:
    """One address space; the engine's `UserMemory`."""

    def __init__(self) -> None:
        self.pages: dict[int, Page] = {}
        for number in range(SCRATCH // PAGE, (SCRATCH + SCRATCH_SIZE) // PAGE):
            self.pages[number] = Page(bytearray(PAGE))
        for name, present, read, write in (
            ("word", True, True, True),
            ("fresh", False, True, True),
            ("shared", True, True, True),
            ("ro", False, True, False),
            ("none", False, False, False),
        ):
            for number in (AREAS[name] // PAGE, AREAS[name] // PAGE + 1):
                self.pages[number] = Page(bytearray(PAGE), read=read, write=write, present=present)
                self.pages[number].shared = name == "shared"

    def fork(self) -> "Space":
        """The child's memory: shared pages are the same, the others are copied when either side writes."""
        child = Space.__new__(Space)
        child.pages = {}
        for number, page in self.pages.items():
            data = page.data if page.shared else bytearray(page.data)
            copy = child.pages[number] = Page(data, read=page.read, write=page.write, present=False)
            copy.shared = page.shared
            page.present = page.present and page.shared
        return child

    # What the engine calls.

    def write_bit(self, addr: int, bit: int, size: int, on: bool) -> None:
        """Set or clear one bit of a word; faults unless its page can be written at once."""
        page = self.pages.get(addr // PAGE)
        if page is None or not page.present or not page.write:
            raise Fault
        at = addr % PAGE + bit // 8
        mask = 1 << bit % 8
        page.data[at] = page.data[at] | mask if on else page.data[at] & ~mask

    def fault_in(self, addr: int) -> None:
        """Make a page writable at once, where it may be written."""
        page = self.pages.get(addr // PAGE)
        if page is None or not page.write:
            raise Fault
        page.present = True

    def read(self, addr: int, size: int) -> bytes:
        """Bytes, which may go over several pages."""
        return b"".join(self._piece(page, at, length, page.read) for page, at, length in self._pieces(addr, size))

    def write(self, addr: int, data: bytes) -> None:
        """Store bytes."""
        done = 0
        for page, at, length in self._pieces(addr, len(data)):
            if not page.write:
                raise Fault
            page.data[at : at + length] = data[done : done + length]
            page.present = True
            done += length

    # What the process itself does.

    def load(self, addr: int, size: int) -> int:
        """Read a little-endian number, or die."""
        try:
            return int.from_bytes(self.read(addr, size), "little")
        except Fault:
            raise Died from None

    def store(self, addr: int, value: int, size: int) -> None:
        """Write a little-endian number, or die."""
        try:
            self.write(addr, value.to_bytes(size, "little"))
        except Fault:
            raise Died from None

    def readable(self, addr: int, size: int) -> bytes:
        """The bytes up to the first that cannot be read."""
        data = b""
        while len(data) < size:
            room = min(size - len(data), PAGE - (addr + len(data)) % PAGE)
            try:
                data += self.read(addr + len(data), room)
            except Fault:
                break
        return data

    def protect(self, addr: int, *, write: bool) -> bool:
        """mprotect of one page; False when it is not mapped."""
        page = self.pages.get(addr // PAGE)
        if page is None:
            return False
        page.write = write
        page.read = True
        return True

    def unmap(self, addr: int) -> None:
        """munmap of one page."""
        self.pages.pop(addr // PAGE, None)

    def map(self, addr: int, *, write: bool) -> None:
        """mmap of one fresh page at a place."""
        self.pages[addr // PAGE] = Page(bytearray(PAGE), write=write, present=False)

    def _pieces(self, addr: int, size: int) -> Iterator[tuple[Page, int, int]]:
        while size > 0:
            page = self.pages.get(addr // PAGE)
            if page is None:
                raise Fault
            length = min(size, PAGE - addr % PAGE)
            yield page, addr % PAGE, length
            addr, size = addr + length, size - length

    @staticmethod
    def _piece(page: Page, at: int, length: int, may: bool) -> bytes:
        if not may:
            raise Fault
        return bytes(page.data[at : at + length])
