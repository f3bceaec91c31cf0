"""A tracer driven by its files: what it lists, and what an instance of it is told to do."""

import os

import pytest

from tests.doors.conftest import Server
from userevents.buffer.stream import NOTE, pack_frame
from userevents.control import SocketAccess, Tracer
from userevents.control.tracer import parse_holders, parse_status
from userevents.errors import Malformed, Refused


def declare(server: Server, *texts: str, flags: int = 0) -> None:
    """Register events in the server's one process."""

    def register() -> None:
        for text in texts:
            server.world.register(text, bit=len(server.world.mm.enablers), flags=flags)

    server.loop.call(register)


def test_events_are_listed_with_layout_listeners_and_holders(server: Server, tracer: Tracer) -> None:
    """Oldest first, single and multi-format."""
    declare(server, "tick u32 count", "tock")
    declare(server, "tick u64 count", flags=2)
    tracer.top.enable("user_events:tick")
    tick, tock, multi = tracer.events()
    assert [(event.system, event.name, event.id) for event in (tick, tock, multi)] == [
        ("user_events", "tick", 20),
        ("user_events", "tock", 21),
        ("user_events_multi", "tick.0", 22),
    ]
    assert (tick.used_by, tick.enabled, tock.enabled) == (("ftrace",), True, False)
    assert tick.holders == ("file pid 1", "enabler pid 1 bit 0 of 0x1000", "ftrace top instance")
    assert [field.name for field in tick.parsed.fields] == ["count"]
    assert multi.parsed.id == 22


def test_an_instance_is_made_told_and_removed(server: Server, tracer: Tracer) -> None:
    """Patterns, selection, single events; everything reads back."""
    declare(server, "tick", "tock")
    night = tracer.create_instance("night")
    assert tracer.instances() == ["night"]
    night.set_patterns(["ti*", "user_events:late"])
    night.set_selection(["tree 7", "run x"])
    assert (night.patterns(), night.selection()) == (["ti*", "user_events:late"], ["tree 7", "run x"])
    assert night.enabled() == ["user_events:tick"]
    night.enable("tock")
    night.disable("tick")
    assert (night.enabled(), tracer.top.enabled()) == (["user_events:tock"], [])
    night.set_patterns([])
    night.set_selection([])
    assert (night.patterns(), night.selection()) == ([], ["all"])
    assert night.info()["enabled"] == 1
    night.remove()
    assert tracer.instances() == []


def test_changing_patterns_does_not_disable_what_stays_wanted(server: Server, tracer: Tracer) -> None:
    """The program's bit must not go down and up again in between."""
    declare(server, "tick", "tock")
    night = tracer.create_instance("night")
    night.set_patterns(["tick"])
    tries = server.loop.call(lambda: server.world.memory.tries)
    night.set_patterns(["tick", "tock"])
    assert server.loop.call(lambda: server.world.memory.tries) == tries + 1
    night.set_patterns([os.fsdecode(b"\xff*")])
    assert server.loop.call(lambda: list(server.system.instances["night"].patterns)) == ["\xff*"]


def test_a_stream_is_read_until_its_end(server: Server, tracer: Tracer) -> None:
    """And a second reader is refused while the first reads."""
    night = tracer.create_instance("night")
    frames = [pack_frame(NOTE, 0, bytes(size)) for size in (8, 800, 80)]

    def feed() -> None:
        stream = server.system.instances["night"].stream
        for frame in frames:
            stream.push(frame, None, 0)
        stream.finish()

    server.loop.call(feed)
    stream = night.stream()
    with pytest.raises(Refused, match="EBUSY"):
        night.stream()
    read = b""
    while piece := stream.read(900, timeout=5):
        read += piece
    assert read == b"".join(frames)
    stream.close()
    night.remove()


def test_a_recording_is_asked_to_end_or_to_begin_anew(server: Server, tracer: Tracer) -> None:
    """The request waits for whoever feeds the stream."""
    night = tracer.create_instance("night")
    night.rotate()
    assert server.loop.call(lambda: server.system.instances["night"].request) == "rotate"
    night.finish()
    assert server.loop.call(lambda: server.system.instances["night"].request) == "finish"


def test_a_kept_instance_outlives_its_connection(server: Server, tracer: Tracer) -> None:
    """The other one goes."""
    tracer.create_instance("kept", keep=True)
    tracer.create_instance("gone")
    tracer.access.close()
    server.wait_for(lambda: server.door.clients == 0)
    again = SocketAccess(server.path)
    assert Tracer(again).instances() == ["kept"]
    again.close()


def test_info_and_status_are_read(server: Server, tracer: Tracer) -> None:
    """The tracer's JSON and the kernel's text."""
    declare(server, "tick", "tock")
    tracer.top.enable("tock")
    assert tracer.info() == {"profile": "v6.12", "events": 2}
    assert tracer.status() == ({"tick": (), "tock": ("ftrace",)}, 2, 1)


@pytest.mark.parametrize(
    ("text", "used_by"),
    [
        ("\nActive: 0\nBusy: 0\n", {}),
        ("a\n\nActive: 1\nBusy: 0\n", {"a": ()}),
        ("a # Used by ftrace perf other\nb\n\nActive: 2\nBusy: 1\n", {"a": ("ftrace", "perf", "other"), "b": ()}),
        ("\n\nActive: 1\nBusy: 0\n", {"": ()}),
        ("t\tb\n\nActive: 1\nBusy: 0\n", {"t\tb": ()}),
    ],
)
def test_a_status_file_is_read_as_the_kernel_writes_it(text: str, used_by: dict[str, tuple[str, ...]]) -> None:
    """Recorded texts, strange names included."""
    assert parse_status(text).used_by == used_by


@pytest.mark.parametrize("text", ["", "a\n", "Active: 1", "\nActive: x\nBusy: 0\n"])
def test_what_is_no_status_file_is_malformed(text: str) -> None:
    """A message that says what is missing."""
    with pytest.raises(Malformed, match="Active: N"):
        parse_status(text)


def test_holders_of_nothing_are_malformed() -> None:
    """The text comes from another process."""
    for text in ("  file pid 1\n", "s:a id=1\n\n  file pid 1\n"):
        with pytest.raises(Malformed, match="'file pid 1' holds no event"):
            parse_holders(text)


def test_holders_are_read_by_event() -> None:
    """Also where an event has none, or its name looks like a number."""
    text = "s:a id=1 refcnt=2\n  file pid 1\n  self persistent\ns:b id=3 id=2 refcnt=0\n"
    assert parse_holders(text) == {"s:a": ("file pid 1", "self persistent"), "s:b id=3": ()}
