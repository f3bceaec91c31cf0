"""The tracing tree in this process, and simulated processes that use it by the kernel's contract: no file, no thread.

For unit tests of producers and tools: every ioctl and write is the real thing, on bytes in a `FakeMemory`.
"""

import itertools
import struct
from typing import NamedTuple

from ..abi import tracefs as abi
from ..abi import user_events as uapi
from ..engine import PROFILES, Caller, Group, UserEventMm, Writer
from ..instance import Machine
from ..tracefs import OpenNode, PlainSystem
from ..tracefs import Tree as AnyTree
from .fakes import FakeClock, FakeMemory

_ROOT = Caller(0, 0, perfmon=True)
_SCRATCH = 0x10000
_WORDS = 0x20000
_TEXT = 64
"""Where in the scratch page a registration's text lies, behind its structure."""


class Registration(NamedTuple):
    """One event of a process: what to begin its writes with, and where its enable bit is."""

    write_index: int
    addr: int
    bit: int


class Tree(AnyTree):
    """An empty tracing tree as a freshly booted kernel has it; `profile` is ``v6.12`` or ``v6.4``.

    >>> tree = Tree()
    >>> shop = tree.process("shop")
    >>> sold = shop.register("sold u32 id")
    >>> shop.is_enabled(sold)
    False
    >>> tree.echo("events/user_events/sold/enable", "1")
    1
    >>> shop.is_enabled(sold), shop.write(sold, bytes([7, 0, 0, 0]))
    (True, 8)
    >>> tree.cat("trace").splitlines()[-1].strip()
    'shop-1000    [000] .....     0.000000: sold: id=0x7 (7)'
    """

    def __init__(self, *, profile: str = "v6.12", clock: FakeClock | None = None, group: Group | None = None) -> None:
        self.clock = clock if clock is not None else FakeClock()
        system = PlainSystem(group if group is not None else Group(PROFILES[profile]), Machine(clock=self.clock))
        super().__init__(system)
        self._pids = itertools.count(1000)

    def process(self, name: str, caller: Caller = _ROOT) -> "Process":
        """A new process that has ``user_events_data`` open."""
        return Process(self, next(self._pids), name, caller)

    def cat(self, path: str, caller: Caller = _ROOT) -> str:
        """Read a file to its end, in small pieces; kernel text, one character a byte. Raises `Refused`."""
        node = self.open(path, abi.O_RDONLY, caller)
        try:
            pieces = []
            while piece := node.read(7):
                pieces.append(piece)
            return b"".join(pieces).decode("latin-1")
        finally:
            node.close()

    def echo(self, path: str, text: str | bytes, flags: int = 0, caller: Caller = _ROOT) -> int:
        """Write to a file, without truncating it unless `flags` say so; the bytes taken. Raises `Refused`."""
        node = self.open(path, abi.O_WRONLY | flags, caller)
        try:
            return node.write(text if isinstance(text, bytes) else text.encode("latin-1"))
        finally:
            node.close()


class Process:
    """A simulated process: memory, an open ``user_events_data``, and the calls of the contract. The engine's `Task`."""

    def __init__(self, tree: Tree, pid: int, name: str, caller: Caller) -> None:
        self.pid = pid
        self.caller = caller
        self.memory = FakeMemory()
        self.memory.map(_SCRATCH)
        self.mm: UserEventMm | None = None
        self.writer = Writer(pid, pid, name[:15], 0)
        self._tree = tree
        self._file: OpenNode = tree.open("user_events_data", abi.O_RDWR, caller, self)
        self._registered = 0

    def register(self, text: str, *, flags: int = 0, bit: int = 0, addr: int | None = None) -> Registration:
        """DIAG_IOCSREG with an enable word of 4 bytes, a new one unless `addr` is given. Raises `Refused`."""
        if addr is None:
            addr = _WORDS + 4 * self._registered
            self._registered += 1
        if addr // uapi.PAGE_SIZE not in self.memory.pages:
            self.memory.map(addr)
        self._put_text(text)
        asked = struct.pack(uapi.USER_REG, uapi.USER_REG_SIZE, bit, 4, flags, addr, _SCRATCH + _TEXT, 0)
        self.memory.write(_SCRATCH, asked)
        self._file.ioctl(uapi.DIAG_IOCSREG, _SCRATCH, self)
        return Registration(self.memory.word(_SCRATCH + uapi.USER_REG_WRITE_INDEX_OFFSET), addr, bit)

    def is_enabled(self, registration: Registration) -> bool:
        """Whether the event's bit is set in this process's memory."""
        return bool(self.memory.word(registration.addr) >> registration.bit & 1)

    def write(self, registration: Registration, payload: bytes) -> int:
        """Write one event; the bytes taken, its index included. Raises `Refused`: EBADF while nobody listens (6.12)."""
        return self._file.write(struct.pack("<I", registration.write_index) + payload)

    def unregister(self, registration: Registration) -> None:
        """DIAG_IOCSUNREG. Raises `Refused`."""
        asked = (uapi.USER_UNREG_SIZE, registration.bit, 0, 0, registration.addr)
        self.memory.write(_SCRATCH, struct.pack(uapi.USER_UNREG, *asked))
        self._file.ioctl(uapi.DIAG_IOCSUNREG, _SCRATCH, self)

    def delete(self, name: str) -> None:
        """DIAG_IOCSDEL. Raises `Refused`: EBUSY while somebody holds the event."""
        self._put_text(name)
        self._file.ioctl(uapi.DIAG_IOCSDEL, _SCRATCH + _TEXT, self)

    def exit(self) -> None:
        """End: the process lets go of memory and file, and what nobody holds any more deletes itself."""
        if self.mm is not None:
            self.mm.exit()
            self.mm = None
        self._file.close()
        self._tree.system.group.run_work()

    def _put_text(self, text: str) -> None:
        self.memory.write(_SCRATCH + _TEXT, text.encode("latin-1") + b"\0")
