"""A program that has been started under a filter, and waits."""

import ctypes
import errno
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Final

from ...abi import seccomp
from ...errors import Unusable
from ...host.process import ptrace_scope
from ..launching import Launched, LaunchFailed
from . import filter as filters

_WAYS_OUT: Final = {
    errno.EBUSY: (
        "a container manager, or a 'run' around this one, listens already, and there is one listener; use --door fuse,"
        " or let the container's seccomp profile notify nobody"
    ),
    errno.ENOSYS: "this kernel has none (CONFIG_SECCOMP_FILTER, Linux 5.9 or newer); use --door fuse",
    errno.EINVAL: "this kernel knows no listener (Linux 5.9 or newer); use --door fuse",
    errno.EPERM: "a sandbox around us forbids it; use --door fuse",
    errno.EACCES: "a sandbox around us forbids it; use --door fuse",
}


class FilteredProgram:
    """The program waits until `go`, and keeps the process id that it has now. Serve `listener` before.

    `ioctls`: those of user_events wait for an answer, too. Raises `Unusable` with what this machine refuses.
    """

    def __init__(self, path: str, argv: Sequence[str], env: Mapping[str, str], *, ioctls: bool) -> None:
        numbers = filters.machine()
        code = filters.program(numbers, ioctls=ioctls)
        try:
            self._launched = Launched(["filtered", str(numbers.seccomp), code.hex()], path, argv, env)
        except LaunchFailed as failed:
            why = os.strerror(failed.number) if failed.number else "its process ended before it told why"
            way_out = _WAYS_OUT.get(failed.number, "use --door fuse")
            raise Unusable(f"the program cannot be supervised: {failed.what}: {why}; {way_out}") from None
        self._launched.require_memory()
        self._stay_ancestor()
        self.process = self._launched.process
        self.listener = self._launched.fds[0]

    def go(self) -> None:
        """Let the program begin."""
        self._launched.go()

    def give_up(self) -> None:
        """It shall not begin."""
        self._launched.give_up()

    def _stay_ancestor(self) -> None:
        """Have orphans of the program's become our children: Yama may let only ancestors read their memory."""
        if ptrace_scope() == 0 or os.geteuid() == 0:
            return
        ctypes.CDLL(None).prctl(seccomp.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGCHLD, self._reap)

    def _reap(self, _number: int, _frame: object) -> None:
        """Bury orphans that became ours; the program's own end is for whoever waits for it."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid == self.process.pid:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)
