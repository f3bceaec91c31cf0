"""Flight rules across hosts, from where they are asked for: one that holds on any host has every host hold its window.

Each host keeps a flight recording, looks out for the rules by itself and tells at once when one holds (flying.py);
questions renew that, and find out what got lost (flight_hosts.py). A window is told to hosts in their own clocks,
compared with this one by every question and its answer; their parts come through the object store.
"""

import asyncio
import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from ..buffer import stream as wire
from ..errors import Malformed, NoBroker
from ..formats import facts
from ..formats.hosts import MAX_HOSTS, spoken_of
from . import names, objects
from .broker import Broker
from .flight_hosts import Host, Sample, every_s, expires_s
from .flying import ASK
from .view import View

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js.object_store import ObjectStore

_TURN_S: Final = 0.1
_VIEW_S: Final = 2.0
_FETCHES: Final = 8
"""Parts fetched at once."""
_COPY: Final = 1 << 20
PATIENCE_S: Final = 30.0
"""So long after its end a window waits for the parts of hosts that live."""
_ANEW_NS: Final = 500_000_000
"""What the comparisons of clocks are never off by."""
_GONE_S: Final = 5.0
"""And so long for one of a host that is gone, once that was seen: it may only lack a lease while a broker is away."""


class Instant(NamedTuple):
    """A rule held on a host, at a time of this clock; kernel text."""

    host: str
    rule: str
    ts_ns: int
    what: str
    pid: int
    comm: str
    more: int


