"""Registering an event from the command line: in a session of this process for our tracer, by ioctl elsewhere."""

import errno
import os
import time
from typing import Final, Protocol

from ..abi.user_events import MAX_NAME_ARGS_SIZE
from ..control import Access, FilesAccess, SocketAccess, Tracer
from ..control.registration import Registration
from ..errors import NoTracer, Refused
from ..session import layout, producer
from ..session.producer import Declared, Session

_CAPACITY: Final = 16
_ANSWER_S: Final = 10.0
_TURN_S: Final = 0.005


class Hold(Protocol):
    """An event that this process holds."""

    def close(self) -> None:
        """Let go of it."""


def hold(access: Access, text: bytes, flags: int) -> Hold:
    """Register the event `text` as any program does, and hold it. Raises `Refused` with the tracer's reason."""
    if len(text) >= MAX_NAME_ARGS_SIZE:
        raise Refused(errno.EINVAL, f"a declaration of {len(text)} bytes; at most {MAX_NAME_ARGS_SIZE - 1} fit")
    if isinstance(access, FilesAccess):
        return Registration(access.root, text, flags)
    assert isinstance(access, SocketAccess)
    return _Declaration(access, text, flags)


class _Declaration:
    """An event declared in a session of this process, where the tracer behind `access` looks for sessions."""

    def __init__(self, access: SocketAccess, text: bytes, flags: int) -> None:
        self._session = Session(os.path.dirname(access.path), _CAPACITY)
        self._session.declare(Declared(text, flags), word=layout.WORD_PENDING)
        self._session.ring_bell()
        try:
            self._await_answer()
            code = self._session.answers[0] >> 16
            if code:
                raise Refused(code, _reason(access, text) or os.strerror(code))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Take the session away; the tracer lets go of the event once this process has ended."""
        producer.remove(self._session.directory, self._session.name)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + _ANSWER_S
        while self._session.words[0] & layout.WORD_PENDING:
            if time.monotonic() > deadline:
                raise NoTracer(f"the tracer did not answer a declaration within {_ANSWER_S:g} seconds")
            time.sleep(_TURN_S)


def _reason(access: Access, text: bytes) -> str | None:
    """Why the tracer refused this process a declaration, in its words."""
    programs = Tracer(access).info().get("programs")
    declared = text.decode("latin-1")
    for program in programs if isinstance(programs, list) else []:
        for event in program["events"] if program["pid"] == os.getpid() else []:
            if event["text"] == declared and event["reason"]:
                return str(event["reason"])
    return None
