"""A server with TLS and an account for each host: agents work with the least they need, and none writes as another."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from nats.aio.msg import Msg

from tests.conftest import require
from tests.fleet.conftest import Server, nats_server
from tests.fleet.hosts import COMMAND, Fleet, until
from userevents.errors import NoBroker, Refused, UserEventsError
from userevents.fleet import names
from userevents.fleet.broker import Broker, connected, entry_of
from userevents.fleet.connection import Settings
from userevents.fleet.table import Entry
from userevents.formats import open_trace

PROGRAM = """
import threading, time
tick = register('tick u32 a')
def write():
    while True:
        tick.write(1)
        time.sleep(0.01)
threading.Thread(target=write, daemon=True).start()
"""
HOSTS = ("web.1", "web.2")


class Guarded(NamedTuple):
    """A server that lets nobody in without a key, and what to show it."""

    server: Server
    directory: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"tls://127.0.0.1:{self.server.port}"

    def settings(self, who: str) -> Settings:
        """How `who` is let in."""
        return Settings((self.url,), **self.files(who))

    def files(self, who: str) -> dict[str, str]:
        """The files that `who` shows."""
        key = self.directory / "keys" / f"{names.encode(who)}.nk"
        return {"credentials": str(key), "ca": str(self.directory / "cert.pem")}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """One such server, with what `fleet accounts` prints included in its configuration as the documents say."""
    directory = tmp_path_factory.mktemp("guarded")
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=broker -keyout key.pem -out"
    names_it = ["cert.pem", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([require("openssl"), *made.split(" "), *names_it], cwd=directory, check=True, capture_output=True)
    command = [*COMMAND, "fleet", "accounts", "--keys", str(directory / "keys"), *HOSTS]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (directory / "accounts.conf").write_text(printed)
    more = f'tls {{ cert_file: "{directory}/cert.pem", key_file: "{directory}/key.pem" }}\ninclude ./accounts.conf'
    with nats_server(directory, more) as server:
        yield Guarded(server, directory)


@pytest.fixture
def fleet(guarded: Guarded, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet behind that server, whose streams the operator has made."""
    made = Fleet(tmp_path)
    made.url = guarded.url
    made.let_in = guarded.files("operator")
    try:
        assert "the fleet's streams are there" in made("init", "--max-size", "512M")
        yield made
    finally:
        made.close()


@pytest.mark.time_limit(120)
def test_agents_do_all_they_have_to_with_the_least_they_need(fleet: Fleet, guarded: Guarded) -> None:
    """Two hosts join with keys of their own over TLS, are recorded, and one takes away what the other left.

    What a hostile one removes of the others' keys they write again; what persists and what is wished it cannot remove.
    """
    for host in HOSTS:
        fleet.start_host(host, *(f"--fleet-{name}={path}" for name, path in guarded.files(host).items()))
    for host in HOSTS:
        fleet.program(host, PROGRAM)
    until(lambda: fleet.events() == {"tick": ("used", list(HOSTS))}, "both are there")
    fleet("enable", "tick")
    for host in HOSTS:
        until(lambda host=host: "tick" in fleet.local(host, "instances/fleet/set_event"), "both do it")  # type: ignore[misc]
    out = fleet.directory / "t.dat"
    assert "of 2 hosts" in fleet("record", "-o", str(out), "--duration", "2s")
    with open_trace(str(out)) as trace:
        assert trace.ledger is not None
        assert trace.ledger.is_balanced
        assert trace.ledger.total("delivered") > 50
        assert not trace.notes
    fleet("register", "--persist", "stay u8 x", host="web.1")
    there = {"tick": ("used", list(HOSTS)), "stay": ("idle", [])}
    until(lambda: fleet.events() == there, "one persists")
    kept = asyncio.run(_kept(guarded))
    assert len(kept) == 2  # the wishes, and what persists
    assert asyncio.run(_remove_all(guarded)) >= 6  # two leases, facts and users
    assert asyncio.run(_kept(guarded)) == kept
    until(lambda: fleet.events() == there, "they wrote what was removed again")
    fleet.kill_host("web.2")
    until(lambda: fleet.events() == there | {"tick": ("used", ["web.1"])}, "one is gone")
    until(lambda: "took away" in fleet.log("web.1").read_text(), "the other took it away")


