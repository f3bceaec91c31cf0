"""The buckets of keys behind a broker: compare and set, leases, reads of many keys.

A bucket is a JetStream stream that keeps one message a subject, laid out like a NATS key-value store, so that the
usual tools show it. It is read without consumers, by direct gets: a consumer could be told to deliver to a subject
that its owner may not write (docs/notes/0040-the-keys-of-a-fleet.md). It has no delete markers: what runs out or is
removed is simply not there, and a key that is not there has sequence 0. Which bucket a key is in says names.py; the
sequences of two buckets have nothing to do with each other.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from errno import EINVAL
from typing import TYPE_CHECKING, Any, Final

from ..errors import NoBroker, Refused, Unusable
from . import names
from .asking import ANSWER_S, MANY_S, status_of
from .connection import PATIENCE_S, Connection, Log, Settings
from .streams import kept_config, keys_config
from .table import Entry
from .waiting import until

if TYPE_CHECKING:
    from nats.aio.msg import Msg

_AT_ONCE: Final = 1000
"""Keys read at once; a server gives 1024 at most."""
_WRONG_SEQUENCE: Final = 10071
_NO_JETSTREAM: Final = 10039
_NO_SUCH_STREAM: Final = 10059
_NO_LEADER: Final = (10008, 10009)
"""A cluster that has not chosen a leader yet, or has just lost one."""
_NO_SUCH_MESSAGE: Final = (10037, 10043, 10057)


class Conflict(Exception):
    """A put that expected the key at another sequence than it has: somebody else wrote it, or it ran out."""


class _TooMany(Exception):
    """More keys match than the broker gives at once."""


class Broker(Connection):
    """A connection to a broker, and the buckets behind it; `replicas` is for those that have to be made."""

    def __init__(self, settings: Settings, name: str, *, log: Log | None = None, replicas: int = 1) -> None:
        super().__init__(settings, name, log=log)
        self._replicas = replicas
        self._api_prefix = names.API_SUBJECT

    async def get(self, key: str) -> Entry | None:
        """Return a key, None if it is not there."""
        subject = names.key_subject(key)
        answer = await self.ask(f"{self._api_prefix}.DIRECT.GET.{names.stream_of(key)}.{subject}", b"")
        return None if status_of(answer) else entry_of(answer)

    async def put(self, key: str, value: bytes, expected: int | None = None, lease_s: int = 0, once: str = "") -> int:
        """Store a key and return its sequence; with `lease_s` it goes after so many seconds.

        A put that arrives again with the same `once` within two minutes is not done again.

        `expected` is the sequence it must have now, 0 for none; `Conflict` if it has another. A put that was not
        answered (`NoBroker`) may or may not have been done.
        """
        headers = {} if expected is None else {"Nats-Expected-Last-Subject-Sequence": str(expected)}
        if lease_s:
            headers["Nats-TTL"] = str(lease_s)
        if once:
            headers["Nats-Msg-Id"] = once
        answer = _checked(await self.ask(names.key_subject(key), value, headers), f"put '{key}'")
        return int(answer["seq"])

    async def remove(self, key: str, sequence: int) -> bool:
        """Remove what a key was stored with under this sequence, if it still has it; False if it was gone."""
        body = {"seq": sequence, "no_erase": True}
        answer = await self._api(f"STREAM.MSG.DELETE.{names.stream_of(key)}", body, absent=True)
        return answer is not None

    async def keys(self, pattern: str) -> list[str]:
        """Return the keys that match, ``*`` standing for one token, without their values."""
        places = names.places_of(pattern)
        return [key for stream, subject in places for key in await self._keys_in(stream, subject)]

    async def _keys_in(self, stream: str, subject: str) -> list[str]:
        found: list[str] = []
        while True:
            body = {"subjects_filter": subject, "offset": len(found)}
            answer = await self._api(f"STREAM.INFO.{stream}", body, answer_s=MANY_S)
            page = (answer or {}).get("state", {}).get("subjects") or {}
            found += map(names.key_of, page)
            if not page or len(found) >= int((answer or {}).get("total", 0)):
                return found

    async def entries(self, pattern: str) -> list[Entry]:
        """Return the keys that match, those of a bucket in the order in which they were written."""
        entries = []
        for stream, subject in names.places_of(pattern):
            try:
                found = await self._last(stream, [subject])
            except _TooMany:
                found = await self.values(await self._keys_in(stream, subject))
            entries += sorted(found, key=lambda entry: entry.sequence)
        return entries

    async def values(self, keys: Sequence[str]) -> list[Entry]:
        """Return those of the keys that are there, in any order."""
        found: list[Entry] = []
        for stream in {names.stream_of(key) for key in keys}:
            subjects = [names.key_subject(key) for key in keys if names.stream_of(key) == stream]
            for at in range(0, len(subjects), _AT_ONCE):
                found += await self._last(stream, subjects[at : at + _AT_ONCE])
        return found

    async def _last(self, stream: str, subjects: Sequence[str]) -> list[Entry]:
        """Return all that matches in one answer of many messages; raises `_TooMany` for more than `_AT_ONCE`."""
        client = self.client
        inbox = client.new_inbox()
        answers: list[Msg] = []
        ended = asyncio.Event()

        async def take(answer: "Msg") -> None:
            answers.append(answer)
            if status_of(answer):
                ended.set()

        waiting = await self.reach(client.subscribe(inbox, cb=take))
        try:
            body = {"multi_last": list(subjects)}
            await self.reach(
                client.publish(f"{self._api_prefix}.DIRECT.GET.{stream}", json.dumps(body).encode(), reply=inbox)
            )
            while not ended.is_set():
                count = len(answers)
                await until(ended, ANSWER_S)
                if not ended.is_set() and len(answers) == count:
                    raise NoBroker("the broker does not answer (a read of keys)")
        finally:
            with contextlib.suppress(Exception):
                await waiting.unsubscribe()
        return _entries(answers)

    async def _api(
        self, request: str, body: dict[str, Any], *, absent: bool = False, answer_s: float = ANSWER_S
    ) -> dict[str, Any] | None:
        answer = await self.ask(f"{self._api_prefix}.{request}", json.dumps(body).encode(), answer_s=answer_s)
        return _checked(answer, request, absent=absent) or None

    async def make_stream(self, config: dict[str, Any]) -> None:
        """Make a stream as an API's configuration says; one of that name that is there is left as it is.

        Raises `Refused`, EACCES if we may not.
        """
        try:
            await self._api(f"STREAM.INFO.{config['name']}", {})
        except Unusable:
            await self._api(f"STREAM.CREATE.{config['name']}", config)

    async def set_in_stream(self, name: str, settings: dict[str, Any]) -> None:
        """Have a stream that may be of an earlier version do this, too. Raises `Refused`, EACCES if we may not."""
        config = ((await self._api(f"STREAM.INFO.{name}", {})) or {})["config"]
        if config | settings != config:
            await self._api(f"STREAM.UPDATE.{name}", config | settings)

    async def _see_more(self, where: str) -> None:
        """See that the buckets are there, or make them. A host in an account of its own finds the API elsewhere."""
        self._api_prefix = names.API_SUBJECT
        for config in keys_config(self._replicas), kept_config(self._replicas):
            try:
                try:
                    await self.make_stream(config)
                except _NoJetStream:
                    self._api_prefix = names.API_ELSEWHERE
                    await self.make_stream(config)
            except (Refused, Unanswered) as error:
                raise Unusable(
                    f"the broker at {where} has no stream '{config['name']}' for us, and we may not make it ({error}):"
                    " an operator does, with 'userevents fleet init'"
                ) from None


class _NoJetStream(Refused):
    """Our account has no JetStream."""


class Unanswered(NoBroker):
    """The broker lives, and nobody answers on that subject."""


@contextlib.asynccontextmanager
async def connected(
    settings: Settings, name: str, patience_s: float = PATIENCE_S, *, replicas: int = 1
) -> AsyncIterator[Broker]:
    """A broker for as long as this lasts; raises as `Broker.connect` does."""
    broker = Broker(settings, name, replicas=replicas)
    try:
        await broker.connect(patience_s)
        yield broker
    finally:
        await broker.close()


def _checked(answer: "Msg", what: str, *, absent: bool = False) -> dict[str, Any]:
    """An answer of the API; `absent` says that a message that is not there is no error, and gives nothing."""
    status = status_of(answer)
    if status:
        raise Unanswered(f"nobody answers '{what}' ({status})")
    try:
        content = json.loads(answer.data)
    except ValueError:
        raise NoBroker(f"the broker answers '{what}' with no JSON: {answer.data[:80]!r}") from None
    error = content.get("error")
    if not error:
        return dict(content)
    code, told = error.get("err_code"), error.get("description", "refused")
    if code == _WRONG_SEQUENCE:
        raise Conflict(f"{what}: {told}")
    if absent and code in _NO_SUCH_MESSAGE:
        return {}
    if code in _NO_LEADER:
        raise NoBroker(f"the broker's cluster has no leader now ({what}: {told})")
    if code == _NO_SUCH_STREAM:
        raise Unusable(f"the broker has no such stream ({what})")
    if code == _NO_JETSTREAM:
        raise _NoJetStream(EINVAL, f"the broker refuses '{what}': {told}")
    raise Refused(EINVAL, f"the broker refuses '{what}': {told}")


def _entries(answers: "list[Msg]") -> list[Entry]:
    """Read an answer of many messages, of which the last says how it ended."""
    *found, last = answers
    status = status_of(last)
    if status == "413":
        raise _TooMany
    if status not in ("204", "404"):
        raise NoBroker(f"the broker answers {status} to a read of keys")
    return [entry_of(answer) for answer in found]


def entry_of(answer: "Msg") -> Entry:
    """Read a message of a bucket as the server hands it out; raises `LookupError` or `ValueError` for any other."""
    headers = answer.headers or {}
    return Entry(names.key_of(headers["Nats-Subject"]), answer.data, int(headers["Nats-Sequence"]))
