"""Calls that may never come back, made in a thread that is given up when one does not.

Touching another process's memory can wait for whatever stands behind that memory: a file system that is served by
the very process, say, and never answers. No signal ends such a wait.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Late(Exception):
    """A call did not come back in time."""


class Errand:
    """Makes one call after the other, each for at most `limit_s` seconds. For one caller at a time."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._runner: _Runner | None = None

    def run(self, call: Callable[[], T]) -> T:
        """What the call returns or raises; `Late` when that takes too long: then its thread is left to it."""
        if self._runner is None:
            self._runner = _Runner()
        runner = self._runner
        outcome: list[T] = []
        failure: list[BaseException] = []

        def go() -> None:
            try:
                outcome.append(call())
            except BaseException as error:
                failure.append(error)

        if not runner.run(go, self.limit_s):
            self.close()
            raise Late
        if failure:
            raise failure[0]
        return outcome[0]

    def close(self) -> None:
        """Let the thread go."""
        if self._runner is not None:
            self._runner.end()
            self._runner = None


class _Runner:
    """The thread: two locks that are handed to and fro, since nothing is faster."""

    def __init__(self) -> None:
        self._asked, self._done = threading.Lock(), threading.Lock()
        self._asked.acquire()
        self._done.acquire()
        self._call: Callable[[], None] | None = None
        threading.Thread(target=self._serve, name="userevents-memory", daemon=True).start()

    def run(self, call: Callable[[], None], limit_s: float) -> bool:
        """Have a call made; False if it is not over in time."""
        self._call = call
        self._asked.release()
        return self._done.acquire(timeout=limit_s)

    def end(self) -> None:
        """No more calls; a thread that is still busy with one ends when that does."""
        self._call = None
        self._asked.release()

    def _serve(self) -> None:
        while True:
            self._asked.acquire()
            call = self._call
            if call is None:
                return
            call()
            self._done.release()
