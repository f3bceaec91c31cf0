"""Waiting in the parts of an agent: for one thing or several, for a while."""

import asyncio
import contextlib


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
