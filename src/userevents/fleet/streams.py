"""The streams that a fleet keeps on a broker: the keys, and the data with its limits."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from ..errors import NoBroker, Refused, Unusable
from . import names
from .connection import Settings

KEYS_SIZE: Final = 128 << 20
"""Room for some 500,000 keys."""
KEPT_SIZE: Final = 32 << 20
LEAST_SIZE: Final = KEYS_SIZE + KEPT_SIZE + (64 << 20)
REPLICAS_MAX: Final = 5
MESSAGE_SIZE: Final = 1 << 20
"""Of one message with its headers: what a server takes unless it is told otherwise."""
_DATA_AGE_NS: Final = 24 * 3600 * 10**9
_OBJECTS_AGE_NS: Final = 3600 * 10**9
"""What nobody fetched goes after so long."""
_DUPLICATES_NS: Final = 120 * 10**9
"""How long the server remembers what it took, to drop it when it comes again."""
_NO_PEERS: Final = "no suitable peers"
"""What a leader says of a stream for which not enough servers are there, or have room."""
_AGAIN_S: Final = 0.5
_OTHER_SHARE: Final = 4
"""One part of so many is left for what else is stored, such as dumps."""


def keys_config(replicas: int = 1) -> dict[str, Any]:
    """The stream with the keys of hosts that live, as a server's API takes it."""
    return _bucket(names.KEYS_STREAM, names.KEYS_SUBJECT, KEYS_SIZE, replicas)


def kept_config(replicas: int = 1) -> dict[str, Any]:
    """The stream with the keys that only operators remove."""
    config = _bucket(names.KEPT_STREAM, names.KEPT_SUBJECT, KEPT_SIZE, replicas)
    # The hosts are told of new wishes by the server itself, as soon as it has stored them.
    return config | {"republish": {"src": names.key_subject(names.WISHES), "dest": names.NEWS_SUBJECT}}


def _bucket(name: str, subject: str, size: int, replicas: int) -> dict[str, Any]:
    return {
        "name": name,
        "subjects": [f"{subject}.>"],
        "max_msgs_per_subject": 1,
        "max_bytes": size,
        "retention": "limits",
        "discard": "new",
        "storage": "file",
        "num_replicas": replicas,
        "allow_direct": True,
        "allow_msg_ttl": True,
        "deny_delete": False,
    }


def data_config(size: int, replicas: int = 1) -> dict[str, Any]:
    """The stream that the batches of events are in: the newest `size` bytes of at most a day."""
    return {
        "name": names.DATA_STREAM,
        "subjects": [f"{names.DATA_SUBJECT}.>"],
        "max_bytes": size,
        "max_age": _DATA_AGE_NS,
        "max_msg_size": MESSAGE_SIZE,
        "duplicate_window": _DUPLICATES_NS,
        "retention": "limits",
        "discard": "old",
        "storage": "file",
        "num_replicas": replicas,
        "allow_direct": True,
    }


def objects_config(size: int = -1, replicas: int = 1) -> dict[str, Any]:
    """The stream that the parts of windows are in, of at most `size` bytes: an object store without roll-ups."""
    return {
        "name": names.OBJECTS_STREAM,
        "subjects": [f"{names.OBJECTS_SUBJECT}.C.>", f"{names.OBJECTS_SUBJECT}.M.>"],
        "max_bytes": size,
        "max_age": _OBJECTS_AGE_NS,
        "retention": "limits",
        "discard": "new",
        "storage": "file",
        "num_replicas": replicas,
        "allow_direct": True,
    }


async def prepare(
    settings: Settings,
    size: int,
    replicas: int,
    patience_s: float = 0.0,
    told: Callable[[str], None] = lambda text: None,
) -> None:
    """Make the streams, which may take `size` bytes of each server; those that are there keep their sizes.

    A broker that is not there, or a cluster that has no leader or not all of its servers yet, is tried again for
    `patience_s`; `told` is called with why. Raises `Unusable` for a size that is too small, and as `Broker.connect` and
    the server do.
    """
    if size < LEAST_SIZE:
        raise Unusable(
            f"a fleet needs {LEAST_SIZE >> 20} MiB to store its keys and events; {size >> 20} MiB were given"
        )
    deadline = time.monotonic() + patience_s
    while True:
        try:
            await _prepare_once(settings, size, replicas)
            return
        except (NoBroker, Refused) as error:
            is_early = isinstance(error, NoBroker) or _NO_PEERS in error.reason
            if not is_early or time.monotonic() + _AGAIN_S > deadline:
                raise
            told(str(error))
        await asyncio.sleep(_AGAIN_S)


async def _prepare_once(settings: Settings, size: int, replicas: int) -> None:
    from .broker import connected

    size -= KEYS_SIZE + KEPT_SIZE
    data_size = size // _OTHER_SHARE * (_OTHER_SHARE - 1)
    async with connected(settings, "userevents init", replicas=replicas) as broker:
        await broker.set_in_stream(names.KEPT_STREAM, {"republish": kept_config()["republish"]})
        await broker.make_stream(data_config(data_size, replicas))
        await broker.make_stream(objects_config(size - data_size, replicas))
