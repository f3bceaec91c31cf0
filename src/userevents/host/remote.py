"""The memory of other processes: read what an ioctl points to, and set the enable bits, as the kernel would.

`process_vm_readv` and `process_vm_writev` do what the owner of the pages may do: a word on a read-only page is a
fault. An open ``/proc/PID/mem`` stays with the memory it was opened on, so that after an exec a bit is not
written into the program that came after (a registration looks for that when it begins, and not again). Where the
calls are forbidden, that file does all (`memory_file`). Where a `Guard` is given, nothing is waited for longer than it
allows.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from struct import Struct
from types import ModuleType
from typing import Final, TypeVar

from ..engine import Fault
from . import memory_file
from .errand import Late
from .guard import Guard
from .process import ptrace_scope

native: ModuleType | None
try:
    from . import _memory as native  # type: ignore[attr-defined, no-redef, unused-ignore]
except (ImportError, SystemError):  # not built or not wanted; SystemError: a free-threaded Python before 3.14
    native = None

T = TypeVar("T")

_PAGE: Final = 4096
ADDRESS_END: Final = 1 << 63
"""What pread takes; no program has memory up there."""
BUFFER_SIZE: Final = 4096
"""The most that is moved at once."""
_VECTOR: Final = Struct("@PN")
"""struct iovec."""
_VECTORS: Final = Struct("@PNPNPN")
"""Three of them: here, there, and where else there."""
_Arguments = tuple[ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
_PIECES: Final = 4
"""Which of them says how many pieces there are."""
_libc = ctypes.CDLL(None)
_readv, _writev = _libc.process_vm_readv, _libc.process_vm_writev
_readv.restype = _writev.restype = ctypes.c_ssize_t  # arguments are ready-made: converting them takes a third of a call


class RemoteMemory:
    """The address space of one process. Not thread safe. Every failure is a `Fault`."""

    def __init__(self, pid: int, guard: Guard | None = None) -> None:
        self.pid = pid
        self.guard = guard
        self._buffer = bytearray(BUFFER_SIZE)
        self._vectors = bytearray(_VECTORS.size)
        self._buffer_at = _address(self._buffer)
        self._one, self._two = _arguments(pid, self._vectors, 1), _arguments(pid, self._vectors, 2)
        self._by_file = memory_file.is_needed()
        self._native = None if self._by_file else native
        try:
            self._fd = os.open(f"/proc/{pid}/mem", (os.O_RDWR if self._by_file else os.O_RDONLY) | os.O_CLOEXEC)
        except OSError:
            self._fd = -1

    @property
    def readable(self) -> bool:
        """Whether we may look at this memory at all."""
        return self._fd >= 0

    def is_gone(self, addr: int = 0) -> bool:
        """Whether the process went on to another program, or ended; `addr` may be any address."""
        if self._fd < 0:
            return True
        try:
            return not self._pread(addr)
        except (OSError, OverflowError):
            return False  # that address is not mapped in a memory that is still there

    def close(self) -> None:
        """Let go of the memory."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, addr: int, size: int) -> bytes:
        """The `size` bytes at `addr`."""
        if self._native is not None and self.guard is None:
            found: bytes | None = None
            if self._fd >= 0 and addr < ADDRESS_END and size <= BUFFER_SIZE:
                found = self._native.read(self.pid, addr, size)
            if found is None:
                raise Fault
            return found
        self._transfer(_readv, addr, size)
        return bytes(self._buffer[:size])

    def gather(self, pieces: Sequence[tuple[int, int]]) -> bytes:
        """The bytes of pieces (address, size), one behind the other: `BUFFER_SIZE` at most, of 1,024 pieces at most."""
        whole = sum(size for _, size in pieces)
        if self._fd < 0 or whole > BUFFER_SIZE or any(addr >= ADDRESS_END for addr, _ in pieces):
            raise Fault
        vectors = bytearray(b"".join(_VECTOR.pack(*piece) for piece in ((self._buffer_at, whole), *pieces)))
        arguments = _arguments(self.pid, vectors, len(pieces))
        if whole and self._call(_readv, arguments, vectors) != whole:
            raise Fault
        return bytes(self._buffer[:whole])

    def write(self, addr: int, data: bytes) -> None:
        """Store `data` at `addr`."""
        if len(data) > BUFFER_SIZE:
            raise Fault
        if self._native is not None and self.guard is None:
            if self._fd < 0 or addr >= ADDRESS_END or not self._native.write(self.pid, addr, data):
                raise Fault
            return
        self._buffer[: len(data)] = data
        self._transfer(_writev, addr, len(data))

    def read_both(self, addr: int, size: int, other: int) -> tuple[bytes, int | None]:
        """The `size` bytes at `addr`, and the byte at `other`: None where that is not to be had along with them.

        Guarded memory is not touched before its time: a byte that never comes would keep what comes before it.
        """
        if self._native is not None and self.guard is None:
            if self._fd >= 0 and addr < ADDRESS_END and other < ADDRESS_END and size < BUFFER_SIZE:
                both: tuple[bytes, int] | None = self._native.read_both(self.pid, addr, size, other)
                if both is not None:
                    return both
        elif self.guard is None and self._move(_readv, addr, size, other, 1) == size + 1:
            return bytes(self._buffer[:size]), self._buffer[size]
        return self.read(addr, size), None

    def read_registration(self, addr: int, size: int, limit: int) -> tuple[int, int, int, int, str, int] | None:
        """What a ``user_reg`` of that size says, all of it at once; None where it takes more than that."""
        if self._native is None or self.guard is not None or self._fd < 0:
            return None
        found: tuple[int, int, int, int, str, int] | None = self._native.read_registration(self.pid, addr, size, limit)
        return found

    def write_both(self, addr: int, byte: int, other: int, data: bytes) -> None:
        """Store a byte at `addr`, then `data` at `other`; a `Fault` is the byte's: whether `data` went is not told."""
        if self._native is not None and self.guard is None:
            is_there = self._fd >= 0 and addr < ADDRESS_END and other < ADDRESS_END and len(data) < BUFFER_SIZE
            if not is_there or not self._native.write_both(self.pid, addr, byte, other, data):
                raise Fault
            return
        self._buffer[0] = byte
        self._buffer[1 : 1 + len(data)] = data
        if self._move(_writev, addr, 1, other, len(data)) < 1:
            raise Fault

    def write_bit(self, addr: int, bit: int, size: int, on: bool) -> None:
        """Set or clear one bit; the one byte that holds it is written, no other.

        The neighbouring bits of that byte are written back as they were read: a program that changes them in
        between loses that change. (The kernel writes the bit alone.)
        """
        at = addr + (bit >> 3)
        if self._fd < 0 or at >= ADDRESS_END:
            raise Fault
        try:
            byte = self._pread(at)
        except OSError:
            raise Fault from None
        if not byte:
            raise Fault
        mask = 1 << (bit & 7)
        self.write(at, bytes((byte[0] | mask if on else byte[0] & ~mask,)))

    def bit(self, addr: int, bit: int) -> int | None:
        """One bit as it is now; None where it cannot be read."""
        try:
            return self.read(addr + (bit >> 3), 1)[0] >> (bit & 7) & 1
        except Fault:
            return None

    def fault_in(self, addr: int) -> None:
        """Make the word at `addr` writable: what cannot be written at once cannot be written by us at all."""
        self.write(addr, self.read(addr, 1))

    def _transfer(self, call: "ctypes._NamedFuncPointer", addr: int, size: int) -> None:
        if self._fd < 0 or addr >= ADDRESS_END or size > BUFFER_SIZE:
            raise Fault
        _VECTORS.pack_into(self._vectors, 0, self._buffer_at, size, addr, size, 0, 0)
        if size and self._call(call, self._one, self._vectors) != size:
            raise Fault

    def _move(self, call: "ctypes._NamedFuncPointer", addr: int, size: int, other: int, more: int) -> int:
        """Transfer two pieces in one call; returns how many bytes of both were, -1 for none."""
        whole = size + more
        if self._fd < 0 or addr >= ADDRESS_END or other >= ADDRESS_END or whole > BUFFER_SIZE:
            return -1
        _VECTORS.pack_into(self._vectors, 0, self._buffer_at, whole, addr, size, other, more)
        return self._call(call, self._two, self._vectors)

    def _call(self, call: "ctypes._NamedFuncPointer", arguments: _Arguments, vectors: bytearray) -> int:
        """Make one of the two calls; whoever is late keeps what the kernel may still store to."""

        def move() -> int:
            if self._by_file:
                pieces = list(_VECTOR.iter_unpack(vectors))[1 : 1 + arguments[_PIECES].value]
                return memory_file.move(self._fd, self.pid, self._buffer, pieces, writes=call is _writev)
            moved: int = call(*arguments)
            return moved

        return move() if self.guard is None else self._guarded(self.guard, move)

    def _pread(self, addr: int) -> bytes:
        """The byte at `addr`; empty once the memory is gone. Raises `OSError` where there is none."""
        if self.guard is None:
            return os.pread(self._fd, 1, addr)
        return self._guarded(self.guard, lambda: os.pread(self._fd, 1, addr))

    def _guarded(self, guard: Guard, call: Callable[[], T]) -> T:
        """Make a call that touches the memory; one that was late is the last (and has what it needs for ever)."""
        try:
            return guard.run(self.pid, call)
        except Late:
            self.close()
            raise Fault from None


