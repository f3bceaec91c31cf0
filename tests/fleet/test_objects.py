"""The object store for windows: a host leaves its own object with its own account, and none of another's."""

import asyncio
import io
import json
import os
from pathlib import Path

import pytest

from tests.fleet.conftest import nats_server
from userevents.errors import NoBroker, Refused
from userevents.fleet import names, objects
from userevents.fleet.accounts import FLEET, configuration
from userevents.fleet.broker import connected
from userevents.fleet.connection import Settings
from userevents.fleet.streams import prepare


def accounts() -> str:
    """The accounts of two hosts and of the fleet, as a configuration, with passwords for keys."""
    found = configuration({"web.1": "", "web2": ""})
    for name, account in found["accounts"].items():
        account["users"] = [{"user": name.replace("=", "-"), "password": "p"}]
    return json.dumps(found)[1:-1]


def test_a_host_leaves_its_part_and_no_other_can_write_it(tmp_path: Path) -> None:
    """What is stored is fetched whole and is gone then; under another's name nothing can be stored, nor rolled up."""
    with nats_server(tmp_path, accounts()) as server:

        def as_user(name: str) -> Settings:
            return Settings((server.url.replace("nats://", f"nats://{name}:p@"),))

        async def main() -> None:
            data = os.urandom(3 * objects.CHUNK + 17)
            await prepare(as_user(FLEET), 512 << 20, 1)
            async with (
                connected(as_user(FLEET), "operator") as operator,
                connected(as_user("HOST_web-2E1"), "h") as host,
            ):
                store = await objects.store(operator)
                digest = await objects.put(host, "web.1", io.BytesIO(data))
                with pytest.raises((Refused, NoBroker)):
                    await objects.put(host, "web2", io.BytesIO(b"not mine"))
                answer = await host.ask(names.object_subjects("web.1")[1], b"{}", {"Nats-Rollup": "all"})
                assert b"rollup not permitted" in answer.data
                with pytest.raises(NoBroker):
                    await objects.fetch(store, "web.1", "SHA-256=other", io.BytesIO())
                got = io.BytesIO()
                await objects.fetch(store, "web.1", digest, got)
                assert got.getvalue() == data
                with pytest.raises(NoBroker):
                    await objects.fetch(store, "web.1", digest, io.BytesIO())
                state = (await operator.client.jetstream().stream_info(f"OBJ_{names.OBJECTS}")).state
                assert state.messages == 0

        asyncio.run(main())
