"""The bucket on a real server: keys, leases, reads in pages; and what is said of servers that will not do."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.conftest import Server, free_port, nats_server
from userevents.errors import NoBroker, Refused, Unusable
from userevents.fleet import names
from userevents.fleet.broker import Broker, Conflict, connected, entry_of
from userevents.fleet.connection import Settings
from userevents.fleet.reading import read_events
from userevents.fleet.streams import LEAST_SIZE, prepare
from userevents.fleet.table import Entry
from userevents.fleet.wishes import Wish, Wishes
from userevents.fleet.wishing import add_wishes

With = Callable[[Callable[[Broker], Coroutine[Any, Any, None]]], None]


def test_a_put_that_expects_another_sequence_changes_nothing(with_broker: With) -> None:
    """Compare and set: the first of two writers wins, and a key that was removed has sequence 0 again."""

    async def steps(broker: Broker) -> None:
        first = await broker.put("host.a", b"1", 0)
        with pytest.raises(Conflict):
            await broker.put("host.a", b"2", 0)
        second = await broker.put("host.a", b"3", first)
        assert second > first
        assert not await broker.remove("host.a", first)
        entry = await broker.get("host.a")
        assert entry is not None
        assert (entry.value, entry.sequence) == (b"3", second)
        assert await broker.remove("host.a", second)
        assert not await broker.remove("host.a", second)
        assert await broker.get("host.a") is None
        await broker.put("host.a", b"4", 0)

    with_broker(steps)


def test_a_lease_runs_out_and_leaves_nothing_behind(with_broker: With) -> None:
    """After its seconds a leased key is gone for every kind of read, and can be made anew; renewed, it stays."""

    async def steps(broker: Broker) -> None:
        renewed = await broker.put("lease.b", b"1", 0, lease_s=1)
        await broker.put("lease.a", b"1", 0, lease_s=1)
        started = time.monotonic()
        while await broker.get("lease.a") is not None:
            assert time.monotonic() - started < 4
            await asyncio.sleep(0.1)
            renewed = await broker.put("lease.b", b"2", renewed, lease_s=1)
        assert time.monotonic() - started > 0.5
        assert await broker.keys("lease.*") == ["lease.b"]
        assert [entry.key for entry in await broker.entries("lease.*")] == ["lease.b"]
        await broker.put("lease.a", b"again", 0, lease_s=1)

    with_broker(steps)


def test_reads_of_many_keys_give_each_once(with_broker: With) -> None:
    """More keys than a server gives at a time come whole, in order, and only those that match."""

    async def steps(broker: Broker) -> None:
        wanted = [f"user.h.e{number}.0123abcd" for number in range(2100)]
        await asyncio.gather(*(broker.put(key, b"x") for key in wanted))
        await broker.put("user.other.e.0123abcd", b"y")
        entries = await broker.entries("user.h.*.*")
        assert sorted(entry.key for entry in entries) == sorted(wanted)
        assert [entry.sequence for entry in entries] == sorted({entry.sequence for entry in entries})
        assert sorted(await broker.keys("user.h.*.*")) == sorted(wanted)
        some = wanted[::2]
        assert sorted(entry.key for entry in await broker.values([*some, "user.h.none.0123abcd"])) == sorted(some)
        assert await broker.entries("user.none.*.*") == await broker.values([]) == []

    with_broker(steps)


def test_a_server_that_went_away_is_found_again(tmp_path: Path) -> None:
    """While it is gone requests fail soon, and once it is back they work; what was stored is there."""
    with nats_server(tmp_path) as server:

        async def main() -> None:
            async with connected(server.settings, "test") as broker:
                await broker.put("persist.h.e.0123abcd", b"kept")
                await asyncio.to_thread(server.kill)
                with pytest.raises(NoBroker):
                    await broker.get("persist.h.e.0123abcd")
                await asyncio.to_thread(server.start)
                await asyncio.wait_for(broker.connected.wait(), 10)
                kept = await broker.get("persist.h.e.0123abcd")
                assert kept is not None
                assert kept.value == b"kept"
                assert broker.connections == 2

        asyncio.run(main())


def test_an_operator_has_an_older_bucket_tell_of_wishes(with_broker: With) -> None:
    """Who sets the fleet up again gives streams of an earlier version what they lack; hosts then hear of each wish."""

    async def steps(broker: Broker) -> None:
        config = ((await broker._api(f"STREAM.INFO.{names.KEPT_STREAM}", {})) or {})["config"]
        await broker._api(f"STREAM.DELETE.{names.KEPT_STREAM}", {})
        await broker._api(f"STREAM.CREATE.{names.KEPT_STREAM}", {**config, "republish": None})
        await prepare(broker.settings, LEAST_SIZE, 1)
        hearing = await broker.client.subscribe(names.NEWS_SUBJECT)
        await add_wishes(broker, [Wish("enable", "tick")])
        told = entry_of(await hearing.next_msg(10))
        assert told == await broker.get(names.WISHES)
        assert Wishes.parse(told.value).patterns_for("any") == ["tick"]

    with_broker(steps)


def _connect(settings: Settings, patience_s: float = 0.2) -> None:
    async def main() -> None:
        async with connected(settings, "test", patience_s):
            pass

    asyncio.run(main())


def test_where_nobody_listens_the_address_is_told() -> None:
    """The error names the server without the password that stands in its address."""
    port = free_port()
    with pytest.raises(NoBroker, match=rf"nats://127\.0\.0\.1:{port} \(") as caught:
        _connect(Settings((f"nats://user:secret@127.0.0.1:{port}",)))
    assert "secret" not in str(caught.value)


def _pretend(info: str) -> tuple[socket.socket, str]:
    """A server that says `info` of itself and answers every ping."""
    import threading

    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                sock.sendall(f"INFO {info}\r\n".encode())
                while data := sock.recv(4096):
                    if b"PING" in data:
                        sock.sendall(b"PONG\r\n")

    threading.Thread(target=serve, daemon=True).start()
    return listener, f"nats://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("info", "told"),
    [
        ('{"version": "2.9.10", "jetstream": true, "headers": true, "max_payload": 1048576}', "NATS 2.9.10"),
        ('{"version": "2.12.0", "headers": true, "max_payload": 1048576}', "no JetStream"),
    ],
)
def test_a_server_that_lacks_what_is_needed_is_refused(info: str, told: str) -> None:
    """One without keys that run out, or without JetStream, is named with what it lacks."""
    listener, url = _pretend(info)
    with listener, pytest.raises(Unusable, match=told):
        _connect(Settings((url,)))


def test_who_may_not_is_told_on_what(tmp_path: Path) -> None:
    """A forbidden publish is refused at once with its subject, and does not look like a broker that is gone."""
    rules = 'permissions: {publish: {deny: "$KV.userevents.host.other"}}'
    with nats_server(tmp_path, f"authorization {{ users: [{{user: a, password: b, {rules}}}] }}") as server:

        async def main() -> None:
            url = f"nats://a:b@127.0.0.1:{server.port}"
            async with connected(Settings((url,)), "test") as broker:
                started = time.monotonic()
                with pytest.raises(Refused, match=r"EACCES.*host\.other"):
                    await broker.put("host.other", b"")
                assert time.monotonic() - started < 1
                await broker.put("host.mine", b"")

        asyncio.run(main())
        with pytest.raises(Refused, match="does not let us in"):
            _connect(server.settings)


def test_fields_are_read_once_a_layout_and_a_key_that_says_something_else_stands_for_itself(with_broker: With) -> None:
    """Two hundred events of two layouts; one whose key has other fields than its layout shows what its key says."""

    async def steps(broker: Broker) -> None:
        fields = ("u32 a", "u64 b")
        for number in range(200):
            event, text = f"user_events:e{number:03}", fields[number % 2]
            value = {"declaration": f"e{number:03} {'char[4] lie' if number == 199 else text}"}
            key = names.user_key(event, names.layout_of(text), "web.1")
            await broker.put(key, json.dumps(value).encode())
        await broker.put(names.lease_key("web.1"), b'["x", 1]')
        asked: list[str] = []
        read = broker.values

        async def values(keys: Sequence[str]) -> list[Entry]:
            asked.extend(keys)
            return await read(keys)

        broker.values = values  # type: ignore[method-assign]
        rows = await read_events(broker, "*")
        assert [row.fields for row in rows] == [*fields * 99, fields[0], "char[4] lie"]
        assert len(asked) <= 102  # the last of each layout, and each of the layout whose last one lies

    with_broker(steps)


def test_streams_are_made_once_a_cluster_has_a_leader(tmp_path: Path) -> None:
    """With one of two servers there is none: it waits, says why, and ends when it has to; with both it goes on."""
    ports, routes = (free_port(), free_port()), (free_port(), free_port())
    said: list[str] = []

    def started(number: int) -> Server:
        other = routes[1 - number]
        config = tmp_path / f"{number}.conf"
        config.write_text(
            f"listen: 127.0.0.1:{ports[number]}\nserver_name: s{number}\n"
            f'jetstream {{ store_dir: "{tmp_path}/{number}", max_mem: 64MB, max_file: 1GB }}\n'
            f"cluster {{ name: c, listen: 127.0.0.1:{routes[number]}, routes: [nats://127.0.0.1:{other}] }}\n"
        )
        server = Server(ports[number], config, [])
        server.start()
        return server

    first = started(0)
    try:
        with pytest.raises(NoBroker, match=r"no leader|does not answer"):
            asyncio.run(prepare(first.settings, LEAST_SIZE, 2, 3.0, said.append))
        assert said
        second = started(1)
        try:
            asyncio.run(prepare(first.settings, LEAST_SIZE, 2, 20.0, said.append))
        finally:
            second.kill()
    finally:
        first.kill()