def read_text(pid: int, addr: int, limit: int) -> bytes | None:
    """The NUL-terminated text at `addr`; None where it cannot be read, or has no NUL among its first `limit` bytes."""
    memory, text = RemoteMemory(pid), b""
    try:
        while len(text) < limit:
            piece, nul, _ = memory.read(addr, _PAGE - addr % _PAGE).partition(b"\0")
            text += piece
            if nul:
                return text
            addr += _PAGE - addr % _PAGE
    except Fault:
        pass
    finally:
        memory.close()
    return None


def out_of_reach(pid: int) -> str | None:
    """Return why the memory of a process that we started is out of our reach, and the way out; None if it is not."""
    try:
        with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps:
            addr = int(maps.readline().partition("-")[0], 16)
        with open(f"/proc/{pid}/mem", "rb+", buffering=0):
            pass
        memory = RemoteMemory(pid)
        try:
            memory.read(addr, 1)
        finally:
            memory.close()
    except (OSError, Fault, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else "it cannot be read"
        return f"{told}; {_way_to_memory()}"
    return None


def _way_to_memory() -> str:
    scope = ptrace_scope()
    if scope:
        who = "forbids it to everybody until the machine starts anew" if scope > 2 else "leaves it to root"
        return f"kernel.yama.ptrace_scope is {scope}, which {who}" + ("" if scope > 2 else "; 1 would do")
    return "a sandbox around us forbids it; in a container --cap-add SYS_PTRACE"


def _arguments(pid: int, vectors: bytearray, pieces: int) -> _Arguments:
    """What both calls take, for so many pieces there."""
    here, at, count = _address(vectors), ctypes.c_void_p, ctypes.c_ulong
    return ctypes.c_int(pid), at(here), count(1), at(here + _VECTOR.size), count(pieces), count(0)


def _address(buffer: bytearray) -> int:
    """Where the bytes of a buffer stand; they stay there, since it never changes its size from then on."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
