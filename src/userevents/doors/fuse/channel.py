"""One connection to the kernel's file system layer: requests as they come, answers as they are due."""

import errno
import os
from collections.abc import Callable
from typing import Final

from ...abi import fuse
from ...errors import Refused

Body = memoryview
Log = Callable[[str, str], None]
Operation = Callable[["Request"], bytes | None]
"""What a request asks for: the answer's body; None where no answer is due now."""

_HEADER: Final = fuse.IN_HEADER
_ANSWER: Final = fuse.OUT_HEADER
_ERRNO_END: Final = 512
_WAKE_UP: Final = _ANSWER.size + fuse.POLL_WAKEUP.size


class Request:
    """One request: what its header says, and the bytes after it."""

    __slots__ = ("body", "gid", "node", "opcode", "tid", "uid", "unique")

    def __init__(self, header: tuple[int, ...], body: Body) -> None:
        _, self.opcode, self.unique, self.node, self.uid, self.gid, self.tid, _, _ = header
        self.body = body

    def name(self, offset: int = 0) -> str:
        """The NUL-terminated name at `offset`."""
        return bytes(self.body[offset:]).partition(b"\0")[0].decode("latin-1")


class Channel:
    """Answers and notifications, written to the descriptor `fd`. Everything is one system call; nothing waits."""

    def __init__(self, fd: int, log: Log) -> None:
        self.fd = fd
        self.log = log

    def run(self, unique: int, operation: Callable[..., bytes | None], *arguments: object) -> None:
        """Do what a request asks for and answer it, whatever happens: a client without an answer never wakes."""
        try:
            body = operation(*arguments)
        except Exception as error:
            self.send(self.failure(unique, error))
        else:
            if body is not None:
                self.send(_ANSWER.pack(_ANSWER.size + len(body), 0, unique) + body)

    def refuse(self, unique: int, code: int) -> None:
        """Answer a request with an errno."""
        self.send(_ANSWER.pack(_ANSWER.size, -code, unique))

    def failure(self, unique: int, error: Exception) -> bytes:
        """The answer to a request that was refused, or that failed as nobody foresaw.

        No program knows errnos from 512 on, and none would be taken.
        """
        code: int | None = errno.EIO
        if isinstance(error, Refused):
            code = error.errno
        else:
            self.log("error", f"a request failed: {error!r}; please report this")
        return _ANSWER.pack(_ANSWER.size, -code if code and code < _ERRNO_END else -errno.EIO, unique)

    def wake_poller(self, poller: int) -> None:
        """Have whoever polls ask again."""
        self.send(_ANSWER.pack(_WAKE_UP, fuse.NOTIFY_POLL, 0) + fuse.POLL_WAKEUP.pack(poller))

    def send(self, data: bytes) -> None:
        """Write one message."""
        try:
            os.write(self.fd, data)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # the request was interrupted, or all is unmounted
                self.log("warning", f"an answer was not taken: {error.strerror}")
