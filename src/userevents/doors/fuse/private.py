"""Mounts that nobody else sees: one program's own, and one that only its directory's descriptor leads to."""

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Final

from ...errors import Unusable
from ..launching import Launched, LaunchFailed
from .mount import DEVICE, Mounted

PLACES: Final = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
"""Where programs look for the kernel's tree: the first must be a directory, the others may."""
_ANYWHERE: Final = ("/sys", "/proc", "/dev", "/etc")
_USER_NAMESPACE: Final = (
    "user namespaces are refused here (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces,"
    " kernel.apparmor_restrict_unprivileged_userns; a container's seccomp profile); as root none is needed"
)
_NO_CAPABILITY: Final = "root has no CAP_SYS_ADMIN here; in a container --cap-add SYS_ADMIN"


class PrivateMount:
    """A program that has been started and waits in a mount namespace of its own, its mount ready to be served.

    Serve `mounted`, then let the program `go`: it keeps the process id that it has now, and its user. Raises
    `Unusable` with what this machine refuses.
    """

    def __init__(self, path: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        try:
            self._launched = Launched(["private", *PLACES], path, argv, env)
        except LaunchFailed as failed:
            raise _unusable("a private mount", failed) from None
        self._launched.require_memory()
        self.process = self._launched.process
        self.mounted = Mounted(self._launched.fds[0], "")

    def go(self) -> None:
        """Let the program begin."""
        self._launched.go()

    def give_up(self) -> None:
        """It shall not begin."""
        self._launched.give_up()


class DetachedMount:
    """A mount in no place at all, for this user alone: files are opened relative to `directory`, once it is served.

    Raises `Unusable` with what this machine refuses.
    """

    def __init__(self) -> None:
        place = next(path for path in (*_ANYWHERE, "/") if os.path.isdir(path))
        try:
            launched = Launched(["detached", place])
        except LaunchFailed as failed:
            raise _unusable("a detached mount", failed) from None
        fuse, self.directory = launched.fds
        self.mounted = Mounted(fuse, "")
        launched.give_up()


def _unusable(what: str, failed: LaunchFailed) -> Unusable:
    if not failed.number:
        return Unusable(f"{what} cannot be made: its process ended before it told why")
    way_out = _way_out(failed.what, failed.number)
    return Unusable(f"{what} cannot be made: {failed.what}: {os.strerror(failed.number)}; {way_out}")


def _way_out(what: str, number: int) -> str:
    if what == DEVICE:
        if number in (errno.EACCES, errno.EPERM):
            return f"everybody may use it on most systems: chmod 666 {DEVICE}; in a container --device {DEVICE}"
        return f"FUSE needs it: modprobe fuse; in a container --device {DEVICE}"
    if what.startswith(("a ", "/proc/")):
        return _USER_NAMESPACE if os.geteuid() else _NO_CAPABILITY
    if number == errno.ENOENT:
        return f"programs look for events in {PLACES[0]}, and this machine has no such directory"
    return "FUSE mounts may be switched off for containers on this machine"
