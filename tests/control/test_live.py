"""Records and histograms as they happen: events that go while they are taken up, threads that change their names."""

import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.doors.conftest import Server
from tests.engine.world import ROOT
from userevents.buffer import PageBuilder
from userevents.cli import following
from userevents.control import SocketAccess
from userevents.control.events import Pattern
from userevents.control.live import Arrived, Live
from userevents.control.live_hist import HistKey, LiveHist
from userevents.engine import parse_deletion
from userevents.errors import Refused


class Late(SocketAccess):
    """A way into a tree in which an event goes once it has been listed, and before any file of it is opened."""

    def __init__(self, path: str, event: str, go: Callable[[], None]) -> None:
        super().__init__(path)
        self._event = event
        self._go = go

    def open(self, path: str, flags: int = 0) -> Any:
        """Open a file, but for one of that event, which is gone by then."""
        if f"/{self._event}/" in path:
            self._go()
        return super().open(path, flags)


@pytest.mark.parametrize("kind", ["records", "histogram"])
def test_an_event_that_goes_while_it_is_taken_up_is_left_out(server: Server, kind: str) -> None:
    """A short program's events may be listed and gone: the others are followed all the same."""
    group = server.world.group

    def vanish() -> None:
        try:
            group.dynamic_delete(parse_deletion("-:user_events/tock u32 n"), ROOT)
        except Refused:
            pass  # the second time

    server.loop.call(lambda: group.dynamic_create("u:tick u32 n", ROOT))
    server.loop.call(lambda: group.dynamic_create("u:tock u32 n", ROOT))
    access = Late(server.path, "tock", lambda: server.loop.call(vanish))
    if kind == "records":
        live = Live(access, [Pattern.parse("t*")])
        assert [found.name.name for found in live.look()] == ["tick"]
        live.close()
    else:
        hist = LiveHist(access, Pattern.parse("t*"), [HistKey("n")])
        hist.look()
        assert [name.name for name in hist.events] == ["tick"]
        hist.close()
    access.close()


def test_a_thread_is_shown_by_the_name_that_it_has_now(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names change, and the ids of threads that have ended are given again: who one is, is asked anew."""
    monkeypatch.setattr(following, "_KNOWN_S", -1.0)
    tid = threading.get_native_id()
    builder = PageBuilder()
    builder.append(1000, struct.pack("<HHiI", 20, 0, tid, 1))
    page = bytes(builder.take())
    name = Path(f"/proc/self/task/{tid}/comm")
    before = name.read_text(encoding="utf-8")
    access = SocketAccess(server.path)
    live = Live(access, ())
    try:
        records = following.Following(live)
        for called in ("first", "second"):
            name.write_text(called, encoding="utf-8")
            (record,) = records._decoded([Arrived(0, page)])
            assert (record.comm, record.pid) == (called, os.getpid())
    finally:
        name.write_text(before, encoding="utf-8")
        live.close()
        access.close()
