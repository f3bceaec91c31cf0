"""A tracing tree that is a real directory: tracefs as mounted by a kernel or by a door."""

import os
import select

from ..abi.tracefs import O_RDONLY
from ..errors import Refused


class FilesAccess:
    """The tree below the directory `root`, through ordinary files."""

    def __init__(self, root: str) -> None:
        self.root = root

    def open(self, path: str, flags: int = O_RDONLY) -> "FileHandle":
        """Open the file at `path`, relative to the root."""
        try:
            return FileHandle(os.open(self._place(path), flags | os.O_CLOEXEC), path)
        except OSError as error:
            raise _refused(error, path) from None

    def listdir(self, path: str) -> list[str]:
        """The names in a directory, one character a byte."""
        try:
            return [name.decode("latin-1") for name in os.listdir(self._place(path))]
        except OSError as error:
            raise _refused(error, path) from None

    def mkdir(self, path: str, keep: bool = False) -> None:
        """Make an instance; here it stays until it is removed."""
        try:
            os.mkdir(self._place(path))
        except OSError as error:
            raise _refused(error, path) from None

    def rmdir(self, path: str) -> None:
        """Remove an instance."""
        try:
            os.rmdir(self._place(path))
        except OSError as error:
            raise _refused(error, path) from None

    def close(self) -> None:
        """Nothing is held between calls."""

    def _place(self, path: str) -> bytes:
        return os.path.join(os.fsencode(self.root), path.strip("/").encode("latin-1", "backslashreplace"))


class FileHandle:
    """One open file."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path

    def read(self, size: int = 1 << 20, timeout: float | None = None) -> bytes | None:
        """Up to `size` bytes; ``b""`` at the end, None when nothing came within `timeout` seconds."""
        try:
            if timeout is not None:
                waiting = select.poll()
                waiting.register(self._fd, select.POLLIN)
                if not waiting.poll(timeout * 1000):
                    return None
            return os.read(self._fd, size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise _refused(error, self._path) from None

    def write(self, data: bytes) -> int:
        """Write `data`; returns how many bytes were taken."""
        try:
            return os.write(self._fd, data)
        except OSError as error:
            raise _refused(error, self._path) from None

    def close(self) -> None:
        """Close it; closing again does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _refused(error: OSError, path: str) -> Refused:
    return Refused(error.errno or 0, f"'{path}': {error.strerror}")
