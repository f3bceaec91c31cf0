"""A host in a fleet: the agent beside a tracer, in a thread of its own with an asyncio loop.

The tracer never waits for it. What the agent does it does in parts, which run as long as it does and wait for the
broker each by itself (`Broker.connected`), since it may be dead, slow or gone at any time.
"""

import asyncio
import contextlib
import importlib.metadata
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from ..control import Access
from . import member
from .batches import BACKLOG_SIZE
from .borrowed import Borrowed
from .broker import Broker
from .connection import Log, Settings
from .filtering import Filtering
from .table import Presence
from .waiting import end, until

_END_S: Final = 5.0
_AGAIN_S: Final = 1.0

Part = Callable[["Agent"], Awaitable[None]]


class Agent:
    """Joins `host` to the fleet behind a broker, from `start` to `stop`.

    `access` gives the local tracer's tree; each part that needs it asks for one of its own, since one thread at a
    time may use one.
    """

    def __init__(
        self,
        settings: Settings,
        host: str,
        access: Callable[[], Access],
        parts: tuple[Part, ...] = member.PARTS,
        log: Log | None = None,
        backlog_size: int = BACKLOG_SIZE,
    ) -> None:
        self.settings = settings
        self.host = host
        self.access = access
        self.incarnation = os.urandom(8).hex()
        """Which run of the agent this is: another one of the same host has another."""
        self.log = log or (lambda level, text: None)
        self.broker = Broker(settings, f"userevents agent {host}", log=self.log)
        self.presence = Presence(host, self.incarnation)
        self.filtering = Filtering()
        """Takes out of the recorded frames what the fleet's filters reject."""
        self.changed = asyncio.Event()
        """Set when `presence` has something new to tell."""
        self.facts = self._first_facts()
        """What people are told of this host, as JSON; whoever knows something adds it."""
        self.backlog_size = backlog_size
        """Bytes of events that are kept while the broker does not take them."""
        self.borrowed = Borrowed()
        """What is recorded besides the fleet's wishes, for those who look on."""
        self.switched = 0
        """How many times what is recorded here was changed: whoever did that waits for the first records."""
        self.asked = asyncio.Event()
        """Set when `borrowed` has changed."""
        self.ending = asyncio.Event()
        """Set when the agent is to end: parts finish what they have begun."""
        self._parts = parts
        self._said: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)

    def start(self) -> None:
        """Begin; never fails and never waits for a broker. What goes wrong is logged, and tried again."""
        self._thread.start()

    def stop(self) -> None:
        """Let go of everything the host holds in the fleet, as far as the broker answers, and end."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.end)
        self._thread.join(_END_S)

    def end(self) -> None:
        """Have the parts end; to be called in the agent's loop."""
        self.ending.set()
        self.changed.set()

    def log_once(self, level: str, text: str) -> None:
        """Log what would otherwise be said again and again."""
        if text not in self._said:
            self._said.add(text)
            self.log(level, text)

    def _first_facts(self) -> dict[str, Any]:
        return {
            "incarnation": self.incarnation,
            "since": round(time.time(), 3),
            "pid": os.getpid(),
            "node": os.uname().nodename,
            "release": os.uname().release,
            "version": importlib.metadata.version("userevents"),
            "events": 0,
        }

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        running = [asyncio.create_task(self._keep(part)) for part in (_connection, *self._parts)]
        try:
            await self.ending.wait()
            await asyncio.wait(running[1:] or running, timeout=_END_S / 2)
        finally:
            await end(*running)
            await self.broker.close()

    async def _keep(self, part: Part) -> None:
        """Run a part, and again when it fails: one that is broken must not take the others along."""
        while not self.ending.is_set():
            try:
                await part(self)
                return
            except Exception as error:
                self.log("error", f"fleet: {part.__name__.strip('_')}: {error!r}; trying again")
            await until(self.ending, _AGAIN_S)


async def _connection(agent: Agent) -> None:
    """Be connected, whatever happens."""
    while not agent.ending.is_set():
        if agent.broker.is_closed:
            await agent.broker.connect(None)
        await until(agent.ending, _AGAIN_S)
