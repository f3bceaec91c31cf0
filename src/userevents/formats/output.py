"""Writing a file so that it appears whole or not at all: under a temporary name beside it, private, then renamed."""

import os
import stat
from types import TracebackType

from ..errors import Unusable

_BUFFER = 1 << 18


class OutputFile:
    """A file being written. Leaving the `with` block without an error gives it its name; an error removes it.

    Mode is 0600, since events carry arguments of programs. Raises `Unusable` for a place that cannot hold a
    plain file, and `OSError` naming the file that was asked for, for example when the disk is full.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.temporary = ""
        """Where it is while it is written; another writer may fill it there instead."""
        target = os.path.realpath(path)
        self._check(target)
        directory, name = os.path.split(target)
        self._target = target
        self.temporary = os.path.join(directory, f".{name[:200]}.{os.urandom(6).hex()}.tmp")
        try:
            fd = os.open(self.temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        self._file = open(fd, "wb", buffering=_BUFFER)
        self.tell = self._file.tell

    def _check(self, target: str) -> None:
        try:
            found = os.stat(target)
        except OSError:
            return
        if not stat.S_ISREG(found.st_mode):
            raise Unusable(f"'{self.path}' is no plain file: name a file that may be made or replaced")

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)

    def write_at(self, offset: int, data: bytes) -> None:
        """Replace bytes written before; the next `write` appends again."""
        end = self._file.tell()
        self._file.seek(offset)
        self._file.write(data)
        self._file.seek(end)

    def __enter__(self) -> "OutputFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._finish(keep=error is None)
        except OSError as failure:
            raise OSError(failure.errno, failure.strerror, self.path) from None
        if isinstance(error, OSError) and error.filename is None:
            raise OSError(error.errno, error.strerror, self.path) from None

    def _finish(self, *, keep: bool) -> None:
        try:
            self._file.close()
            if keep:
                os.rename(self.temporary, self._target)
                return
        except OSError:
            if keep:
                self._remove()
                raise
        self._remove()

    def _remove(self) -> None:
        try:
            os.unlink(self.temporary)
        except OSError:
            pass


class OutputDirectory:
    """A directory being written, as `OutputFile` is a file: it gets its name when all is there, and only then.

    Raises `Unusable` where something lies at its place already, save an empty directory.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._target = os.path.realpath(path)
        if os.path.exists(self._target) and (not os.path.isdir(self._target) or os.listdir(self._target)):
            raise Unusable(f"'{path}' is there already: name a directory that may be made")
        parent, name = os.path.split(self._target)
        self._temporary = os.path.join(parent, f".{name[:200]}.{os.urandom(6).hex()}.tmp")
        try:
            os.mkdir(self._temporary, 0o700)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None

    def place(self, name: str) -> str:
        """Return where a file of this name is to be made; the name must be a plain one."""
        return os.path.join(self._temporary, name)

    def append(self, name: str, data: bytes) -> None:
        """Append bytes to a file in it."""
        fd = os.open(self.place(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(data)

    def size(self) -> int:
        """Return the bytes of all files in it."""
        return sum(entry.stat().st_size for entry in os.scandir(self._temporary))

    def __enter__(self) -> "OutputDirectory":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                os.rename(self._temporary, self._target)
            except OSError as failure:
                self._remove()
                raise OSError(failure.errno, failure.strerror, self.path) from None
            return
        self._remove()
        if isinstance(error, OSError) and (error.filename is None or self._temporary in str(error.filename)):
            raise OSError(error.errno, error.strerror, self.path) from None

    def _remove(self) -> None:
        for name in os.listdir(self._temporary):
            os.unlink(os.path.join(self._temporary, name))
        os.rmdir(self._temporary)
