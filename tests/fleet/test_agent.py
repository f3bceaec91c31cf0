"""The agent: its parts run whatever the broker does, and it ends when told."""

import asyncio
import threading
import time

from tests.fleet.conftest import free_port
from userevents.control import Access
from userevents.fleet.agent import Agent
from userevents.fleet.connection import Settings


def _nowhere() -> Access:
    raise AssertionError("no part asked for the tracer")


def test_parts_run_without_a_broker_and_one_that_fails_is_run_again() -> None:
    """An agent whose broker is dead starts at once, keeps its parts going, and ends within its time."""
    went_on = threading.Event()
    told: list[tuple[str, str]] = []

    async def breaks(agent: Agent) -> None:
        if not told:
            raise ValueError("broken once")
        went_on.set()

    async def waits(agent: Agent) -> None:
        await asyncio.wait({asyncio.ensure_future(agent.ending.wait())})

    agent = Agent(
        Settings((f"nats://127.0.0.1:{free_port()}",)),
        "here",
        _nowhere,
        (breaks, waits),
        lambda level, text: told.append((level, text)),
    )
    started = time.monotonic()
    agent.start()
    assert time.monotonic() - started < 0.5
    assert went_on.wait(10)
    agent.stop()
    assert time.monotonic() - started < 8
    assert ("error", "fleet: breaks: ValueError('broken once'); trying again") in told
    assert any(level == "warning" and "no broker answers" in text for level, text in told)
