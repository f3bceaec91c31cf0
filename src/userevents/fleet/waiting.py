"""Waiting in asyncio: for one thing or several, for a while; and for tasks that are to end, until they have."""

import asyncio
import contextlib
from typing import Any, Final

_AGAIN_S: Final = 1.0


async def until(event: asyncio.Event, timeout_s: float) -> None:
    """Wait until an event is set, or for so long. Makes no task, which costs more than what most parts do in a turn."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()


async def any_of(*waits: object, timeout: float | None = None) -> None:
    """Wait until one of these is done, or for so long."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks until they have ended; what became of them is nobody's concern any more.

    Once is not enough: `asyncio.wait_for` of Python 3.11, in which the broker's client waits, swallows a cancellation
    that comes in the same turn of the loop as what it waits for. The task then goes on as if nothing had been said.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
