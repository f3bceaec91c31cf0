"""The accounts of a NATS server for a fleet: an account for the fleet, and one for each host. Pure but for the keys.

A host's account has no JetStream; it imports just the subjects with the host's name, and what reads keys and
removes them by sequence. Permissions alone do not keep a host from writing as another: whoever may ask JetStream
anything chooses where the answer goes, and the server sends it there (docs/notes/0041-an-account-for-each-host.md).
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import Unusable
from . import names

FLEET: Final = "FLEET"
_KEYS: Final = (names.KEYS_STREAM, names.KEPT_STREAM)
_API: Final = (
    *(f"STREAM.INFO.{each}" for each in _KEYS),
    *(f"DIRECT.GET.{each}.>" for each in _KEYS),
    f"STREAM.MSG.DELETE.{names.KEYS_STREAM}",
)
_API_MANY: Final = tuple(f"DIRECT.GET.{each}" for each in _KEYS)
"""Give many answers to one question."""
_SEED_SIZE: Final = 32


def configuration(hosts: Mapping[str, str], operator: str = "") -> dict[str, Any]:
    """Return the ``accounts`` of a NATS configuration for these hosts.

    `hosts` has for each name the public nkey with which it comes, `operator` is the one of those who work with the
    fleet; empty ones leave the account without a user, to be added by hand.
    """
    exports: list[dict[str, Any]] = [{"service": f"{names.API_SUBJECT}.{each}"} for each in _API]
    exports += [{"service": f"{names.API_SUBJECT}.{each}", "response_type": "stream"} for each in _API_MANY]
    exports.append({"stream": names.NEWS_SUBJECT})
    exports += [{"service": each, "accounts": [_account(host)]} for host in hosts for each in _own(host)]
    asks = [{"service": {"account": _account(host), "subject": names.ask_subject(host, ">")}} for host in hosts]
    fleet = {"jetstream": "enabled", "users": _users(operator), "exports": exports, "imports": asks}
    return {"accounts": {FLEET: fleet} | {_account(host): _host_account(host, key) for host, key in hosts.items()}}


def _host_account(host: str, key: str) -> dict[str, Any]:
    imports: list[dict[str, Any]] = [_imported(each) for each in _own(host)]
    for each in (*_API, *_API_MANY):
        imports.append(_imported(f"{names.API_SUBJECT}.{each}") | {"to": f"{names.API_ELSEWHERE}.{each}"})
    imports.append({"stream": {"account": FLEET, "subject": names.NEWS_SUBJECT}})
    exports = [{"service": names.ask_subject(host, ">"), "accounts": [FLEET], "response_type": "stream"}]
    return {"users": _users(key), "exports": exports, "imports": imports}


def _imported(subject: str) -> dict[str, Any]:
    return {"service": {"account": FLEET, "subject": subject}}


def _own(host: str) -> list[str]:
    """What a host may write: everything that ends with its name, its data, its parts of windows."""
    token = names.encode(host)
    keys = (names.lease_key(host), names.host_key(host), f"user.{token}.*.*", f"persist.{token}.*.*")
    return [*map(names.key_subject, keys), names.data_subject(host, ">"), *names.object_subjects(host)]


def _account(host: str) -> str:
    return f"HOST_{names.encode(host)}"


def _users(key: str) -> list[dict[str, str]]:
    return [{"nkey": key}] if key else []


def make_keys(directory: str, owners: Sequence[str]) -> dict[str, str]:
    """Return the public nkey of each owner; its seed is kept in `directory` as ``TOKEN.nk`` and made where missing.

    Raises `Unusable` where the directory or a seed in it cannot be used.
    """
    import nkeys  # type: ignore[import-untyped]

    found = {}
    for owner in owners:
        path = os.path.join(directory, f"{names.encode(owner)}.nk")
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            if not os.path.exists(path):
                seed = nkeys.encode_seed(os.urandom(_SEED_SIZE), nkeys.PREFIX_BYTE_USER)
                with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(bytes(seed) + b"\n")
            with open(path, "rb") as file:
                found[owner] = nkeys.from_seed(bytearray(file.read().strip())).public_key.decode()
        except (OSError, ValueError, nkeys.NkeysError) as error:
            raise Unusable(f"key '{path}' cannot be made or read: {error}") from None
    return found