async def _remove_all(guarded: Guarded) -> int:
    """Remove every key that a hostile host can, since peers must; returns how many.

    A lease that is renewed in between has another sequence by then, and is tried again. The others are tried by their
    own numbers and by all that are near: nothing of their bucket is to be removed by this host.
    """
    removed = set[str]()
    async with connected(guarded.settings("web.2"), "hostile") as hostile:
        entries = await hostile.entries(">")
        keys = {entry.key for entry in entries if not names.is_kept(entry.key)}
        for number in {entry.sequence for entry in entries if names.is_kept(entry.key)} | set(range(1, 9)):
            for prefix in (names.API_SUBJECT, names.API_ELSEWHERE):
                body = json.dumps({"seq": number}).encode()
                await hostile.client.publish(f"{prefix}.STREAM.MSG.DELETE.{names.KEPT_STREAM}", body)
        with pytest.raises(UserEventsError):
            await hostile.remove(names.WISHES, 1)
        while left := [entry for entry in await hostile.entries(">") if entry.key in keys - removed]:
            removed.update([entry.key for entry in left if await hostile.remove(entry.key, entry.sequence)])
    return len(removed)


async def _kept(guarded: Guarded) -> list[Entry]:
    """What is in the bucket from which only operators remove."""
    async with connected(guarded.settings("operator"), "operator") as operator:
        return [entry for entry in await operator.entries(">") if names.is_kept(entry.key)]


@pytest.mark.time_limit(120)
def test_a_host_cannot_write_as_another(fleet: Fleet, guarded: Guarded) -> None:
    """Not by a put, nor by having the broker answer into another's key, nor by streams, consumers or purges."""
    before, after = asyncio.run(_attack(guarded))
    assert before == after
    assert {entry.key for entry in after} == {names.host_key("web.1"), names.host_key("web.2"), names.WISHES}


async def _attack(guarded: Guarded) -> tuple[list[Entry], list[Entry]]:
    """Try all of it as web.2; returns the keys and data before and after."""
    victims = [names.lease_key("web.1"), names.host_key("web.1"), names.WISHES]
    victims += [kind("user_events:e", "0123abcd", "web.1") for kind in (names.user_key, names.persist_key)]
    async with connected(guarded.settings("operator"), "operator") as operator:
        for entry in await operator.entries(">"):
            await operator.remove(entry.key, entry.sequence)
        await operator.put(names.host_key("web.1"), b"true")
        await operator.put(names.WISHES, b"{}")
        data = await operator._api(f"STREAM.INFO.{names.DATA_STREAM}", {})
        async with connected(guarded.settings("web.2"), "web.2") as hostile:
            await hostile.put(names.host_key("web.2"), b"forged")
            await _tell_news(operator, hostile, guarded)
            before = await operator.entries(">")
            for victim in victims:
                with pytest.raises(NoBroker):
                    await hostile.put(victim, b"forged")
                await _answer_into(hostile, names.key_subject(victim))
            await _answer_into(hostile, names.data_subject("web.1", "x"))
            await hostile.client.publish(names.data_subject("web.1", "x"), b"forged")
            for request in _requests():
                with pytest.raises(UserEventsError):
                    await hostile._api(*request)
            with pytest.raises(Refused):  # a rollup would empty the bucket
                await _rollup(hostile)
            await hostile.client.flush()
            now = await operator._api(f"STREAM.INFO.{names.DATA_STREAM}", {})
            assert data is not None
            assert now is not None
            assert now["state"] == data["state"]
        return before, await operator.entries(">")


