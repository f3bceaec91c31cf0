"""``user_events_data``: the three ioctls with their structures, and writing events.

Each opening has a table of events of its own (`OpenFile`). A structure is copied from the caller's memory, and
every check comes in the kernel's order, since callers can tell which of two mistakes was seen first.

Source: user_events contract, abi.md sections 1 to 5, write.md sections 1 and 2.
"""

import errno
import struct
from collections.abc import Callable
from typing import ClassVar, Final

from ..abi import tracefs as abi
from ..abi import user_events as uapi
from ..engine import Fault, OpenFile, Task, UserMemory, Writer
from ..errors import Refused
from ..instance import Sink, find_sink, lose_records
from .node import File, OpenNode, WriteCall

_REG: Final = struct.Struct(uapi.USER_REG)
_UNREG: Final = struct.Struct(uapi.USER_UNREG)
_SIZE: Final = struct.Struct("<I")


class UserEventsData(File):
    """``user_events_data``."""

    mode: ClassVar[int] = abi.MODE_WRITE
    is_synchronous: ClassVar[bool] = False

    def opened(self, node: OpenNode) -> None:
        """Begin with an empty table; truncating changes nothing."""
        node.state = self.place.system.group.open_file(_label(node))

    def closed(self, node: OpenNode, *, aborted: bool) -> None:
        """The final close: every event registered here loses a reference."""
        _table(node).close()

    def read(self, node: OpenNode, size: int, offset: int | None) -> bytes:
        """EINVAL: there is nothing to read."""
        raise Refused(errno.EINVAL, f"'{node.path}' cannot be read")

    def seek(self, node: OpenNode, offset: int) -> int:
        """ESPIPE: there are no positions."""
        raise Refused(errno.ESPIPE, f"'{node.path}' has no positions")

    def write_call(self, node: OpenNode, data: bytes, call: WriteCall) -> int:
        """Write one event: a 4-byte index, then the payload.

        Source: user_events contract, write.md section 2.
        """
        if call.offset:
            raise Refused(errno.EFAULT, f"a write at offset {call.offset}; '{node.path}' has no positions")
        if call.task is None:
            raise Refused(errno.EOPNOTSUPP, "this door cannot say who writes, so it cannot write events")
        size = len(data) if call.size is None else call.size
        return self.place.system.group.write(_table(node), data, size, call.task.writer)

    def sink(self, node: OpenNode, index: int, writer: Writer) -> Sink | None:
        """The short way of one event's payloads."""
        events = _table(node).events
        return find_sink(events[index], writer) if 0 <= index < len(events) else None

    def lose(self, node: OpenNode, index: int, writer: Writer) -> None:
        """Count it wherever it would have been kept."""
        events = _table(node).events
        if 0 <= index < len(events):
            lose_records(events[index], writer, 1)

    def ioctl(self, node: OpenNode, command: int, argument: int, task: Task) -> int:
        """Register, unregister or delete."""
        run = _COMMANDS.get(command)
        if run is None:
            raise Refused(errno.ENOTTY, f"'{node.path}' knows no ioctl 0x{command:x}")
        run(self, node, argument, task)
        return 0

    def register(self, node: OpenNode, argument: int, task: Task) -> None:
        """DIAG_IOCSREG.

        Source: user_events contract, abi.md section 5.1.
        """
        group, table = self.place.system.group, _table(node)
        index_at = argument + uapi.USER_REG_WRITE_INDEX_OFFSET
        found = task.memory.read_registration(argument, uapi.USER_REG_SIZE, uapi.MAX_NAME_ARGS_SIZE)
        if found is not None:
            bit, size, flags, addr, text, byte = found
            call = _Registration(task.memory, 0, addr, bit, size, index_at, text, byte)
            group.register_task(table, task, call, addr=addr, bit=bit, size=size, flags=flags)
            return
        try:
            raw = _copy_struct(task.memory, argument, uapi.USER_REG_SIZE)
        except Refused as refused:
            group.tell_refused("", table.label, refused)
            raise
        _, bit, size, flags, addr, name_addr, _ = _REG.unpack(raw)
        call = _Registration(task.memory, name_addr, addr, bit, size, index_at)
        group.register_task(table, task, call, addr=addr, bit=bit, size=size, flags=flags)

    def unregister(self, node: OpenNode, argument: int, task: Task) -> None:
        """DIAG_IOCSUNREG; any open `user_events_data` will do.

        Source: user_events contract, abi.md section 5.2.
        """
        raw = _copy_struct(task.memory, argument, uapi.USER_UNREG_SIZE)
        _, bit, reserved, reserved2, addr = _UNREG.unpack(raw)
        if reserved or reserved2:
            raise Refused(errno.EINVAL, f"reserved fields hold {reserved} and {reserved2}; they must be 0")
        if task.mm is None:
            raise Refused(errno.ENOENT, f"bit {bit} of address 0x{addr:x}: this thread has registered nothing")
        self.place.system.group.unregister(task.mm, addr, bit)

    def delete(self, node: OpenNode, argument: int, task: Task) -> None:
        """DIAG_IOCSDEL.

        Source: user_events contract, abi.md section 5.3.
        """
        name = _copy_text(task.memory, argument)
        self.place.system.group.delete(name, task.caller)


