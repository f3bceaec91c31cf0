"""Reaching a broker and staying connected: addresses, credentials, TLS, and what its client is known to do.

`connect` of nats-py waits two seconds between first tries, goes on for ever where it may reconnect, and closes for good
when the server says something that it does not know.
"""

import asyncio
import contextlib
import errno
import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from ..errors import NoBroker, Refused, Unusable
from .asking import ANSWER_S, Asking

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

CONNECT_S: Final = 5.0
PATIENCE_S: Final = 1.0
"""For how long a broker that does not answer is tried again."""
VERSION: Final = (2, 11)
"""The first server whose messages have a time to live of their own."""
_AGAIN_S: Final = 0.5
_SEED: Final = re.compile(rb"^S[A-Z2-7]{50,}\s*$", re.MULTILINE)

Log = Callable[[str, str], None]
_Answer = TypeVar("_Answer")


class Settings(NamedTuple):
    """Where the broker is and how to be let in; file names are read when connecting."""

    servers: tuple[str, ...]
    credentials: str = ""
    """A file of a JWT and its key (``.creds``), or of an nkey seed."""
    ca: str = ""
    """A file of certificates to trust, instead of the system's."""
    certificate: str = ""
    """A client certificate with its key in one file."""


class Connection:
    """A connection, made again whenever it breaks. Belongs to one asyncio loop."""

    def __init__(self, settings: Settings, name: str, *, log: Log | None = None) -> None:
        self.settings = settings
        self.connected = asyncio.Event()
        """Set while the connection stands."""
        self.connections = 0
        """How many times it was made; a higher number than before says that it broke meanwhile."""
        self._name = name
        self._log = log or (lambda level, text: None)
        self._client: Client | None = None
        self._asking: Asking | None = None
        self._trouble = ""
        """What the connection complained of last."""

    @property
    def client(self) -> "Client":
        """The connection itself, for what is no key."""
        if self._client is None:
            raise NoBroker("not connected")
        return self._client

    async def connect(self, patience_s: float | None = PATIENCE_S) -> None:
        """Connect and see that the server will do: None tries for ever.

        Raises `NoBroker` if none answers in time, `Unusable` for one that cannot serve a fleet, `Refused` (EACCES).
        """
        deadline = None if patience_s is None else asyncio.get_running_loop().time() + patience_s
        said = ""
        while True:
            try:
                await self._connect_once()
                return
            except (NoBroker, Unusable, Refused) as error:
                await self._drop()
                is_late = deadline is not None and asyncio.get_running_loop().time() >= deadline
                if is_late or (deadline is not None and not isinstance(error, NoBroker)):
                    raise
                if str(error) != said:
                    said = str(error)
                    self._log("warning", f"{said}; trying on")
            await asyncio.sleep(_AGAIN_S)

    @property
    def is_closed(self) -> bool:
        """Whether the client gave up, as it does when it is no longer let in: `connect` again."""
        return self._client is None or self._client.is_closed

    async def close(self) -> None:
        """Send what is waiting to be sent, and leave."""
        client, self._client = self._client, None
        self.connected.clear()
        if client is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1.5):
                    await client.flush(1)
            await self._end(client)

    async def ask(
        self, subject: str, data: bytes, headers: dict[str, str] | None = None, answer_s: float = ANSWER_S
    ) -> "Msg":
        """Make one request; many may be on their way. Raises `NoBroker`, and `Refused` for one that we may not make."""
        client = self.client
        if self._asking is None:
            self._asking = Asking(client)
        return await self.reach(self._asking.ask(subject, data, headers, answer_s))

    async def reach(self, doing: Awaitable[_Answer]) -> _Answer:
        """Wait for an operation of the client; whatever can go wrong with the connection is `NoBroker`."""
        from nats import errors

        try:
            return await doing
        except (NoBroker, Refused):
            raise
        except (errors.Error, TimeoutError, OSError) as error:
            raise NoBroker(f"the broker does not answer ({str(error) or type(error).__name__})") from None

    async def _connect_once(self) -> None:
        from nats import errors
        from nats.aio.client import Client

        logging.getLogger("asyncio").addFilter(_is_news)
        client = self._client = Client()
        self._asking = None
        where = ", ".join(_without_secrets(server) for server in self.settings.servers)
        self._trouble = ""
        try:
            async with asyncio.timeout(CONNECT_S):
                await client.connect(**self._options())
        except (errors.Error, TimeoutError, OSError) as error:
            why = self._trouble or str(error) or type(error).__name__
            # Over TLS the server hangs up before its reason is read.
            if "authorization" in why.lower() or (client._server_info.get("auth_required") and _hung_up(error, why)):
                raise Refused(errno.EACCES, f"the broker at {where} does not let us in: {why}") from None
            raise NoBroker(f"no broker answers at {where} ({why})") from None
        except ValueError as error:
            raise Unusable(f"'{where}' is no address of a broker ({error}); write nats://HOST:PORT") from None
        client.options |= {"max_reconnect_attempts": -1, "reconnect_time_wait": _AGAIN_S}
        self._see_version(client, where)
        await self._see_more(where)
        self._is_connected()

    def _options(self) -> dict[str, Any]:
        given = self.settings
        options: dict[str, Any] = {
            "servers": list(given.servers),
            "name": self._name,
            "error_cb": self._on_error,
            "disconnected_cb": self._on_disconnect,
            "reconnected_cb": self._on_reconnect,
            "closed_cb": self._on_disconnect,
            "connect_timeout": 2,
            "max_reconnect_attempts": 1,  # each address twice; once connected, for ever
            "reconnect_time_wait": 0.05,
            "ping_interval": 2,
            "max_outstanding_pings": 2,
            "allow_reconnect": True,
        }
        if given.credentials:
            options["nkeys_seed" if _is_seed(given.credentials) else "user_credentials"] = given.credentials
        if given.ca or given.certificate or any(server.startswith("tls:") for server in given.servers):
            options["tls"] = _tls(given)
        return options

    def _see_version(self, client: "Client", where: str) -> None:
        info: dict[str, Any] = client._server_info
        version = str(info.get("version", "0"))
        if tuple(int(part) for part in version.split("-")[0].split(".")[:2] if part.isdigit()) < VERSION:
            needed = ".".join(map(str, VERSION))
            raise Unusable(
                f"the broker at {where} is NATS {version}; a fleet needs {needed} or later, for keys that run out"
                " ('userevents fleet up' starts one)"
            )
        if not info.get("jetstream"):
            raise Unusable(f"the broker at {where} has no JetStream: start it with -js, or a jetstream block")

    async def _see_more(self, where: str) -> None:
        """See whether the server has what else is needed."""

    def _is_connected(self) -> None:
        self.connections += 1
        self.connected.set()

    async def _on_reconnect(self) -> None:
        self._log("info", "the broker is back")
        self._is_connected()

    async def _on_disconnect(self) -> None:
        if self.connected.is_set():
            self.connected.clear()
            self._log("warning", "the broker is gone; trying on")

    async def _on_error(self, error: Exception) -> None:
        self._trouble = text = str(error) or type(error).__name__
        if self._asking is not None:
            self._asking.complain(text)

    async def _drop(self) -> None:
        client, self._client = self._client, None
        self.connected.clear()
        if client is not None:
            await self._end(client)

    async def _end(self, client: "Client") -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2):
                await client.close()


