"""What a path of the tree leads to (`File`, `Directory`), and what opening a file gives (`OpenNode`).

A node is a view made for one look-up: it holds no state of its own, the engine and the instances do.
"""

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ..abi import tracefs as abi
from ..engine import Caller, Task, UserEvent, Writer
from ..errors import Refused
from ..instance import Instance, Sink

if TYPE_CHECKING:
    from .system import System


class Place(NamedTuple):
    """Where in the tree a node stands; every node of that place sees the same."""

    system: "System"
    instance: Instance
    event_system: str = ""
    event: UserEvent | None = None
    cpu: int = -1
    """One CPU's files, or (-1) those of all."""
    option: str = ""


class WriteCall(NamedTuple):
    """What a write knows besides its bytes."""

    task: Task | None = None
    """Who writes; None where the door cannot tell."""
    offset: int = 0
    """Where pwrite says to write."""
    size: int | None = None
    """How many bytes were to be written, where not all of them could be read."""


class Node:
    """A file or a directory."""

    mode: ClassVar[int]

    def __init__(self, place: Place) -> None:
        self.place = place


class Directory(Node):
    """A directory: names, and the node behind each."""

    mode: ClassVar[int] = abi.MODE_DIRECTORY

    def names(self) -> list[str]:
        """What ls shows."""
        raise NotImplementedError

    def child(self, name: str) -> Node | None:
        """The node called `name`, or None."""
        raise NotImplementedError

    def make(self, name: str) -> None:
        """mkdir; EPERM where the tree is not the user's to extend."""
        raise Refused(errno.EPERM, f"directory '{name}' cannot be made here; instances are made in '{abi.INSTANCES}'")

    def remove(self, name: str) -> None:
        """rmdir; EPERM where the tree is not the user's to cut."""
        raise Refused(errno.EPERM, f"'{name}' cannot be removed; only directories in '{abi.INSTANCES}' can")


class File(Node):
    """A file; by default it can be neither read nor written, whatever its mode lets one open.

    A text file overrides `text`; a file of another kind overrides `read` and `readable`.
    """

    mode: ClassVar[int] = abi.MODE_READ
    has_positions: ClassVar[bool] = True
    """Whether one can seek in it; not where what is read is gone, or what is written is taken."""
    is_synchronous: ClassVar[bool] = True
    """Whether reading and writing it waits for what programs have written before, and for what it switches."""

    def opened(self, node: "OpenNode") -> None:
        """Called once a file was opened; may refuse it."""

    def closed(self, node: "OpenNode", *, aborted: bool) -> None:
        """Called when it is closed; `aborted` when its client died rather than closed it."""

    def text(self) -> str:
        """All that there is to read, each character one byte."""
        raise Refused(errno.EINVAL, "this file cannot be read")

    def read(self, node: "OpenNode", size: int, offset: int | None) -> bytes:
        """Read through `node`: at its own position, or at `offset`."""
        return node.read_text(size, offset)

    def write(self, node: "OpenNode", data: bytes) -> int:
        """Take `data`, or the first part of it; returns how many bytes were taken."""
        raise Refused(errno.EINVAL, "this file cannot be written")

    def write_call(self, node: "OpenNode", data: bytes, call: WriteCall) -> int:
        """Take `data`, knowing who writes and where; most files do not care."""
        return self.write(node, data)

    def sink(self, node: "OpenNode", index: int, writer: Writer) -> Sink | None:
        """A shorter way for what one thread writes, where there is one."""
        return None

    def lose(self, node: "OpenNode", index: int, writer: Writer) -> None:
        """Count an event that one thread wrote, and that did not come as it was written."""

    def ioctl(self, node: "OpenNode", command: int, argument: int, task: Task) -> int:
        """Do what an ioctl asks; ENOTTY for files that know none."""
        raise Refused(errno.ENOTTY, f"'{node.path}' knows no ioctl 0x{command:x}")

    def seek(self, node: "OpenNode", offset: int) -> int:
        """Go on reading at `offset`; ESPIPE for files that have no positions."""
        if not self.has_positions:
            raise Refused(errno.ESPIPE, f"'{node.path}' has no positions")
        return node.move_to(offset)

    def readable(self) -> bool:
        """Whether a read would return at once."""
        return True

    def shown(self, node: "OpenNode") -> None:
        """Called when the text is made for a reader who begins at its start."""

    def polled(self, node: "OpenNode") -> bool:
        """What poll says of reading; most files are always ready, and say so."""
        return True


