"""The parts of an agent that make its host a member: it is seen, its events are, and the fleet's wishes are done.

What is asked and what follows from an answer says `table.py`; here are the clock and the network.
"""

import asyncio
import contextlib
import json
import random
import time
from typing import TYPE_CHECKING, Final

from ..errors import Malformed, NoBroker, Refused
from . import names
from .broker import Broker, Conflict, entry_of
from .flying import flights
from .local import Local
from .pace import Pace
from .publish import publish
from .table import CONFLICT, Answer, Entry, Presence, Put, Question, Read, Remove, Sweep
from .waiting import any_of, until
from .wishes import Wishes

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from .agent import Agent

AUDIT_S: Final = 10.0
"""How often a host compares its keys with what the broker has."""
LOOK_S: Final = 0.25
"""How often the local tracer is asked who holds its events."""
WISHES_S: Final = 10.0
"""How often wishes are looked up: news may only be lost with a connection, after which a host looks anyway."""
_BORROWED_S: Final = 2.0
"""How often it is seen whether what is borrowed is still wanted."""
SWEEPS_A_SECOND: Final = 4.0
"""How often the whole fleet together looks for hosts that are gone."""
_FULL_SWEEP: Final = 1 / 30
"""This share of the sweeps looks at the users, too: those of a host whose facts are gone already."""
_USERS_A_SECOND: Final = 1000
"""And no more than so many users are looked at by the whole fleet together."""
_AGAIN_S: Final = 0.3
_FACTS_S: Final = 2.0
_NO_WISHES: Final = Entry(names.WISHES, b"", 0)


async def ask(broker: Broker, question: Question, lease_s: int = 0) -> Answer:
    """Put a question to the broker; None if nobody knows whether it was done. Raises `Refused` (EACCES)."""
    try:
        match question:
            case Read(pattern) if "*" in pattern:
                return await broker.entries(pattern)
            case Read(key):
                found = await broker.get(key)
                return [] if found is None else [found]
            case Put(key, value, expected, leased, once):
                return await broker.put(key, value, expected, lease_s if leased else 0, once)
            case Remove(key, sequence):
                return await broker.remove(key, sequence)
    except Conflict:
        return CONFLICT
    except NoBroker:
        return None


async def presence(agent: "Agent") -> None:
    """Keep the lease and the keys of this host, and take them away at the end."""
    mine, pace = agent.presence, Pace()
    beat_at = audit_at = 0.0
    said = ""
    while not mine.is_out:
        mine.is_leaving = agent.ending.is_set()
        if not agent.broker.connected.is_set():
            if mine.is_leaving:
                return
            await any_of(agent.ending.wait(), agent.broker.connected.wait(), timeout=1.0)
            continue
        now = time.monotonic()
        if now >= audit_at:
            audit_at = now + AUDIT_S
            await _audit(agent, mine)
        agent.changed.clear()
        is_beat = now >= beat_at
        questions = mine.due_together(pace.writes, beat=is_beat)
        if not questions:
            await until(agent.changed, max(beat_at - now, 0.01))
            continue
        answers = await _all_asked(agent, questions, pace.lease_s)
        for question, answer in zip(questions, answers, strict=True):
            mine.done(question, answer)
        if not _is_about_lease(questions[0]):
            pace.wrote(time.monotonic() - now)
        elif is_beat:
            pace.renewed(time.monotonic() - (beat_at or now))
            beat_at = now + pace.beat_s
        if None in answers:
            await until(agent.ending, _AGAIN_S)
        said = _tell(agent, mine, said)


async def _audit(agent: "Agent", mine: Presence) -> None:
    """Have our keys read again if others are there than we know of.

    Only their names are asked for: nobody else may write them, and a read of the values costs a server more.
    """
    known = mine.known
    if known is None:
        return
    with contextlib.suppress(NoBroker, Refused):
        if set(await agent.broker.keys(mine.own_keys)) != known:
            mine.look_again()


def _is_about_lease(question: Question) -> bool:
    return isinstance(question, Read | Put) and question[0].startswith("lease.")


async def _all_asked(agent: "Agent", questions: list[Question], lease_s: int) -> list[Answer]:
    """Ask these together; their messages go out as one."""
    if len(questions) == 1:
        return [await _asked(agent, questions[0], lease_s)]
    return await asyncio.gather(*(_asked(agent, question) for question in questions))


async def _asked(agent: "Agent", question: Question, lease_s: int = 0) -> Answer:
    try:
        return await ask(agent.broker, question, lease_s)
    except Refused as refused:
        agent.log_once("error", str(refused))
        return None


def _tell(agent: "Agent", mine: Presence, said: str) -> str:
    """Log when the state of the membership changes."""
    if mine.is_in:
        now = f"host '{agent.host}' is in the fleet"
    elif mine.rival is not None:
        now = f"host '{agent.host}' is in the fleet already, as another run of it: waiting for that one's lease to end"
    else:
        now = ""
    if now and now != said:
        agent.log("info" if mine.is_in else "warning", now)
    return now or said


async def holdings(agent: "Agent") -> None:
    """Watch who holds the local tracer's events."""
    local = Local(agent.access(), agent.host)
    last = None
    while not agent.ending.is_set():
        held = await asyncio.to_thread(local.held)
        for key in agent.presence.deleted & held.declarations.keys():
            await asyncio.to_thread(local.delete, held.declarations[key])
        if held is not last:
            last = held
            agent.facts["events"] = len(held.used)
            agent.presence.hold(held.used, held.persistent)
            agent.changed.set()
        await until(agent.ending, LOOK_S)


