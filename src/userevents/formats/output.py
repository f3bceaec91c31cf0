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
