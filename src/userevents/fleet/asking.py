"""Questions to a broker and their answers, many at a time over one connection.

`request` of nats-py makes tasks and random names for each question, and never hears that the server's rules forbid one.
Here a question is a number behind one subscription, a future and a timer: a third of the time, and many may be on
their way at once.
"""

import asyncio
import errno
from typing import TYPE_CHECKING, Final

from ..errors import NoBroker, Refused

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

ANSWER_S: Final = 2.0
"""How long the broker may take over one request."""
MANY_S: Final = 15.0
"""And over the names of very many keys: a hundred thousand are six megabytes."""
_NOBODY: Final = "503"
_PERMISSIONS: Final = "permissions violation"


class Asking:
    """What is asked over one client, and has no answer yet."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._inbox = ""
        self._number = 0
        self._waiting: dict[str, tuple[str, asyncio.Future[Msg]]] = {}

    async def ask(
        self, subject: str, data: bytes, headers: dict[str, str] | None = None, answer_s: float = ANSWER_S
    ) -> "Msg":
        """Ask, and wait for the answer.

        Raises `NoBroker` when none comes or nobody listens, `Refused` (EACCES) where we may not ask, and what
        publishing raises.
        """
        loop = asyncio.get_running_loop()
        if not self._inbox:
            self._inbox = self._client.new_inbox()
            await self._client.subscribe(f"{self._inbox}.*", cb=self._take)
        self._number += 1
        number = str(self._number)
        future: asyncio.Future[Msg] = loop.create_future()
        self._waiting[number] = subject, future
        late = loop.call_later(answer_s, self._give_up, number, answer_s)
        try:
            await self._client.publish(subject, data, reply=f"{self._inbox}.{number}", headers=headers)
            return await future
        finally:
            late.cancel()
            self._waiting.pop(number, None)

    def complain(self, text: str) -> None:
        """The server complained of something: a question that it forbids is never answered."""
        text = text.lower()
        if _PERMISSIONS not in text:
            return
        for subject, future in self._waiting.values():
            if f'"{subject.lower()}"' in text and not future.done():
                told = f"the broker's permissions forbid us to publish on '{subject}'"
                future.set_exception(Refused(errno.EACCES, told))

    async def _take(self, answer: "Msg") -> None:
        _, future = self._waiting.get(answer.subject.rpartition(".")[2], ("", None))
        if future is None or future.done():
            return
        if status_of(answer) == _NOBODY:
            future.set_exception(NoBroker("the broker does not answer (nobody listens there)"))
        else:
            future.set_result(answer)

    def _give_up(self, number: str, answer_s: float) -> None:
        _, future = self._waiting[number]
        if not future.done():
            future.set_exception(NoBroker(f"the broker does not answer (within {answer_s:g} s)"))


def status_of(answer: "Msg") -> str:
    """The status of an answer without data: ``503`` where nobody listens; empty for any other."""
    return str((answer.headers or {}).get("Status", "")) if not answer.data else ""
