"""A tracer in miniature, and events in both makes: in C, where that is built, and in pure Python."""

import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require_native
from userevents import Event
from userevents.buffer.page import body_start, walk
from userevents.client.event import EventBase, PureEvent
from userevents.client.runtime import Runtime
from userevents.fields import decode
from userevents.session import cursor, layout
from userevents.session.consumer import SessionFile
from userevents.session.ring import make
from userevents.session.ring_file import RingFile


class Listener:
    """A tracer in miniature: finds this process's session, enables an event, reads its records."""

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory)
        self.session: SessionFile | None = None
        self.ring: RingFile | None = None

    def attach(self, mode: int = layout.MODE_DISCARD) -> SessionFile:
        """Open the session and give it a ring."""
        (name,) = [name for name in os.listdir(self.directory) if name.endswith(layout.SESSION_SUFFIX)]
        self.session = session = SessionFile(self.directory, name)
        path = f"{self.directory}/{layout.ring_name(name, 1)}"
        make(path, pages=16, generation=1, nonce=session.header.nonce, mode=mode)
        session.set_ring(1, 16, mode)
        self.ring = RingFile(self.directory, name, 1, session.header.nonce)
        return session

    def enable(self, index: int, event_id: int = 20) -> None:
        """Set an event's word."""
        session = self.session or self.attach()
        session.write_word(index, layout.WORD_ENABLED | event_id << layout.WORD_ID_SHIFT)

    def records(self, declared: "Event[...]") -> list[tuple[object, ...]]:
        """Return the values of every new record."""
        assert self.ring is not None
        found: list[tuple[object, ...]] = []
        while parts := self.ring.read(1 << 20):
            for part in parts:
                for at in walk(part.data, part.ts).starts:
                    found.append(decode(declared.fields, part.data[body_start(part.data, at) :]))
        return found

    def acknowledge(self) -> None:
        """Give back the room of what was read."""
        assert self.ring is not None
        self.ring.acknowledge(self.ring.position)

    def close(self) -> None:
        """Take everything away."""
        if self.ring is not None:
            self.ring.close()
            os.unlink(self.ring.path)
        if self.session is not None:
            self.session.close()


@pytest.fixture(params=["native", "python"])
def make_of_events(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Declare events in C, then in pure Python."""
    made: str = request.param
    if made == "native":
        require_native()
    else:
        monkeypatch.setattr(sys.modules["userevents.client.event"], "Event", PureEvent)
        monkeypatch.setattr(sys.modules["userevents.client.native"], "Cursor", cursor.Cursor)
        monkeypatch.setattr(sys.modules["userevents.client.native"], "_writer", None)
    return made


@pytest.fixture
def listener(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch, make_of_events: str) -> Iterator[Listener]:
    """A fresh client runtime, and a listener on it."""
    fresh = Runtime()
    monkeypatch.setattr(sys.modules["userevents.client.event"], "runtime", fresh)
    made = Listener(runtime_dir)
    yield made
    made.close()
    for writer in fresh._writers:
        writer.session.unlink()


@pytest.fixture(scope="module")
def directory() -> Iterator[None]:
    """No runtime directory: what is declared here is bound by hand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USEREVENTS_DIR", "/proc/no/such/place")
        yield


class Foreign:
    """A writer of another make, as the kernel's is: it gets whole bodies."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.drops: list[int] = []

    def commit(self, index: int, body: bytes) -> None:
        """Keep a body."""
        self.bodies.append(body)

    def drop(self, index: int, reason: int) -> None:
        """Keep a reason."""
        self.drops.append(reason)

    def await_answer(self, index: int) -> int:
        """Answer at once."""
        return 0x00150001

    def stats(self, index: int) -> dict[str, int]:
        """Count nothing."""
        return {}


def bound(made: "EventBase[...]", word: int = 0x00140001) -> Foreign:
    """Enable an event with a writer that keeps what it gets."""
    writer = Foreign()
    made.bind(writer, memoryview(bytearray(struct.pack("<I", word))).cast("I"), 0)
    return writer
