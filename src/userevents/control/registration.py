"""Registering and deleting events through a mounted ``user_events_data``, as any program does on a kernel.

Source: user_events contract, abi.md sections 2, 3 and 5.
"""

import ctypes
import errno
import fcntl
import os
from struct import Struct
from typing import Final

from ..abi import tracefs as abi
from ..abi import user_events as uapi
from ..errors import Refused, Unusable
from .access import Access, read_file, write_file
from .files_access import FilesAccess

_BIT: Final = 0
_WORD_SIZE: Final = 4


class Registration:
    """An event held by a file and by one bit of this process, until `close`.

    `root` is where the tracing file system is mounted, `text` the declaration. Raises `Refused` as the ioctl does.
    """

    def __init__(self, root: str, text: bytes, flags: int = 0) -> None:
        self._word = ctypes.c_uint32(0)
        self._addr = ctypes.addressof(self._word)
        declaration = ctypes.create_string_buffer(text)
        request = bytearray(uapi.USER_REG_SIZE)
        Struct(uapi.USER_REG).pack_into(
            request, 0, len(request), _BIT, _WORD_SIZE, flags, self._addr, ctypes.addressof(declaration), 0
        )
        self._fd = _open(root)
        try:
            _ioctl(self._fd, uapi.DIAG_IOCSREG, request)
        except Refused:
            os.close(self._fd)
            raise

    def close(self) -> None:
        """Let go of the event; closing again does nothing."""
        if self._fd < 0:
            return
        request = Struct(uapi.USER_UNREG).pack(uapi.USER_UNREG_SIZE, _BIT, 0, 0, self._addr)
        try:
            _ioctl(self._fd, uapi.DIAG_IOCSUNREG, bytearray(request))
        finally:
            os.close(self._fd)
            self._fd = -1


def delete(root: str, name: bytes) -> None:
    """Delete every event registered as `name`; raises `Refused` (EBUSY, ENOENT, EPERM)."""
    fd = _open(root)
    try:
        _ioctl(fd, uapi.DIAG_IOCSDEL, bytearray(name + b"\0"))
    finally:
        os.close(fd)


def delete_event(access: Access, text: str) -> None:
    """Delete the event registered as ``NAME``, or as ``NAME FIELDS``, in any tree; `text` is kernel text.

    By ioctl where there is one, which goes by name; else through ``dynamic_events``, which goes by name and fields.
    Raises `Refused` (EBUSY, ENOENT, EPERM).
    """
    name, blank, _ = text.partition(" ")
    if isinstance(access, FilesAccess) and not blank:
        delete(access.root, name.encode("latin-1"))
        return
    lines = read_file(access, abi.DYNAMIC_EVENTS).decode("latin-1").split("\n")
    listed = [line.removeprefix(uapi.USER_EVENTS_PREFIX) for line in lines if line.startswith(uapi.USER_EVENTS_PREFIX)]
    chosen = [text] if blank else [line for line in listed if line.partition(" ")[0] == name]
    if not chosen:
        shown = name.encode("latin-1").decode("utf-8", "backslashreplace")
        raise Refused(errno.ENOENT, f"no event is registered as '{shown}'")
    for line in dict.fromkeys(chosen):
        write_file(access, abi.DYNAMIC_EVENTS, f"-:{uapi.USER_EVENTS_SYSTEM}/{line}\n".encode("latin-1"))


def _open(root: str) -> int:
    path = os.path.join(root, abi.USER_EVENTS_DATA)
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Unusable(f"'{path}' does not exist: this kernel has no user_events") from None
    except OSError as error:
        raise Refused(error.errno or errno.EIO, f"'{path}' cannot be opened: {error.strerror}") from None


def _ioctl(fd: int, command: int, request: bytearray) -> None:
    try:
        fcntl.ioctl(fd, command, request, True)
    except OSError as error:
        raise Refused(error.errno or errno.EIO, error.strerror or "refused") from None
