"""A server in operator mode, which lets in who has a credentials file: a JWT and the key that belongs to it."""

import asyncio
import base64
import json
import os
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
import pytest

from tests.fleet.conftest import nats_server
from userevents.errors import Refused, Unusable
from userevents.fleet.broker import connected
from userevents.fleet.connection import Settings

UNLIMITED = dict.fromkeys(("subs", "conn", "leaf", "imports", "exports", "data", "payload"), -1)
USER = {"subs": -1, "data": -1, "payload": -1}
STORAGE = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}


class Signer:
    """An nkey and what it may sign."""

    def __init__(self, prefix: int) -> None:
        self.seed = bytes(nkeys.encode_seed(os.urandom(32), prefix))
        self.pair = nkeys.from_seed(bytearray(self.seed))
        self.public = self.pair.public_key.decode()

    def sign(self, subject: str, kind: str, claims: dict[str, Any]) -> str:
        """A JWT about `subject`."""
        content = {"jti": "x", "iat": 1, "iss": self.public, "sub": subject, "name": kind}
        content["nats"] = {"type": kind, "version": 2, **claims}
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        signed = ".".join(_base64(json.dumps(part).encode()) for part in (head, content))
        return f"{signed}.{_base64(self.pair.sign(signed.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _file(path: Path, token: str, seed: bytes) -> str:
    begin, end = "-----BEGIN {}-----\n", "------END {}------\n"
    parts = [("NATS USER JWT", token), ("USER NKEY SEED", seed.decode())]
    path.write_text("".join(begin.format(name) + text + "\n" + end.format(name) + "\n" for name, text in parts))
    return str(path)


def test_a_credentials_file_lets_in_and_anothers_does_not(tmp_path: Path) -> None:
    """A user whose JWT the account has signed stores and reads a key; a stranger's, and a file cut short, are told."""
    operator, account = Signer(nkeys.PREFIX_BYTE_OPERATOR), Signer(nkeys.PREFIX_BYTE_ACCOUNT)
    user, stranger = Signer(nkeys.PREFIX_BYTE_USER), Signer(nkeys.PREFIX_BYTE_ACCOUNT)
    claims = {"limits": {**UNLIMITED, "wildcards": True, **STORAGE}}
    system = Signer(nkeys.PREFIX_BYTE_ACCOUNT)
    known = {each.public: operator.sign(each.public, "account", claims) for each in [account]}
    known[system.public] = operator.sign(system.public, "account", {"limits": {**UNLIMITED, "wildcards": True}})
    trusted = operator.sign(operator.public, "operator", {"system_account": system.public})
    more = (
        f"operator: {trusted}\nsystem_account: {system.public}\nresolver: MEMORY\nresolver_preload: {json.dumps(known)}"
    )
    good = _file(tmp_path / "good.creds", account.sign(user.public, "user", USER), user.seed)
    bad = _file(tmp_path / "bad.creds", stranger.sign(user.public, "user", USER), user.seed)
    cut = tmp_path / "cut.creds"
    cut.write_text("-----BEGIN NATS USER JWT-----\n")
    with nats_server(tmp_path, more) as server:

        async def use(credentials: str) -> bytes:
            async with connected(Settings((server.url,), credentials), "test") as broker:
                await broker.put("host.a", b"stored")
                found = await broker.get("host.a")
                return b"" if found is None else found.value

        assert asyncio.run(use(good)) == b"stored"
        with pytest.raises(Refused, match="does not let us in"):
            asyncio.run(use(bad))
        with pytest.raises(Unusable, match=r"cut\.creds"):
            asyncio.run(use(str(cut)))
