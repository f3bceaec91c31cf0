"""Every error this package raises on purpose, drawn as one tree.

    UserEventsError
    ├── Refused      the contract says no: carries the kernel's errno (also an OSError)
    ├── Malformed    bytes or a file that do not follow their format (also a ValueError)
    ├── NoTracer     no tracer could be reached or become (also a ConnectionError)
    ├── NoBroker     no broker of a fleet could be reached, or it did not answer (also a ConnectionError)
    └── Unusable     the place or the program asked for cannot serve (a directory, a file, a PID)

A message says what was asked, what was found, and the way out; the offending value stands in quotes.
"""

import errno as _errno


class UserEventsError(Exception):
    """Base of every error that userevents raises on purpose."""


class Refused(UserEventsError, OSError):
    """A request that the user_events contract refuses.

    `errno` is the kernel's number for that refusal. One errno can have several meanings
    (EADDRINUSE has two), so `reason` says which, with the values.

    Source: user_events contract, abi.md section 5.
    """

    def __init__(self, errno: int, reason: str) -> None:
        super().__init__(errno, reason)
        self.reason = reason

    @property
    def name(self) -> str:
        """The errno's name, ``"EADDRINUSE"``."""
        return _errno.errorcode.get(self.errno or 0, str(self.errno))

    def __str__(self) -> str:
        return f"[{self.name}] {self.reason}"


class Malformed(UserEventsError, ValueError):
    """Bytes that do not follow the format they claim.

    `what` names the thing read (a file, a page, a session); `offset` is the byte at which reading
    stopped, or None where no single byte is at fault.
    """

    def __init__(self, what: str, problem: str, offset: int | None = None) -> None:
        where = "" if offset is None else f" at byte {offset}"
        super().__init__(f"{what}: {problem}{where}")
        self.what = what
        self.problem = problem
        self.offset = offset


class NoTracer(UserEventsError, ConnectionError):
    """No running tracer could be reached, and none could be started."""


class NoBroker(UserEventsError, ConnectionError):
    """No broker of a fleet could be reached, or the one there is did not answer in time."""


class Unusable(UserEventsError):
    """A directory, file or program that cannot serve what was asked of it."""
