"""What a service manager and a daemon say to each other: sockets handed over, readiness, the watchdog, log lines.

The manager's side needs no library: environment variables, one datagram socket, and a number before each log line.
"""

import json
import os
import socket
import sys
import time
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Final

from ..errors import Unusable
from ..fields.escape import printable
from .console import say

LEVELS: Final = ("error", "warning", "info", "debug")
_FIRST_FD: Final = 3
_PRIORITIES: Final = {"alert": 1, "error": 3, "warning": 4, "info": 6, "debug": 7}
"""What the journal reads as ``<N>`` at the beginning of a line."""
_COLORS: Final = {"alert": "red", "error": "red", "warning": "yellow"}


class Manager:
    """The service manager that started us, as far as there is one."""

    def __init__(self, env: MutableMapping[str, str]) -> None:
        """Read what it says, and take it out of `env`, so that no child believes that it is meant."""
        address = env.pop("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        period, pid = env.pop("WATCHDOG_USEC", ""), env.pop("WATCHDOG_PID", str(os.getpid()))
        is_watched = self._address and period.isdigit() and int(period) > 0 and pid == str(os.getpid())
        self.watchdog_s: float | None = int(period) / 1e6 if is_watched else None
        """A sign of life is due this often; a daemon gives one in half that time."""
        count, pid = env.pop("LISTEN_FDS", ""), env.pop("LISTEN_PID", str(os.getpid()))
        env.pop("LISTEN_FDNAMES", None)
        self._fds = range(_FIRST_FD, _FIRST_FD + int(count)) if count.isdigit() and pid == str(os.getpid()) else ()

    def sockets(self) -> list[socket.socket]:
        """Return the listening Unix sockets that it has handed over.

        Raises `Unusable` for a descriptor that is none.
        """
        found = []
        for fd in self._fds:
            os.set_inheritable(fd, False)
            try:
                one = socket.socket(fileno=fd)
                is_good = one.family == socket.AF_UNIX and one.type == socket.SOCK_STREAM
                is_good = is_good and bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            except OSError as error:
                raise Unusable(f"LISTEN_FDS: descriptor {fd} is no socket ({error.strerror})") from None
            if not is_good:
                raise Unusable(f"LISTEN_FDS: descriptor {fd} is no listening Unix stream socket (ListenStream=/a/path)")
            found.append(one)
        return found

    def tell(self, *lines: str) -> None:
        """Send it a notice such as ``READY=1``; without a manager nothing happens, and nothing is ever raised."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(1.0)
                sock.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError:
            pass


class Log:
    """Log lines on stderr: for people, with ``<N>`` before them under a service manager, or as JSON.

    To be made before a `Manager`, which takes away what says that there is one.
    """

    def __init__(self, level: str, *, as_json: bool = False) -> None:
        self._shown = {"alert", *LEVELS[: LEVELS.index(level) + 1]}
        self._as_json = as_json
        self._is_terminal = sys.stderr.isatty()
        self._is_managed = "NOTIFY_SOCKET" in os.environ or "JOURNAL_STREAM" in os.environ

    def __call__(self, level: str, message: str) -> None:
        """Say one thing. Text that came from programs cannot begin a line of its own."""
        if level not in self._shown:
            return
        if self._as_json:
            now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
            line = json.dumps({"time": now, "level": level, "message": message})
        elif self._is_terminal:
            say(message, color=_COLORS.get(level))
            return
        else:
            line = f"<{_PRIORITIES[level]}>" if self._is_managed else "userevents: "
            line += printable(message)
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except OSError:
            pass  # whoever read it is gone; that ends no service
