"""The tracer's thread: descriptors, timers and calls handed over from other threads.

Everything that the tracer knows is touched by whoever holds `Loop.lock`: this thread while it is awake, and a
door's own thread while it serves a request. So nothing in the house below needs a lock.

What was worked out from the tree is good for as long as nobody has had the lock (`TreeLock.turns`).
"""

import os
import selectors
import threading
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")


class TreeLock:
    """The lock of everything that the tracer knows; one thread may take it twice.

    `turns` counts how often it was taken. Who only puts a record where it has found out that records go takes `raw`
    alone: that changes nothing for anybody, and is not counted.
    """

    def __init__(self) -> None:
        self.raw: Final = threading.RLock()
        self.turns = 0

    def __enter__(self) -> None:
        self.raw.acquire()
        self.turns += 1

    def __exit__(self, *failure: object) -> None:
        self.raw.release()


class Activity:
    """Wakes those who wait for something to happen. Each tells what it has `seen`, so that no one misses anything."""

    def __init__(self) -> None:
        self.number = 0
        """How many times something happened."""
        self._changed = threading.Condition()

    def tell(self) -> None:
        """Something happened."""
        with self._changed:
            self.number += 1
            self._changed.notify_all()

    def wait(self, seen: int, longest: float) -> None:
        """Wait until more has happened than `seen`, for `longest` seconds at most."""
        with self._changed:
            if self.number == seen:
                self._changed.wait(longest)


class Loop:
    """A selector loop. `watch` and `unwatch` belong to whoever holds `lock`; `call`, `wake` and `stop` to anybody."""

    def __init__(self, on_error: Callable[[Exception], None] | None = None) -> None:
        self.lock = TreeLock()
        """Held by the loop but while it sleeps."""
        self._on_error = on_error
        self._selector = selectors.DefaultSelector()
        self._calls: list[Callable[[], None]] = []
        self._guard = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._stopped = False
        self._thread: threading.Thread | None = None
        self.watch(self._wake, self._woken, None)

    def watch(self, fd: int, on_readable: Callable[[], None], on_writable: Callable[[], None] | None) -> None:
        """Call `on_readable` (and `on_writable`, if given) whenever the descriptor is ready; replaces both."""
        interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if on_writable else 0)
        try:
            self._selector.register(fd, interest, (on_readable, on_writable))
        except KeyError:
            self._selector.modify(fd, interest, (on_readable, on_writable))

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor; one that is not watched is no error."""
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            pass

    def run(self, turn: Callable[[], float]) -> None:
        """Run until `stop`; after every wake-up call `turn`, which returns the seconds to sleep at most."""
        self._thread = threading.current_thread()
        try:
            while not self._stopped:
                with self.lock:
                    longest = turn()
                ready = self._selector.select(longest)
                with self.lock:
                    for key, events in ready:
                        self._dispatch(key, events)
        finally:
            self._run_calls()
            self._selector.close()
            with self._guard:
                os.close(self._wake)
                self._wake = -1

    def _dispatch(self, key: selectors.SelectorKey, events: int) -> None:
        on_readable, on_writable = key.data
        if events & selectors.EVENT_READ:
            self._guarded(on_readable)
        if events & selectors.EVENT_WRITE and on_writable is not None and key.fd in self._selector.get_map():
            self._guarded(on_writable)

    def _guarded(self, callback: Callable[[], None]) -> None:
        """One descriptor's trouble must not end the service of all the others."""
        try:
            callback()
        except Exception as error:
            if self._on_error is None:
                raise
            self._on_error(error)

    def stop(self) -> None:
        """Make `run` return after the current turn."""
        self._stopped = True
        self.wake()

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` in the loop's thread and return its result, or raise what it raised."""
        if threading.current_thread() is self._thread or self._wake < 0:
            return function()
        done = threading.Event()
        result: list[T] = []
        failure: list[BaseException] = []

        def run() -> None:
            try:
                result.append(function())
            except BaseException as error:
                failure.append(error)
            finally:
                done.set()

        with self._guard:
            self._calls.append(run)
        self.wake()
        while not done.wait(1.0):
            if self._thread is not None and not self._thread.is_alive() and not done.is_set():
                raise RuntimeError("the tracer's thread has ended")
        if failure:
            raise failure[0]
        return result[0]

    def wake(self) -> None:
        """Make the loop take its next turn now; any thread may call it."""
        with self._guard:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def _woken(self) -> None:
        os.eventfd_read(self._wake)
        self._run_calls()

    def _run_calls(self) -> None:
        with self._guard:
            calls, self._calls = self._calls, []
        for call in calls:
            call()
