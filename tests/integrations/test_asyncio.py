"""asyncio's tasks and slow callbacks, on a real loop."""

import asyncio
import time

import pytest

from userevents.integrations.asyncio import watch_slow_callbacks, watch_tasks
from userevents.testing import PrivateTracer


async def work(how: str) -> str:
    """End in one of three ways."""
    await asyncio.sleep(0.001)
    if how == "failed":
        raise ValueError("no work")
    if how == "cancelled":
        await asyncio.sleep(60)
    return how


def test_a_task_has_a_begin_and_an_end_with_its_outcome(user_events: PrivateTracer) -> None:
    """Results, exceptions and cancellation reach whoever awaits, as without us."""

    async def main() -> None:
        end = watch_tasks()
        tasks = {how: asyncio.create_task(work(how), name=f"task {how}") for how in ("done", "failed", "cancelled")}
        await asyncio.sleep(0.02)
        tasks["cancelled"].cancel()
        results = await asyncio.gather(*tasks.values(), return_exceptions=True)
        assert [type(result) for result in results] == [str, ValueError, asyncio.CancelledError]
        end()
        await asyncio.create_task(work("done"))

    asyncio.run(main())
    ends = {record.outcome: record for record in user_events["asyncio_task_end"]}
    assert set(ends) == {"done", "failed", "cancelled"}
    assert ends["failed"].error == "ValueError: no work"
    assert (ends["done"].name, ends["done"].coro, ends["done"].error) == ("task done", "work", "")
    assert ends["cancelled"].duration_ns > 15_000_000
    assert {record.task for record in user_events["asyncio_task_begin"]} == {record.task for record in ends.values()}


def test_an_exception_without_words_has_its_name(user_events: PrivateTracer) -> None:
    """Its text is the program's code, and may raise itself: the event is written, and the loop is told of nothing."""
    told: list[object] = []

    class Wordless(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    async def fail() -> None:
        raise Wordless

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        end = watch_tasks()
        await asyncio.gather(asyncio.create_task(fail()), return_exceptions=True)
        await asyncio.sleep(0)
        end()

    asyncio.run(main())
    (ended,) = user_events["asyncio_task_end"].where(outcome="failed")
    assert (ended.error.rpartition(".")[2], told) == ("Wordless", [])


def test_a_factory_that_is_set_already_goes_on_making_the_tasks(user_events: PrivateTracer) -> None:
    """And an exception that nobody asks for is still told by asyncio."""
    told = []

    class Own(asyncio.Task):  # type: ignore[type-arg]
        pass

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, facts: told.append(facts["message"]))
        loop.set_task_factory(lambda loop, coro, **options: Own(coro, loop=loop, **options))
        watch_tasks()
        task = asyncio.create_task(work("failed"))
        assert type(task) is Own
        await asyncio.wait([task])
        del task

    asyncio.run(main())
    assert user_events["asyncio_task_end"].where(outcome="failed").count == 1
    assert told == ["Own exception was never retrieved"]


def test_a_callback_that_kept_the_loop_is_told(user_events: PrivateTracer) -> None:
    """Functions by name, steps of tasks by the task; what is fast is not told."""

    def block() -> None:
        time.sleep(0.03)

    async def main() -> None:
        asyncio.get_running_loop().call_soon(block)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task = asyncio.create_task(step(), name="stepper")
        await task

    async def step() -> None:
        time.sleep(0.03)

    end = watch_slow_callbacks(0.02)
    try:
        asyncio.run(main())
    finally:
        end()
    told = [str(record.callback) for record in user_events["asyncio_slow"]]
    assert any(text.endswith(".block") for text in told)
    assert any(text.startswith("stepper: ") and text.endswith("step") for text in told)
    assert all(record.duration_ns >= 20_000_000 for record in user_events["asyncio_slow"])


def test_watching_needs_a_loop() -> None:
    """Without a running one there is nothing to watch."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        watch_tasks()
