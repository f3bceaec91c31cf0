"""asyncio's tasks as events, and the callbacks that kept an event loop from everything else."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from itertools import count
from time import monotonic_ns
from typing import Any

from ..client import char16, event, u64
from ..providers import guard

_next_number = count(1).__next__
_Coro = Coroutine[Any, Any, Any] | Generator[Any, None, Any]


@event
def asyncio_task_begin(task: u64, name: str, coro: str) -> None:
    """A task was made; `task` is its number in this process."""


@event
def asyncio_task_end(task: u64, name: str, coro: str, duration_ns: u64, outcome: char16, error: str) -> None:
    """A task ended, `duration_ns` after it was made; `outcome` is ``done``, ``failed`` or ``cancelled``."""


@event
def asyncio_slow(duration_ns: u64, callback: str) -> None:
    """A callback, or one step of a task, ran for so long, and nothing else of its loop did meanwhile."""


def watch_tasks(loop: asyncio.AbstractEventLoop | None = None) -> Callable[[], None]:
    """Write `asyncio_task_begin` and `_end` for the tasks that `loop` (the running one) makes from now on.

    A task factory that is set already goes on making the tasks. Returns what ends it: tasks that began still end.
    Raises RuntimeError without a running loop, and where `loop` makes its tasks in its own way.
    """
    loop = loop if loop is not None else asyncio.get_running_loop()
    before = loop.get_task_factory()

    def make(loop: asyncio.AbstractEventLoop, coro: _Coro, **options: Any) -> Any:
        task = asyncio.Task(coro, loop=loop, **options) if before is None else before(loop, coro, **options)
        if asyncio_task_begin or asyncio_task_end:
            try:
                _follow(task, coro)
            except Exception as error:
                guard.absorb(error)
        return task

    def end() -> None:
        if loop.get_task_factory() is make:
            loop.set_task_factory(before)

    loop.set_task_factory(make)
    return end


def _follow(task: Any, coro: object) -> None:
    number, began = _next_number(), monotonic_ns()
    called = getattr(coro, "__qualname__", type(coro).__qualname__)
    asyncio_task_begin(number, task.get_name(), called)

    def ended(task: "asyncio.Task[Any]") -> None:
        if not asyncio_task_end:
            return
        took = monotonic_ns() - began
        try:
            outcome, text = _outcome(task)
            asyncio_task_end(number, task.get_name(), called, took, outcome, text)
        except Exception as error:
            guard.absorb(error)

    task.add_done_callback(ended)


def _outcome(task: "asyncio.Task[Any]") -> tuple[str, str]:
    """How a task ended, and its exception as text, which is the exception's own and may fail."""
    if task.cancelled():
        return "cancelled", ""
    error = task._exception  # looked at only: asyncio still tells if nobody asks
    if error is None:
        return "done", ""
    try:
        return "failed", f"{type(error).__qualname__}: {error}"
    except Exception as failure:
        guard.absorb(failure)
        return "failed", type(error).__qualname__


def watch_slow_callbacks(threshold_s: float = 0.1) -> Callable[[], None]:
    """Write `asyncio_slow` for callbacks of all asyncio loops in Python that run for `threshold_s` seconds or longer.

    It stands in for `asyncio.Handle._run`, so that loops which have handles of their own (uvloop) are not seen. Returns
    what ends it.
    """
    original, threshold_ns = asyncio.Handle._run, round(threshold_s * 1e9)

    def _run(self: asyncio.Handle) -> Any:
        if not asyncio_slow:
            return original(self)
        began = monotonic_ns()
        try:
            return original(self)
        finally:
            spent = monotonic_ns() - began
            if spent >= threshold_ns:
                asyncio_slow(spent, _described(self))

    def end() -> None:
        if asyncio.Handle._run is _run:
            asyncio.Handle._run = original  # type: ignore[method-assign]

    asyncio.Handle._run = _run  # type: ignore[method-assign]
    return end


def _described(handle: asyncio.Handle) -> str:
    """What ran: a task by its name and coroutine, else the function."""
    callback = getattr(handle, "_callback", None)
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return f"{task.get_name()}: {getattr(task.get_coro(), '__qualname__', '?')}"
    try:
        return getattr(callback, "__qualname__", None) or repr(callback)
    except Exception as error:
        guard.absorb(error)
        return type(callback).__qualname__
