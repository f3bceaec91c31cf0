"""The agent: its parts run whatever the broker does, and it ends when told."""

import asyncio
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from nats.aio.msg import Msg

from tests.fleet.conftest import Server, free_port
from tests.fleet.hosts import until
from userevents.control import Access
from userevents.fleet import flying, names, publish
from userevents.fleet.agent import Agent, Part
from userevents.fleet.batches import Batch
from userevents.fleet.connection import Settings
from userevents.fleet.member import _News
from userevents.fleet.table import Entry


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


def test_wishes_are_the_newest_that_were_told_of_and_never_none_once_there_were() -> None:
    """A lagging replica takes nothing back, nor does whoever removes the key; another broker's are taken."""

    async def main() -> None:
        answer: list[Entry | None] = [None]
        asked = 0

        async def get(key: str) -> Entry | None:
            nonlocal asked
            assert key == names.WISHES
            asked += 1
            return answer[0]

        broker = SimpleNamespace(connections=1, get=get)
        agent: Any = SimpleNamespace(broker=broker)
        news = _News(agent)
        assert (await news.newest()).sequence == 0
        answer[0] = Entry(names.WISHES, b"a", 5)
        assert await news.newest() == answer[0]
        await news._take(_told(names.WISHES, b"b", "7"))
        assert await news.newest() == Entry(names.WISHES, b"b", 7)
        assert asked == 2  # what was told of is not asked for
        assert (await news.newest()).sequence == 7  # the replica still says 5
        for key, number in ((names.WISHES, "no number"), ("host.a", "9")):
            await news._take(_told(key, b"forged", number))
        assert not news.heard.is_set()
        for broker.connections in (1, 2):
            answer[0] = None
            assert (await news.newest()).sequence == 7
        broker.connections, answer[0] = 3, Entry(names.WISHES, b"c", 2)
        assert await news.newest() == answer[0]

    asyncio.run(main())


def _told(key: str, value: bytes, number: str) -> Msg:
    headers = {"Nats-Subject": names.key_subject(key), "Nats-Sequence": number}
    return Msg(_client=None, subject=names.NEWS_SUBJECT, data=value, headers=headers)  # type: ignore[arg-type]


def test_what_a_run_of_the_sender_kept_when_it_failed_is_lost_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run begins without the backlog; the host tells how many records went with it."""
    tracer = SimpleNamespace(stream=lambda: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(publish, "make_instance", lambda access: tracer)

    async def fails(self: publish.Publisher, stream: object) -> None:
        self.backlog.add(Batch(1, b"", begins=True, records=3))
        self.backlog.add(Batch(1, b"", records=4))
        assert self.backlog.take() is not None
        raise ValueError("broken")

    monkeypatch.setattr(publish.Publisher, "_read_all", fails)
    settings = Settings((f"nats://127.0.0.1:{free_port()}",))
    agent = Agent(settings, "here", lambda: SimpleNamespace(close=lambda: None))
    for lost in (7, 14):
        with pytest.raises(ValueError, match="broken"):
            asyncio.run(publish.publish(agent))
        assert agent.facts["lost"] == lost


@pytest.mark.parametrize(
    ("part", "what"), [(publish.publish, "clock"), (publish.publish, "recording"), (flying.flights, "flight")]
)
def test_a_part_that_failed_and_runs_again_answers_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch, part: Part, what: str
) -> None:
    """What it had subscribed to ends with it: else its questions had two answers, one of a run that is over."""
    fails = threading.Event()
    tracer = SimpleNamespace(close=lambda: None, stream=lambda: SimpleNamespace(close=lambda: None))

    async def turn(self: object) -> None:
        if fails.is_set():
            fails.clear()
            raise ValueError("broken once")

    async def turns(self: Any, stream: object) -> None:
        while not self._agent.ending.is_set():
            await turn(self)
            await asyncio.sleep(0.01)

    monkeypatch.setattr(publish, "make_instance", lambda access: tracer)
    monkeypatch.setattr(publish.Publisher, "_read_all", turns)
    monkeypatch.setattr(flying._Flights, "turn", turn)
    agent = Agent(server.settings, "here", lambda: tracer, parts=(part,))
    subject = names.ask_subject("here", what)

    def heard() -> set[int]:
        client = agent.broker._client
        return {sid for sid, each in client._subs.copy().items() if each.subject == subject} if client else set()

    agent.start()
    try:
        until(heard, "it listens")
        before = heard()
        fails.set()
        until(lambda: heard() - before, "the next run listens")
        assert not heard() & before
    finally:
        agent.stop()
