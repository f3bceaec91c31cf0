"""Ending tasks of asyncio for certain."""

import asyncio

from userevents.fleet.waiting import end


def test_a_task_ends_though_what_it_waits_for_comes_in_the_same_instant() -> None:
    """Python 3.11's wait_for swallows a cancellation then: a tail that had shown enough read on for ever."""

    async def main() -> int:
        queue: asyncio.Queue[int] = asyncio.Queue()
        taken = 0

        async def read() -> None:
            nonlocal taken
            while True:
                await asyncio.wait_for(queue.get(), 60)
                taken += 1

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        for _ in range(4):  # until the reader waits for the queue
            await asyncio.sleep(0)
        queue.put_nowait(1)
        await asyncio.sleep(0)
        await asyncio.wait_for(end(reading), 10)
        assert reading.cancelled()
        return taken

    assert asyncio.run(main()) <= 1


def test_what_a_task_failed_with_is_nobodys_concern_any_more() -> None:
    """The end of a task that has failed is no failure, and one that has ended is left as it is."""

    async def fail() -> None:
        raise ValueError

    async def main() -> None:
        failing = asyncio.create_task(fail())
        await asyncio.sleep(0)
        await end(failing)
        assert isinstance(failing.exception(), ValueError)

    asyncio.run(main())
