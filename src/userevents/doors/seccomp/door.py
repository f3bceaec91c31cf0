"""The supervisor: answers the calls that the filter holds up.

An open for writing of one of the tree's files gets a file from us, whatever lies at that path; every other call is let
pass. One thread serves. It holds no lock while it opens a file: that may be served by another thread of this process.
"""

import errno
import os
import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from ...errors import Refused
from ...host.remote import read_text
from .. import launching
from . import filter as filters
from . import paths
from .listener import Call, Listener

Log = Callable[[str, str], None]
_PATH_MAX: Final = 4096
_END_S: Final = 2.0


class Files(Protocol):
    """Where the files come from."""

    ioctls: bool
    """Whether the ioctls on them are for us."""

    def open(self, path: str, flags: int, call: Call) -> int:
        """A descriptor of ours for the caller; raises OSError, `Refused` included."""

    def given(self, fd: int, call: Call) -> None:
        """The caller has got it, or is gone."""

    def ioctl(self, call: Call) -> int | None:
        """The result of a call on one of the files; None if it is on none of them. Raises `Refused`."""

    def close(self) -> None:
        """Nobody will open any more."""


class SeccompDoor:
    """Supervises the programs behind `listener`, whose files come from `files`. `start` begins.

    `places` are the directories in which they look for the tree.
    """

    def __init__(self, listener: int, files: Files, *, log: Log, places: Sequence[str] = paths.PLACES) -> None:
        self._listener = Listener(listener)
        self._files = files
        self._log = log
        self._places = places
        self._numbers = filters.machine()
        self._uid = os.geteuid()
        self._thread = threading.Thread(target=self._serve_all, name="userevents-seccomp", daemon=True)

    def start(self) -> None:
        """Begin to serve, in a thread of its own."""
        self._thread.start()

    @property
    def is_serving(self) -> bool:
        """Whether any program is left."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End. Programs that are left go on without us: what they open from now on is the kernel's again."""
        self._listener.stop()
        self._thread.join(_END_S)
        if not self._listener.has_ended:
            launching.keep(self._listener.fd)
        self._files.close()
        self._listener.close()

    def _serve_all(self) -> None:
        while (call := self._listener.next()) is not None:
            try:
                self._serve(call)
            except Exception as error:
                self._log("error", f"a call failed: {error!r}; please report this")
                self._listener.let_pass(call)

    def _serve(self, call: Call) -> None:
        numbers = self._numbers
        if call.number == numbers.ioctl:
            self._ioctl(call)
        elif call.number == numbers.openat:
            directory, path, flags = paths.signed(call.arguments[0]), call.arguments[1], call.arguments[2]
            self._open(call, directory, path, flags & 0xFFFFFFFF)
        else:
            self._open(call, paths.AT_FDCWD, call.arguments[0], call.arguments[1] & 0xFFFFFFFF)

    def _open(self, call: Call, directory: int, address: int, flags: int) -> None:
        path = self._tree_path(call, directory, address)
        if path is None:
            self._listener.let_pass(call)
            return
        try:
            self._permit(call, path)
            fd = self._files.open(path, flags & ~os.O_CLOEXEC, call)
        except OSError as error:
            self._listener.answer(call, -(error.errno or errno.EIO))
            return
        try:
            self._listener.give(call, fd, close_on_exec=bool(flags & os.O_CLOEXEC))
        finally:
            self._files.given(fd, call)

    def _tree_path(self, call: Call, directory: int, address: int) -> str | None:
        """The path in the tree that a call opens; None for everything else, and for who cannot be looked at."""
        path = read_text(call.tid, address, _PATH_MAX)
        found = None if path is None else paths.in_tree(path, call.tid, directory, self._places)
        return found if found is not None and self._listener.is_valid(call) else None

    def _permit(self, call: Call, path: str) -> None:
        """The files are our user's: raises EACCES for a program that has become somebody else's."""
        uid = os.stat(f"/proc/{call.tid}").st_uid
        if uid not in (0, self._uid):
            raise Refused(errno.EACCES, f"'{path}' is not the user {uid}'s")

    def _ioctl(self, call: Call) -> None:
        try:
            result = self._files.ioctl(call)
        except Refused as refused:
            result = -(refused.errno or errno.EIO)
        if result is None:
            self._listener.let_pass(call)
        else:
            self._listener.answer(call, result)
