"""A clock that stands still and memory that faults when told to: what the rooms without I/O take from a test."""

from collections.abc import Iterator
from typing import Final, Self

from ..engine import Fault

PAGE: Final = 4096


class FakeClock:
    """Time that goes on only when told to. Every trace clock shows the same, in ns.

    Hand it to whatever takes a clock: it is called with a trace clock's name, or with nothing.

    >>> clock = FakeClock(5)
    >>> clock.advance(10)
    >>> clock("mono"), clock()
    (15, 15)
    """

    def __init__(self, now_ns: int = 0) -> None:
        self.now_ns = now_ns

    def __call__(self, clock: str = "mono") -> int:
        """The time, ns."""
        return self.now_ns

    def advance(self, ns: int) -> None:
        """Let `ns` nanoseconds pass; raises ValueError for a negative number, since time does not go back."""
        if ns < 0:
            raise ValueError(f"time does not go back: {ns} ns")
        self.now_ns += ns


class Page:
    """One page as one process sees it. `data` is the same object where a page is shared."""

    def __init__(self, data: bytearray, *, read: bool = True, write: bool = True, present: bool = True) -> None:
        self.data = data
        self.read = read
        self.write = write
        self.present = present
        """Whether a write reaches it at once; else it must be faulted in first (never touched, or shared by fork)."""
        self.shared = False


class FakeMemory:
    """One address space in pages of 4096 bytes, nothing mapped at first; the engine's `UserMemory`.

    >>> memory = FakeMemory()
    >>> memory.map(0x1000)
    >>> memory.write(0x1ffe, b"ab")
    >>> memory.read(0x1ffe, 2), memory.word(0x1ffe, 2)
    (b'ab', 25185)
    """

    def __init__(self) -> None:
        self.pages: dict[int, Page] = {}

    def fork(self) -> Self:
        """The child's memory: shared pages are the same, the others are copied when either side writes."""
        child = type(self).__new__(type(self))
        child.pages = {}
        for number, page in self.pages.items():
            data = page.data if page.shared else bytearray(page.data)
            copy = child.pages[number] = Page(data, read=page.read, write=page.write, present=False)
            copy.shared = page.shared
            page.present = page.present and page.shared
        return child

    # What the engine calls.

    def write_bit(self, addr: int, bit: int, size: int, on: bool) -> None:
        """Set or clear one bit of a word; raises `Fault` unless its page can be written at once."""
        page = self.pages.get(addr // PAGE)
        if page is None or not page.present or not page.write:
            raise Fault
        at = addr % PAGE + bit // 8
        mask = 1 << bit % 8
        page.data[at] = page.data[at] | mask if on else page.data[at] & ~mask

    def fault_in(self, addr: int) -> None:
        """Make a page writable at once; raises `Fault` where it may not be written."""
        page = self.pages.get(addr // PAGE)
        if page is None or not page.write:
            raise Fault
        page.present = True

    def read(self, addr: int, size: int) -> bytes:
        """Bytes, which may go over several pages; raises `Fault` where one cannot be read."""
        return b"".join(self._piece(page, at, length) for page, at, length in self._pieces(addr, size))

    def write(self, addr: int, data: bytes) -> None:
        """Store bytes; raises `Fault` where one cannot be stored, with those before it stored."""
        done = 0
        for page, at, length in self._pieces(addr, len(data)):
            if not page.write:
                raise Fault
            page.data[at : at + length] = data[done : done + length]
            page.present = True
            done += length

    def read_registration(self, addr: int, size: int, limit: int) -> None:
        """Nothing is read in one go here."""

    def read_both(self, addr: int, size: int, other: int) -> tuple[bytes, int | None]:
        """`read`, and the byte at `other`; None where that cannot be read."""
        data = self.read(addr, size)
        try:
            return data, self.read(other, 1)[0]
        except Fault:
            return data, None

    def write_both(self, addr: int, byte: int, other: int, data: bytes) -> None:
        """Store a byte, on a page that can be written at once, else raise `Fault`; then `data` as far as that goes."""
        page = self.pages.get(addr // PAGE)
        if page is None or not page.present or not page.write:
            raise Fault
        page.data[addr % PAGE] = byte
        try:
            self.write(other, data)
        except Fault:
            pass

    # What the process does, or a test in its place.

    def word(self, addr: int, size: int = 4) -> int:
        """The little-endian number of `size` bytes at `addr`; raises `Fault` as `read` does."""
        return int.from_bytes(self.read(addr, size), "little")

    def map(self, addr: int, *, write: bool = True, present: bool = True) -> None:
        """Map one fresh page where `addr` lies; one that is not `present` must be faulted in before a bit is set."""
        self.pages[addr // PAGE] = Page(bytearray(PAGE), write=write, present=present)

    def unmap(self, addr: int) -> None:
        """Take a page away (munmap)."""
        self.pages.pop(addr // PAGE, None)

    def protect(self, addr: int, *, write: bool) -> bool:
        """Change whether a page may be written (mprotect); False when it is not mapped."""
        page = self.pages.get(addr // PAGE)
        if page is None:
            return False
        page.write = write
        page.read = True
        return True

    def _pieces(self, addr: int, size: int) -> Iterator[tuple[Page, int, int]]:
        while size > 0:
            page = self.pages.get(addr // PAGE)
            if page is None:
                raise Fault
            length = min(size, PAGE - addr % PAGE)
            yield page, addr % PAGE, length
            addr, size = addr + length, size - length

    @staticmethod
    def _piece(page: Page, at: int, length: int) -> bytes:
        if not page.read:
            raise Fault
        return bytes(page.data[at : at + length])
