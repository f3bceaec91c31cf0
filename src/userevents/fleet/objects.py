"""The object store in which hosts leave their parts of a window, for whoever asked to fetch and delete.

Laid out like a NATS object store, so that the usual tools show it; an object's chunks lie under its host's name. A
host puts one object at a time, which is all that it may write; it publishes only, and makes no consumer. Nothing is
rolled up, as clients of object stores do it: who may roll up may empty the store (docs/notes/0039).

Source: nats-architecture-and-design, ADR-20.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Final

from ..errors import NoBroker
from . import names
from .asking import status_of
from .broker import Broker
from .streams import objects_config

if TYPE_CHECKING:
    from nats.js.object_store import ObjectStore

CHUNK: Final = 128 << 10
_AT_ONCE: Final = 8


async def put(broker: Broker, host: str, file: IO[bytes]) -> str:
    """Store a file as the object of a host; returns its digest. Raises `NoBroker`, `Refused`."""
    chunk_subject, meta_subject = names.object_subjects(host)
    chunk_subject = chunk_subject.removesuffix("*") + os.urandom(11).hex()
    digest, size, chunks = hashlib.sha256(), 0, 0
    while lot := [data for _ in range(_AT_ONCE) if (data := file.read(CHUNK))]:
        for data in lot:
            digest.update(data)
            size, chunks = size + len(data), chunks + 1
        await asyncio.gather(*(_publish(broker, chunk_subject, data) for data in lot))
    shown = "SHA-256=" + base64.urlsafe_b64encode(digest.digest()).decode()
    info = {
        "name": names.encode(host),
        "bucket": names.OBJECTS,
        "nuid": chunk_subject.removeprefix(f"{names.OBJECTS_SUBJECT}.C."),
        "size": size,
        "chunks": chunks,
        "digest": shown,
        "mtime": datetime.now(UTC).isoformat(),
        "deleted": False,
        "options": {"max_chunk_size": CHUNK},
    }
    await _publish(broker, meta_subject, json.dumps(info).encode())
    return shown


async def _publish(broker: Broker, subject: str, data: bytes) -> None:
    answer = await broker.ask(subject, data)
    if status_of(answer):
        raise NoBroker(f"nobody stores '{subject}': there is no object store '{names.OBJECTS}'")
    with contextlib.suppress(ValueError):
        error = json.loads(answer.data).get("error")
        if error:
            raise NoBroker(f"the broker does not store '{subject}': {error.get('description')}")


async def store(broker: Broker) -> "ObjectStore":
    """The object store, made where it is not there yet. Raises `Refused`, `Unusable` and `NoBroker` as streams do."""
    from nats.js.object_store import ObjectStore

    await broker.make_stream(objects_config())
    return ObjectStore(names.OBJECTS, names.OBJECTS_STREAM, broker.client.jetstream())


async def fetch(objects: "ObjectStore", host: str, digest: str, into: IO[bytes]) -> None:
    """Write the object of a host into a file and delete it; raises `NoBroker` if that is not to be had whole."""
    from nats.errors import Error

    name, subjects = names.encode(host), names.object_subjects(host)
    try:
        info = await objects.get_info(name)
        chunks = f"{names.OBJECTS_SUBJECT}.C.{info.nuid}"
        if info.digest != digest or not chunks.startswith(subjects[0].removesuffix("*")) or info.is_link():
            raise NoBroker(f"what '{host}' stored is not what it told of")
        await objects.get(name, writeinto=into)  # type: ignore[arg-type]
        for subject in (chunks, subjects[1]):
            await objects._js.purge_stream(names.OBJECTS_STREAM, subject=subject)
    except (Error, TimeoutError, OSError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise NoBroker(f"the part of '{host}' cannot be fetched ({error!r})") from None
