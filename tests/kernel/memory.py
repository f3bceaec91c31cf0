"""Fake address spaces: pages that are there, absent, copied on write, shared, read-only or not mapped at all."""

from typing import Final

from userevents.engine import Fault
from userevents.testing.fakes import PAGE, FakeMemory, Page

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


class Space(FakeMemory):
    """The address space of a process of the vectors."""

    def __init__(self) -> None:
        super().__init__()
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
