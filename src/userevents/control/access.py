"""What driving a tracer needs: open, list, mkdir and rmdir in a tracing tree, wherever that tree is.

`SocketAccess` reaches a running tracer, `FilesAccess` a mounted tracefs. Both raise `Refused` with the tree's own
errno and reason.
"""

from typing import Final, Protocol

from ..abi.tracefs import O_RDONLY, O_WRONLY
from ..errors import NoTracer

ANSWER_TIMEOUT_S: Final = 10.0
"""How long a tracer may take over something that never has to wait."""
_PIECE_SIZE: Final = 1 << 16


class Handle(Protocol):
    """One open file of the tree."""

    def read(self, size: int = 1 << 20, timeout: float | None = None) -> bytes | None:
        """Up to `size` bytes; ``b""`` at the end, None when nothing came within `timeout` seconds."""

    def write(self, data: bytes) -> int:
        """Write `data`; returns how many bytes were taken."""

    def close(self) -> None:
        """Close it."""


class Access(Protocol):
    """A tracing tree."""

    def open(self, path: str, flags: int = O_RDONLY) -> Handle:
        """Open the file at `path`, relative to the tree's root, with Linux open flags."""

    def listdir(self, path: str) -> list[str]:
        """The names in a directory."""

    def mkdir(self, path: str, keep: bool = False) -> None:
        """Make an instance; without `keep` it may go when this access is closed."""

    def rmdir(self, path: str) -> None:
        """Remove an instance."""

    def close(self) -> None:
        """Close everything."""


def read_file(access: Access, path: str) -> bytes:
    """All of a file that never has to be waited for."""
    handle = access.open(path)
    try:
        pieces = []
        while piece := handle.read(_PIECE_SIZE, ANSWER_TIMEOUT_S):
            pieces.append(piece)
        if piece is None:
            raise NoTracer(f"reading '{path}': the tracer did not answer within {ANSWER_TIMEOUT_S:g} seconds")
        return b"".join(pieces)
    finally:
        handle.close()


def write_file(access: Access, path: str, data: bytes, flags: int = O_WRONLY) -> None:
    """Write all of `data` to a file, in as many writes as it takes."""
    handle = access.open(path, flags)
    try:
        left = memoryview(data)
        while True:
            left = left[handle.write(bytes(left)) :]
            if not left:
                return
    finally:
        handle.close()