async def given_up(subscription: "Subscription") -> None:
    """Hear no more of a subject, if the connection stands."""
    with contextlib.suppress(Exception):
        await subscription.unsubscribe()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of asyncio is of use: the client makes it warn at each end of a TLS connection."""
    return "eof_received" not in record.getMessage()


def _hung_up(error: Exception, why: str) -> bool:
    return not isinstance(error, TimeoutError) and any(word in why.lower() for word in ("pipe", "reset", "eof"))


def _is_seed(path: str) -> bool:
    """Whether a file holds a bare nkey seed and not a JWT with its key; `Unusable` for one that holds neither."""
    import nkeys  # type: ignore[import-untyped]

    try:
        with open(path, "rb") as file:
            content = file.read()
        seed: bytes = _SEED.findall(content)[0].strip()
        nkeys.from_seed(bytearray(seed))
    except OSError as error:
        raise Unusable(f"credentials '{path}' cannot be read: {error.strerror}") from None
    except (IndexError, ValueError, nkeys.NkeysError):
        raise Unusable(f"credentials '{path}' hold no key: a .creds file or an nkey seed is wanted") from None
    is_bare = content.strip() == seed
    if not is_bare and b"BEGIN NATS USER JWT" not in content:
        raise Unusable(f"credentials '{path}' hold a key and no JWT: a .creds file has both, an nkey seed stands alone")
    return is_bare


def _tls(given: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=given.ca or None)
        if given.certificate:
            context.load_cert_chain(given.certificate)
    except OSError as error:
        files = "' or '".join(path for path in (given.ca, given.certificate) if path)
        raise Unusable(f"'{files}' serves for no TLS: {error.strerror or error}") from None
    return context


def _without_secrets(server: str) -> str:
    scheme, _, rest = server.rpartition("://")
    return f"{scheme or 'nats'}://{rest.rpartition('@')[2]}"