class _Registration:
    """What one DIAG_IOCSREG reads and writes beyond its structure, with as few calls as can be.

    The byte with the bit comes along with the text, and goes with the write index.
    """

    __slots__ = ("_addr", "_bit", "_byte", "_index_at", "_memory", "_name_addr", "_size", "_text")

    def __init__(
        self,
        memory: UserMemory,
        name_addr: int,
        addr: int,
        bit: int,
        size: int,
        index_at: int,
        text: str | None = None,
        byte: int | None = None,
    ) -> None:
        self._text = text
        self._memory = memory
        self._name_addr = name_addr
        self._addr = addr
        self._bit = bit
        self._size = size
        self._index_at = index_at
        self._byte = byte
        """What the byte with the bit was; None where that is not known."""

    def text(self) -> str:
        """The declaration; most end within the first piece."""
        if self._text is not None:
            return self._text
        room = _room(self._name_addr, 0)
        try:
            piece, self._byte = self._memory.read_both(self._name_addr, room, self._addr + (self._bit >> 3))
        except Fault:
            raise _unreadable(self._name_addr, room) from None
        return _copy_text(self._memory, self._name_addr, piece)

    def store(self, index: int, on: bool) -> None:
        """Write the bit, then the index; where that cannot be written the registration stands, as in the kernel."""
        told, byte = _SIZE.pack(index), self._byte
        if byte is not None:
            self._byte = None  # the next attempt looks anew
            mask = 1 << (self._bit & 7)
            byte = byte | mask if on else byte & ~mask
            self._memory.write_both(self._addr + (self._bit >> 3), byte, self._index_at, told)
            return
        self._memory.write_bit(self._addr, self._bit, self._size, on)
        try:
            self._memory.write(self._index_at, told)
        except Fault:
            pass


_COMMANDS: Final[dict[int, Callable[[UserEventsData, OpenNode, int, Task], None]]] = {
    uapi.DIAG_IOCSREG: UserEventsData.register,
    uapi.DIAG_IOCSUNREG: UserEventsData.unregister,
    uapi.DIAG_IOCSDEL: UserEventsData.delete,
}


def _table(node: OpenNode) -> OpenFile:
    if not isinstance(node.state, OpenFile):
        raise Refused(errno.EBADF, f"'{node.path}' is no open user_events_data")
    return node.state


def _label(node: OpenNode) -> str:
    if node.task is None:
        return f"user {node.caller.uid}"
    return f"pid {node.task.writer.pid} ({node.task.writer.comm})"


def _copy_struct(memory: UserMemory, addr: int, known_size: int) -> bytes:
    """The part of a structure that we know; what the caller's own, longer one has besides must be zero.

    Nearly all have just that size, so all of it is read at once if it can be.

    Source: user_events contract, abi.md section 5.1 steps 1 to 4.
    """
    try:
        known = memory.read(addr, known_size)
    except Fault:
        known = _read(memory, addr, _SIZE.size)
    (size,) = _SIZE.unpack_from(known)
    if size == known_size == len(known):
        return known
    if size > uapi.PAGE_SIZE:
        raise Refused(errno.E2BIG, f"a structure of {size} bytes; at most {uapi.PAGE_SIZE}")
    if size < known_size:
        raise Refused(errno.EINVAL, f"a structure of {size} bytes; it has at least {known_size}")
    tail = _read(memory, addr + known_size, size - known_size)
    if any(tail):
        raise Refused(errno.E2BIG, f"the {len(tail)} bytes after the first {known_size} are not all zero")
    return _read(memory, addr, known_size)


def _copy_text(memory: UserMemory, addr: int, known: bytes = b"") -> str:
    """A NUL-terminated text, one character a byte; EINVAL when it is too long, EFAULT when it cannot be read.

    `known` is what was read of it already, without looking for its end.
    """
    text, nul, _ = known.partition(b"\0")
    while not nul and len(text) < uapi.MAX_NAME_ARGS_SIZE:
        at = addr + len(text)
        piece, nul, _ = _read(memory, at, _room(at, len(text))).partition(b"\0")
        text += piece
    if nul:
        return text.decode("latin-1")
    raise Refused(errno.EINVAL, f"a text of {len(text)} bytes or more; at most {uapi.MAX_NAME_ARGS_SIZE - 1} fit")


def _room(addr: int, done: int) -> int:
    """How much of a text may be read at once: no further than its page, or than it may be long."""
    return min(uapi.MAX_NAME_ARGS_SIZE - done, uapi.PAGE_SIZE - addr % uapi.PAGE_SIZE)


def _read(memory: UserMemory, addr: int, size: int) -> bytes:
    try:
        return memory.read(addr, size)
    except Fault:
        raise _unreadable(addr, size) from None


def _unreadable(addr: int, size: int) -> Refused:
    return Refused(errno.EFAULT, f"the {size} bytes at 0x{addr:x} cannot be read")