async def facts(agent: "Agent") -> None:
    """Store what is to be told of this host whenever it has changed."""
    while not agent.ending.is_set():
        agent.facts["refused_filters"] = agent.filtering.refused
        packed = json.dumps(agent.facts, sort_keys=True).encode()
        if packed != agent.presence.facts:
            agent.presence.facts = packed
            agent.changed.set()
        await until(agent.ending, _FACTS_S)


async def wishes(agent: "Agent") -> None:
    """Have what is wished done here: news bring it at once, and looking now and then finds it where they were lost.

    Patterns that somebody has borrowed come last, so that they hold whatever is wished.
    """
    local = Local(agent.access(), agent.host)
    news = _News(agent)
    done, wished, borrowed = -1, Wishes(), list[str]()
    while not agent.ending.is_set():
        agent.asked.clear()
        if borrowed != (now := agent.borrowed.patterns(time.monotonic())):
            borrowed = now
            await _record(agent, local, wished, borrowed)
        if not agent.broker.connected.is_set():
            await any_of(agent.ending.wait(), agent.broker.connected.wait(), timeout=1.0)
            continue
        try:
            await news.listen()
            found = await news.newest()
            if found.sequence != done:
                wished = Wishes.parse(found.value) if found.value else Wishes()
                agent.filtering.set(wished.filters_for(agent.host))
                await _record(agent, local, wished, borrowed)
                done = found.sequence
        except NoBroker:
            await any_of(agent.ending.wait(), timeout=_AGAIN_S)
            continue
        except (Malformed, Refused) as error:
            agent.log_once("error", str(error))
        wait_s = _BORROWED_S if borrowed else WISHES_S
        await any_of(agent.ending.wait(), news.heard.wait(), agent.asked.wait(), timeout=wait_s)


async def _record(agent: "Agent", local: Local, wished: Wishes, borrowed: list[str]) -> None:
    agent.switched += 1
    try:
        await asyncio.to_thread(local.record, [*wished.patterns_for(agent.host), *borrowed])
    except Refused as refused:
        agent.log_once("error", str(refused))


class _News:
    """Listens for wishes that were stored: the broker passes them on (streams.kept_config)."""

    def __init__(self, agent: "Agent") -> None:
        self.heard = asyncio.Event()
        self._last = _NO_WISHES
        self._agent = agent
        self._connections = 0
        self._client: object = None

    async def listen(self) -> None:
        """Subscribe, once for each client."""
        client = self._agent.broker.client
        if client is not self._client:
            await self._agent.broker.reach(client.subscribe(names.NEWS_SUBJECT, cb=self._take))
            self._client = client

    async def newest(self) -> Entry:
        """Return what was told of since the last call, or else what the broker answers; sequence 0 if there never were.

        A replica may answer with less than was told of; the first answer over a new connection is believed. That there
        are none is not, once there were: wishes that were all taken back are stored as such, and whoever removed the
        key was no operator.
        """
        broker = self._agent.broker
        connections = broker.connections
        is_new = connections != self._connections
        if is_new or not self.heard.is_set():
            self.heard.clear()
            found = await broker.get(names.WISHES)
            if found is not None and is_new and not self.heard.is_set():
                self._last = found
            elif found is not None:
                self._keep(found)
            self._connections = connections
        self.heard.clear()
        return self._last

    def _keep(self, found: Entry) -> None:
        if found.sequence > self._last.sequence:
            self._last = found

    async def _take(self, message: "Msg") -> None:
        with contextlib.suppress(LookupError, ValueError):  # else it was not the broker that told us
            told = entry_of(message)
            if told.key == names.WISHES:
                self._keep(told)
                self.heard.set()


async def sweeps(agent: "Agent") -> None:
    """Take away what hosts that are gone have left: about so often in the whole fleet, whoever of it does it."""
    hosts, users = 1, 0
    while not agent.ending.is_set():
        wait_s = max(hosts / SWEEPS_A_SECOND, 1 / SWEEPS_A_SECOND)
        await until(agent.ending, wait_s * random.uniform(0.5, 1.5))
        if agent.ending.is_set() or not agent.presence.is_in:
            continue
        is_full = random.random() < min(_FULL_SWEEP, _USERS_A_SECOND / SWEEPS_A_SECOND / max(users, 1))
        try:
            known = await _hosts_of(agent, "host.*")
            if is_full:
                found = await agent.broker.keys("user.*.*.*")
                users = len(found)
                known |= {key.split(".", 2)[1] for key in found}
            alive = await _hosts_of(agent, "lease.*")
        except (NoBroker, Refused):
            continue
        hosts = len(alive)
        for token in known - alive - {names.encode(agent.host)}:
            with contextlib.suppress(Malformed):
                await sweep(agent, names.decode(token))


async def _hosts_of(agent: "Agent", pattern: str) -> set[str]:
    """The hosts that have such a key, as tokens: most of thousands are not to be decoded."""
    return {key.partition(".")[2] for key in await agent.broker.keys(pattern)}


async def sweep(agent: "Agent", host: str) -> None:
    """Take away what one host has left, unless it is there after all."""
    work = Sweep(host)
    while (question := work.due()) is not None:
        work.done(question, await _asked(agent, question))
    if work.removed:
        agent.log("info", f"host '{host}' is gone from the fleet: took away {work.removed} of its keys")


PARTS: Final = (presence, holdings, facts, wishes, publish, sweeps, flights)
"""What makes a host a member."""
