"""One program in a mount namespace of its own, in which our tree lies over the kernel's; for anybody, not only root."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from ...errors import Unusable
from .mount import DEVICE, Mounted

PLACES: Final = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
"""Where programs look for the kernel's tree: the first must be a directory, the others may."""
_LAUNCHER: Final = os.path.join(os.path.dirname(__file__), "launcher.py")
_MESSAGE: Final = 4096
_USER_NAMESPACE: Final = (
    "user namespaces are refused here (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces,"
    " kernel.apparmor_restrict_unprivileged_userns; a container's seccomp profile); as root none is needed"
)


class PrivateMount:
    """A program that has been started and waits, its mount ready to be served.

    Serve `mounted`, then let the program `go`: it keeps the process id that it has now, and its user. Raises
    `Unusable` with what this machine refuses.
    """

    def __init__(self, path: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", _LAUNCHER, str(theirs.fileno()), *PLACES, "--", path, *argv],
                env=dict(env),
                pass_fds=[theirs.fileno()],
            )
        try:
            self.mounted = self._receive()
        except BaseException:
            self._ours.close()
            self.process.wait()
            raise

    def go(self) -> None:
        """Let the program begin."""
        self._ours.send(b"g")
        self._ours.close()

    def _receive(self) -> Mounted:
        message, ancillary, _, _ = self._ours.recvmsg(_MESSAGE, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        if ancillary:
            return Mounted(int.from_bytes(ancillary[0][2][:4], sys.byteorder), "")
        what, _, number = message.decode().partition("\t")
        if not number:
            raise Unusable(f"a private mount cannot be made: '{sys.executable}' ended before it told why")
        raise Unusable(f"a private mount cannot be made: {what}: {os.strerror(int(number))}; {_way_out(what, number)}")


def _way_out(what: str, number: str) -> str:
    if what == DEVICE:
        if int(number) in (errno.EACCES, errno.EPERM):
            return f"everybody may use it on most systems: chmod 666 {DEVICE}; in a container --device {DEVICE}"
        return f"FUSE needs it: modprobe fuse; in a container --device {DEVICE}"
    if what.startswith(("a ", "/proc/")):
        return _USER_NAMESPACE
    if int(number) == errno.ENOENT:
        return f"programs look for events in {PLACES[0]}, and this machine has no such directory"
    return "FUSE mounts may be switched off for containers on this machine"