async def _tell_news(operator: Broker, hostile: Broker, guarded: Guarded) -> None:
    """New wishes come to each host with their number, from the server; what a host says reaches nobody."""
    told: list[Msg] = []

    async def hear(message: Msg) -> None:
        told.append(message)

    async with connected(guarded.settings("web.1"), "web.1") as victim:
        await victim.client.subscribe(names.NEWS_SUBJECT, cb=hear)
        await victim.client.flush()
        forged = {"Nats-Subject": names.key_subject(names.WISHES), "Nats-Sequence": "99999"}
        await hostile.client.publish(names.NEWS_SUBJECT, b"forged", headers=forged)
        await _answer_into(hostile, names.NEWS_SUBJECT)
        await hostile.client.flush()
        entry = await operator.get(names.WISHES)
        assert entry is not None
        stored = await operator.put(names.WISHES, entry.value, entry.sequence)
        async with asyncio.timeout(10):
            while not told:
                await asyncio.sleep(0.01)
    assert [entry_of(message) for message in told] == [Entry(names.WISHES, entry.value, stored)]


async def _answer_into(hostile: Broker, subject: str) -> None:
    """Ask for what we have written ourselves, and have it sent to a subject that is not ours."""
    own = names.key_subject(names.host_key("web.2"))
    for prefix in (names.API_SUBJECT, names.API_ELSEWHERE):
        await hostile.client.publish(f"{prefix}.DIRECT.GET.{names.KEYS_STREAM}.{own}", b"", reply=subject)
        body = json.dumps({"seq": 1, "batch": 1, "next_by_subj": own}).encode()
        await hostile.client.publish(f"{prefix}.DIRECT.GET.{names.KEYS_STREAM}", body, reply=subject)
        await hostile.client.publish(f"{prefix}.STREAM.INFO.{names.KEYS_STREAM}", b"", reply=subject)
    await hostile.client.publish(own, b"forged", reply=subject, headers={"Nats-Expected-Last-Sequence": "0"})


def _requests() -> list[tuple[str, dict[str, object]]]:
    consumer = {"deliver_subject": names.key_subject(names.host_key("web.1")), "ack_policy": "none"}
    found: list[tuple[str, dict[str, object]]] = [
        (f"STREAM.MSG.GET.{names.DATA_STREAM}", {"seq": 1}),
        (f"STREAM.MSG.DELETE.{names.KEPT_STREAM}", {"seq": 1}),
    ]
    for name in (names.KEYS_STREAM, names.KEPT_STREAM):
        found += [
            (f"CONSUMER.CREATE.{name}", {"stream_name": name, "config": consumer}),
            (f"STREAM.PURGE.{name}", {}),
            (f"STREAM.DELETE.{name}", {}),
            (f"STREAM.UPDATE.{name}", {"name": name, "subjects": ["$KV.userevents.>", "other"]}),
            ("STREAM.CREATE.X", {"name": "X", "sources": [{"name": name}]}),
        ]
    return found


async def _rollup(hostile: Broker) -> None:
    subject = names.key_subject(names.host_key("web.2"))
    answer = await hostile.ask(subject, b"forged", {"Nats-Rollup": "all"})
    if b"error" in answer.data:
        raise Refused(1, answer.data.decode())


def test_who_has_no_key_is_not_let_in(guarded: Guarded, fleet: Fleet, tmp_path: Path) -> None:
    """Without a key, with a stranger's, or without the certificate: each says why, and where."""
    without_key = Fleet(tmp_path)
    without_key.url = guarded.url
    without_key.let_in = {"ca": guarded.files("operator")["ca"]}
    assert "does not let us in" in without_key("list", code=1)
    without_key.let_in = {"credentials": guarded.files("operator")["credentials"]}
    assert "certificate" in without_key("list", code=1).lower()
    without_key.let_in = {"credentials": str(tmp_path / "none.creds")}
    assert "there is no such file" in without_key("list", code=1)
