"""The listener of a seccomp filter: calls that wait for an answer, and the answers."""

import errno
import fcntl
import os
import select
from typing import Final, NamedTuple

from ...abi import seccomp

_EMPTY: Final = bytes(seccomp.NOTIFICATION.size)


class Call(NamedTuple):
    """One system call that waits."""

    id: int
    tid: int
    number: int
    arguments: tuple[int, ...]


class Listener:
    """Owns the descriptor `fd`. Whoever answers may be too late: the caller was killed; that is no error."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.has_ended = False
        """Whether all programs have."""
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._poll.register(self._stop, select.POLLIN)
        self._buffer = bytearray(_EMPTY)
        try:
            fcntl.ioctl(fd, seccomp.NOTIF_SET_FLAGS, seccomp.SYNC_WAKE_UP)
        except OSError:
            pass  # from Linux 6.6 on; without it a call takes longer

    def next(self) -> Call | None:
        """Wait for the next call; None once all programs have ended, or `stop` was called."""
        while True:
            for fd, events in self._poll.poll():
                if fd == self._stop:
                    return None
                if events & select.POLLIN:
                    call = self._receive()
                    if call is not None:
                        return call
                elif events:
                    self.has_ended = True
                    return None

    def _receive(self) -> Call | None:
        buffer = self._buffer
        buffer[:] = _EMPTY
        try:
            fcntl.ioctl(self.fd, seccomp.NOTIF_RECV, buffer)
        except OSError:
            return None  # whoever called is gone, or we were interrupted
        call_id, tid, _, number, _, _, *arguments = seccomp.NOTIFICATION.unpack(buffer)
        return Call(call_id, tid, number, tuple(arguments))

    def is_valid(self, call: Call) -> bool:
        """Whether the caller still waits: what was read of thread `call.tid` was the caller's."""
        try:
            fcntl.ioctl(self.fd, seccomp.NOTIF_ID_VALID, seccomp.ID.pack(call.id))
        except OSError:
            return False
        return True

    def let_pass(self, call: Call) -> None:
        """Have the kernel make the call."""
        self._send(seccomp.RESPONSE.pack(call.id, 0, 0, seccomp.RESPONSE_CONTINUE))

    def answer(self, call: Call, result: int) -> None:
        """Return `result`, or fail with the errno `-result`."""
        self._send(seccomp.RESPONSE.pack(call.id, max(result, 0), min(result, 0), 0))

    def give(self, call: Call, fd: int, *, close_on_exec: bool) -> bool:
        """Return a new descriptor of what our `fd` is open on; False if the caller is gone."""
        flags = os.O_CLOEXEC if close_on_exec else 0
        try:
            fcntl.ioctl(self.fd, seccomp.NOTIF_ADDFD, seccomp.ADD_FD.pack(call.id, seccomp.ADD_FD_SEND, fd, 0, flags))
            return True
        except OSError as error:
            if error.errno == errno.EMFILE:
                self.answer(call, -errno.EMFILE)
                return False
            if error.errno != errno.EINVAL:
                return False
        try:  # before Linux 5.14 it takes two steps
            added = bytearray(seccomp.ADD_FD.pack(call.id, 0, fd, 0, flags))
            number = fcntl.ioctl(self.fd, seccomp.NOTIF_ADDFD, added)
        except OSError as error:
            self.answer(call, -(error.errno or errno.EIO))
            return False
        self.answer(call, number)
        return True

    def _send(self, response: bytes) -> None:
        try:
            fcntl.ioctl(self.fd, seccomp.NOTIF_SEND, response)
        except OSError:
            pass  # nobody waits any more

    def stop(self) -> None:
        """Have `next` return; any thread may call it."""
        os.eventfd_write(self._stop, 1)

    def close(self) -> None:
        """Let go of the descriptors; calls that wait then fail with ENOSYS."""
        for fd in (self.fd, self._stop):
            os.close(fd)
