"""Mounting: ``/dev/fuse`` opened and mounted by the system call itself, unmounted again, and what a crash left behind.

No helper program is asked, so the caller needs the privilege to mount: root, or a user namespace of its own.
"""

import ctypes
import errno
import os
from typing import Final, NamedTuple

from ...errors import Unusable

DEVICE: Final = "/dev/fuse"
SOURCE: Final = "userevents"
_KIND: Final = f"fuse.{SOURCE}"
_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MNT_FORCE: Final = 1
_MNT_DETACH: Final = 2
_MOUNTS: Final = "/proc/self/mountinfo"


class Mounted(NamedTuple):
    """A mounted file system that somebody has yet to serve."""

    fd: int
    """Where its requests are read and answered."""
    path: str
    """Where; "" where that is another mount namespace's business."""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def mount(path: str, *, everyone: bool = False) -> Mounted:
    """Mount at the directory `path`; the requests wait until the descriptor is served.

    `everyone`: other users may use it, as far as the files' modes let them.
    A dead mount left there by a server that crashed is taken away first. Raises `Unusable`, saying what is missing.
    """
    recover(path)
    try:
        fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        way_out = f"FUSE needs it: modprobe fuse, and in a container --device {DEVICE}"
        if os.geteuid() and error.errno == errno.EACCES:
            way_out = "mounting for everybody needs root; without, userevents run -- PROGRAM"
        raise Unusable(f"'{DEVICE}' cannot be opened ({error.strerror}); {way_out}") from None
    options = f"fd={fd},rootmode=40755,user_id={os.geteuid()},group_id={os.getegid()},default_permissions"
    if everyone:
        options += ",allow_other"
    libc = _libc()
    if libc.mount(SOURCE.encode(), os.fsencode(path), _KIND.encode(), _MS_NOSUID | _MS_NODEV, options.encode()):
        number = ctypes.get_errno()
        os.close(fd)
        raise Unusable(f"'{path}' cannot be mounted on: {_why(number, path)}")
    return Mounted(fd, path)


def unmount(path: str) -> bool:
    """Take the mount at `path` away, also while it is in use, and fail whatever waits for an answer of it.

    False if there is none, or it may not be.
    """
    return not _libc().umount2(os.fsencode(path), _MNT_FORCE | _MNT_DETACH)


def recover(path: str) -> bool:
    """Take away mounts of ours at `path` whose server is gone; True if there was one."""
    found = False
    while _is_ours(path) and _is_dead(path) and unmount(path):
        found = True
    return found


def _is_ours(path: str) -> bool:
    """Whether what is mounted at `path` is of our kind."""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as mounts:
            rows = [line.split(" ") for line in mounts]
    except OSError:
        return False
    place = os.path.realpath(os.path.dirname(os.path.abspath(path))) + "/" + os.path.basename(os.path.abspath(path))
    escaped = "".join(f"\\{ord(char):03o}" if char in " \t\n\\" else char for char in place)
    kinds = [row[row.index("-") + 1] for row in rows if row[4] == escaped]
    return kinds[-1:] == [_KIND]


def _is_dead(path: str) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def _why(number: int, path: str) -> str:
    if number == errno.EPERM:
        return "mounting needs root (CAP_SYS_ADMIN); 'userevents run -- PROGRAM' serves one program without"
    if number == errno.ENOENT:
        return "there is no such directory"
    if number == errno.ENOTDIR:
        return "it is no directory"
    if number == errno.ENODEV:
        return "this kernel has no FUSE (CONFIG_FUSE_FS)"
    return os.strerror(number)
