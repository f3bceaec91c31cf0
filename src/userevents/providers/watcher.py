"""A thread that looks, ten times a second, whether anybody listens; and that is not there when the program forks.

From Python 3.12 on, a fork of a process with threads warns, so the thread ends before a fork. The child gets one of its
own. The parent, which would warn as soon as it had another, has `look` called when the garbage collector has run.
"""

from __future__ import annotations

import _thread
import gc
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PERIOD_S = 0.1
_TRIES, _PAUSE_S = 100, 0.00005
_watchers: list[Watcher] = []
_hooked: list[bool] = []


class Watcher:
    """Calls `look` now and again, from now on, in this process and in those forked from it."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._tid = 0
        self._wanted = _thread.allocate_lock()
        self._begin()
        gc.callbacks.append(self._collected)
        if not _hooked:  # once for good: Python has no way to take hooks back
            _hooked.append(True)
            os.register_at_fork(before=_end_all, after_in_child=_begin_all)
        _watchers.append(self)

    def stop(self) -> None:
        """Look no more, here and in those forked from now on."""
        if self in _watchers:
            _watchers.remove(self)
            gc.callbacks.remove(self._collected)
            self._end()

    def _begin(self) -> None:
        self._look()
        self._wanted = _thread.allocate_lock()
        self._wanted.acquire()
        self._tid = -1
        try:
            _thread.start_new_thread(self._run, (self._wanted,))
        except RuntimeError:  # no more threads: the collector is left
            self._tid = 0

    def _run(self, wanted: _thread.LockType) -> None:
        self._tid = _thread.get_native_id()
        while not wanted.acquire(timeout=_PERIOD_S):
            self._look()

    def _end(self) -> None:
        """End the thread, and wait until it is gone: some hundredths of a millisecond."""
        tid, self._tid = self._tid, 0
        if tid == 0:
            return
        self._wanted.release()
        for _ in range(_TRIES):
            tid = max(tid, self._tid)
            if tid > 0 and not os.path.exists(f"/proc/self/task/{tid}"):
                break
            time.sleep(_PAUSE_S)
        self._tid = 0

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and not self._tid:
            self._look()


def _end_all() -> None:
    for watcher in _watchers:
        watcher._end()


def _begin_all() -> None:
    for watcher in _watchers:
        watcher._begin()