@dataclass
class FleetWindow:
    """A window on every host, from one time of this clock to before another. `parts` are files with what came."""

    number: str
    since_ns: int
    until_ns: int
    hosts: dict[str, Host]
    offsets: dict[str, int]
    """By host, what its clock showed beyond this one when the window was begun."""
    began: dict[str, int]
    """By host, when its flight recording had begun by then, by this clock."""
    instants: list[Instant] = field(default_factory=list)
    parts: dict[str, IO[bytes]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fetching: set[str] = field(default_factory=set)

    def is_over(self, now_ns: int) -> bool:
        """Whether all parts are there that may come."""
        missing = [host for name, host in self.hosts.items() if name not in self.parts and name not in self.failed]
        late_ns = now_ns - self.until_ns
        return late_ns > 0 and all(
            late_ns > PATIENCE_S * 1e9 or (not host.is_alive and min(late_ns, now_ns - host.gone_ns) > _GONE_S * 1e9)
            for host in missing
        )

    def begun_anew(self) -> list[str]:
        """Hosts whose flight recording began once more meanwhile: their parts lack what was before."""
        return [name for name, ns in self.began.items() if self.hosts[name].began_ns - ns > _ANEW_NS]

    def missing(self) -> dict[str, str]:
        """Hosts whose part did not come, and why."""
        left = [name for name in self.hosts if name not in self.parts]
        return {name: self.failed.get(name, "it did not answer") for name in left}


class FleetFlight:
    """Keeps a flight recording with rules on every host that `hosts` matches, as long as `run` does.

    `held` is told each time a rule holds, `place` gives a file for a part. Made and used in one asyncio loop.
    """

    def __init__(
        self,
        broker: Broker,
        hosts: str,
        asked: dict[str, Any],
        held: Callable[[Instant], None],
        place: Callable[[], IO[bytes]],
    ) -> None:
        self.hosts: dict[str, Host] = {}
        self.windows: dict[str, FleetWindow] = {}
        self.refused: dict[str, None] = {}
        """What hosts cannot look at, or do, each once."""
        self._broker = broker
        self._glob = hosts
        self._asked = {**asked, "flight": os.urandom(8).hex()}
        self._held = held
        self._place = place
        self._store: ObjectStore | None = None
        self._numbers = 0
        self._places: list[Host] = []
        self._fetches = asyncio.Semaphore(_FETCHES)
        self._arrived: deque[str] = deque(maxlen=16)
        self._inbox = ""
        self._client: object = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """See that there is a store for the parts, and ask the hosts. Raises as `objects.store` does."""
        self._store = await objects.store(self._broker)
        await self._look()

    async def run(self) -> None:
        """Go on asking each host when it is due."""
        looked = time.monotonic()
        while True:
            with contextlib.suppress(NoBroker):
                if time.monotonic() - looked > _VIEW_S:
                    looked = time.monotonic()
                    await self._look()
                now_ns = time.monotonic_ns()
                await self._ask([host for host in self._places if host.due_ns <= now_ns])
            await asyncio.sleep(_TURN_S)

    async def _look(self) -> None:
        """Find out which hosts live, and ask those that are new."""
        view = View(await self._broker.keys("lease.*"))
        now_ns = time.monotonic_ns()
        alive = {name for name in view.alive if fnmatchcase(name, self._glob)}
        new = [Host(name, place) for place, name in enumerate(sorted(alive - self.hosts.keys()), len(self._places))]
        self._places += new
        self.hosts |= {host.name: host for host in new}
        for host in self._places:
            host.seen_alive(now_ns, is_alive=host.name in alive)
        await self._ask(new)

    async def ask(self) -> None:
        """Ask every host that lives now: rules, windows, what has arrived."""
        await self._ask(self._places)

    async def _ask(self, hosts: Iterable[Host]) -> None:
        await self._listen()
        client = self._broker.client
        always = {**self._asked, "expires": expires_s(len(self._places))}
        for host in hosts:
            if not host.is_alive:
                continue
            self._numbers += 1
            windows = [
                (window.number, *(at + window.offsets[host.name] for at in (window.since_ns, window.until_ns)))
                for window in self.windows.values()
                if host.name in window.hosts and host.name not in window.parts
            ]
            arrived = [*self._arrived, *(each.number for each in self.windows.values() if host.name in each.parts)]
            question = {"number": self._numbers, "seen": host.seen, "windows": windows, "arrived": arrived}
            subject = names.ask_subject(host.name, ASK)
            data = json.dumps({**always, **question}).encode()
            host.asked(self._numbers, time.monotonic_ns())
            await self._broker.reach(client.publish(subject, data, reply=f"{self._inbox}.{host.place}"))

    async def over(self) -> None:
        """Tell the hosts that nobody asks any more; those that do not hear it find out by themselves."""
        self._asked["over"] = True
        with contextlib.suppress(NoBroker):
            await self.ask()

    async def _listen(self) -> None:
        client = self._broker.client
        if client is not self._client:
            self._inbox = client.new_inbox()
            await self._broker.reach(client.subscribe(f"{self._inbox}.*", cb=self._on_answer))
            self._client = client

    async def _on_answer(self, answer: "Msg") -> None:
        """Take in what a host says; what is no answer is nothing."""
        now_ns = time.monotonic_ns()
        place = answer.subject.rpartition(".")[2]
        if not place.isdecimal() or int(place) >= len(self._places):
            return
        host = self._places[int(place)]
        try:
            told = json.loads(answer.data)
        except (ValueError, RecursionError):
            return
        if not isinstance(told, dict):
            return
        asked = facts.whole(told, "asked", -1)
        sent_ns = host.answered(asked, now_ns, every_s(len(self._places)))
        if "failed" in told:
            host.trouble = facts.text(told, "failed")
            self.refused.setdefault(f"host '{host.name}' cannot take part: {host.trouble}")
            return
        self._compare(host, told, sent_ns, now_ns)
        if host.best is None:
            return
        self._take_held(host, told, now_ns)
        for text in facts.texts(told, "refused"):
            self.refused.setdefault(text)
        for number, stored in facts.mapping(told, "stored").items():
            if isinstance(stored, dict):
                self._take_stored(host, number, stored)

    def _compare(self, host: Host, told: dict[str, object], sent_ns: int | None, now_ns: int) -> None:
        incarnation = facts.text(told, "incarnation")
        if incarnation != host.incarnation:
            host.incarnation, host.seen, host.best = incarnation, 0, None
            host.samples.clear()
        if sent_ns is not None:
            came, left = facts.count(told, "came_ns"), facts.count(told, "sent_ns")
            round_trip = max(now_ns - sent_ns - max(left - came, 0), 0)
            host.add(Sample((sent_ns + now_ns) // 2, (came + left) // 2, round_trip // 2 + 1))
        host.began_ns = facts.count(told, "begun_ns") - host.offset_ns

    def _take_held(self, host: Host, told: dict[str, object], now_ns: int) -> None:
        for each in facts.mappings(told, "held"):
            number = facts.count(each, "number")
            if number <= host.seen:
                continue
            host.seen = number
            texts = [facts.text(each, name) for name in ("rule", "what", "comm")]
            # What a host says of the future would make a window that never ends.
            ts_ns = min(facts.count(each, "ts_ns") - host.offset_ns, now_ns)
            pid, more = facts.count(each, "pid"), facts.count(each, "more")
            self._held(Instant(host.name, texts[0], ts_ns, texts[1], pid, texts[2], more))

    def hold(self, since_ns: int, until_ns: int) -> FleetWindow:
        """Have every host that takes part hold a window; `ask` tells them at once."""
        hosts = {name: host for name, host in self.hosts.items() if host.is_alive and host.best}
        offsets = {name: host.offset_ns for name, host in hosts.items()}
        began = {name: host.began_ns for name, host in hosts.items()}
        window = FleetWindow(os.urandom(6).hex(), since_ns, until_ns, hosts, offsets, began)
        self.windows[window.number] = window
        return window

    def done(self, window: FleetWindow) -> None:
        """The window is over, and nobody wants more of it."""
        del self.windows[window.number]
        self._arrived.append(window.number)

    def _take_stored(self, host: Host, number: str, stored: dict[str, object]) -> None:
        window = self.windows.get(number)
        if window is None or host.name not in window.hosts:
            return
        if host.name in window.parts or host.name in window.fetching or host.name in window.failed:
            return
        if "failed" in stored:
            window.failed[host.name] = facts.text(stored, "failed")
            return
        window.fetching.add(host.name)
        task = asyncio.create_task(self._fetch(window, host, facts.text(stored, "digest")))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        window.notes += [f"host '{host.name}': {note}" for note in facts.texts(stored, "notes")]

    async def _fetch(self, window: FleetWindow, host: Host, digest: str) -> None:
        file = self._place()
        try:
            assert self._store is not None
            async with self._fetches:
                await objects.fetch(self._store, host.name, digest, file)
        except NoBroker as error:
            file.close()
            self.refused.setdefault(f"host '{host.name}': {error}; trying again")
            return
        finally:
            window.fetching.discard(host.name)
        window.parts[host.name] = file
        with contextlib.suppress(NoBroker):  # then it is told when it is asked next
            await self._ask([host])


def write_window(
    window: FleetWindow, header: dict[str, object], write: Callable[[bytes], object], cut: str = ""
) -> None:
    """Write a window's parts as one recording of several hosts, with the rules that held; `header` is this machine's.

    `cut` says why it ended early, if it did. A part that is none is left out, and noted. Where there are more hosts
    than a trace takes, those on which a rule held come first.
    """
    write(wire.pack_start() + wire.pack_header(header))
    held = {instant.host for instant in window.instants}
    ordered = sorted(window.hosts, key=lambda name: (len(window.hosts) > MAX_HOSTS and name not in held, name))
    numbers = {name: number for number, name in enumerate(ordered[:MAX_HOSTS], 1)}
    notes, short = [*window.notes, *_missing(window)], list[dict[str, object]]()
    for name, number in numbers.items():
        part, host = window.parts.get(name), window.hosts[name]
        if part is None:
            continue
        write(wire.pack_host(number, {"name": name, "number": number, "incarnation": host.incarnation}))
        for clock in host.clocks():
            write(wire.pack_clock(number, *clock))
        write(wire.pack_batch(number, {"seq": 1}))
        try:
            short += _copy(part, name, window.offsets[name], write)
        except Malformed as error:
            notes.append(f"host '{name}': {error}")
    write(wire.pack_batch(0, {}))
    for instant in window.instants:
        write(wire.pack_rule(_rule_facts(instant)))
    write(wire.pack_rule(_more_facts(window, numbers, cut)))
    for note in [*notes, *_left_out(ordered[MAX_HOSTS:])]:
        write(wire.pack_note(note))
    end = {"since_ns": window.since_ns, "until_ns": window.until_ns, "short": short}
    write(wire.pack_end("captured", time.monotonic_ns(), end))


def _more_facts(window: FleetWindow, numbers: Iterable[str], cut: str) -> dict[str, object]:
    more = sum(instant.more for instant in window.instants)
    missing = [name for name in numbers if name not in window.parts]
    lack = f"no part came of {_some(missing)}" if missing else ""
    anew = window.begun_anew()
    lost = f"flight recordings began anew within it on {_some(anew)}" if anew else ""
    return {"more": more, "cut": "; ".join(filter(None, (cut, lack, lost)))}


def _missing(window: FleetWindow) -> Iterator[str]:
    """Say of which hosts no part came, those for the same reason together."""
    hosts: dict[str, list[str]] = {}
    for name, why in window.missing().items():
        hosts.setdefault(why, []).append(name)
    for why, some in hosts.items():
        yield from (f"{who}: no part came: {why}" for who in spoken_of(some))


def _left_out(hosts: list[str]) -> Iterator[str]:
    if hosts:
        yield f"{len(hosts):,} hosts are not in this trace, which has room for {MAX_HOSTS}: {_some(hosts)}"


def _some(hosts: list[str]) -> str:
    return ", ".join(hosts[:5]) + (", ..." if len(hosts) > 5 else "")


def _copy(part: IO[bytes], name: str, offset_ns: int, write: Callable[[bytes], object]) -> Iterable[dict[str, object]]:
    """Copy a host's frames; returns its programs whose rings held less than was asked for. Raises `Malformed`."""
    size = part.seek(0, os.SEEK_END)

    def read_at(offset: int, length: int) -> bytes:
        part.seek(offset)
        return part.read(length)

    reader = wire.FrameReader(read_at, size, f"the part of '{name}'")
    short: list[dict[str, object]] = []
    for frame in reader:
        if isinstance(frame, wire.Frame) and frame.kind == wire.END:
            short += [
                {
                    "pid": facts.count(each, "pid"),
                    "comm": facts.text(each, "comm"),
                    "held_ns": facts.count(each, "held_ns") - offset_ns,
                    "host": name,
                }
                for each in facts.mappings(reader.facts(frame) or {}, "short")
            ]
    at = wire.START.size
    while at < reader.read_to:
        data = read_at(at, min(_COPY, reader.read_to - at))
        write(data)
        at += len(data)
    return short


def _rule_facts(instant: Instant) -> dict[str, object]:
    return {
        "rule": instant.rule,
        "mono_ns": instant.ts_ns,
        "what": instant.what,
        "pid": instant.pid,
        "comm": instant.comm,
        "host": instant.host,
    }