class OpenNode:
    """One opening of a file: flags, position, and the text it is being read from."""

    def __init__(
        self,
        file: File,
        path: str,
        flags: int,
        caller: Caller,
        on_close: Callable[[], None],
        task: Task | None = None,
    ) -> None:
        self.path = path
        self.flags = flags
        self.caller = caller
        self.task = task
        """Who opened it, as far as the door can tell."""
        self.state: object = None
        """What the file keeps for this opening."""
        self._file = file
        self._on_close = on_close
        self._position = 0
        self._content: bytes | None = None
        self._closed = False

    def read(self, size: int, offset: int | None = None) -> bytes:
        """Up to `size` bytes, at the own position or (pread) at `offset`; ``b""`` is the end.

        EAGAIN means nothing now: a caller that wants to block waits until `readable`.
        """
        self._require_open()
        if self.flags & abi.O_ACCMODE == abi.O_WRONLY:
            raise Refused(errno.EBADF, f"'{self.path}' is not open for reading")
        if self._file.is_synchronous:
            self._file.place.system.catch_up()
        return self._file.read(self, size, offset)

    def write(self, data: bytes, call: WriteCall | None = None) -> int:
        """Hand `data` to the file; returns how many bytes it took. `call` tells more where the door knows more."""
        self._require_open()
        if self.flags & abi.O_ACCMODE == abi.O_RDONLY:
            raise Refused(errno.EBADF, f"'{self.path}' is not open for writing")
        call = call if call is not None else WriteCall(self.task)
        if not self._file.is_synchronous:
            return self._file.write_call(self, data, call)
        self._file.place.system.catch_up(patiently=True)
        try:
            return self._file.write_call(self, data, call)
        finally:
            self._file.place.system.settle()

    def sink(self, index: int, writer: Writer) -> Sink | None:
        """The short way of events with this write index, from one thread; None where only `write` does.

        It takes what comes after the index, and says whether it did. Good while nothing is changed in the tree.
        """
        if self._closed or self.flags & abi.O_ACCMODE == abi.O_RDONLY:
            return None
        return self._file.sink(self, index, writer)

    def lose(self, index: int, writer: Writer) -> None:
        """Count an event with this index that a thread wrote, and that did not come as it was written."""
        self._require_open()
        self._file.lose(self, index, writer)

    def ioctl(self, command: int, argument: int, task: Task) -> int:
        """Make an ioctl for `task`, in whose memory `argument` points."""
        if self._closed:
            self._require_open()
        return self._file.ioctl(self, command, argument, task)

    def seek(self, offset: int) -> int:
        """Go on reading at `offset` (lseek with SEEK_SET)."""
        self._require_open()
        return self._file.seek(self, offset)

    def move_to(self, offset: int) -> int:
        """Set the own position."""
        if offset < 0:
            raise Refused(errno.EINVAL, f"offset {offset} is negative")
        self._position = offset
        return offset

    def readable(self) -> bool:
        """Whether a read would return something, or the end, at once: when one that waits is to be tried again."""
        return self._file.readable()

    def polled(self) -> bool:
        """What poll says of reading, which may be later than `readable`: some files wait until it is worth while."""
        return self._file.polled(self)

    def close(self) -> None:
        """Close it in good order; closing again does nothing."""
        self._close(aborted=False)

    def abort(self) -> None:
        """Close it because its client is gone: what it read last may never have arrived."""
        self._close(aborted=True)

    def read_text(self, size: int, offset: int | None) -> bytes:
        """Serve the file's text; it is made anew whenever reading begins at its start."""
        start = self._position if offset is None else offset
        if start == 0 or self._content is None:
            self._content = self._file.text().encode("latin-1", "backslashreplace")
            self._file.shown(self)
        data = self._content[start : start + size]
        if offset is None:
            self._position += len(data)
        return data

    def _require_open(self) -> None:
        if self._closed:
            raise Refused(errno.EBADF, f"'{self.path}' is closed")

    def _close(self, *, aborted: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self._file.closed(self, aborted=aborted)
        self._on_close()
