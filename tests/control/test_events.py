"""Events one by one: found by pattern, switched, filtered, given triggers."""

import os
from pathlib import Path

import pytest

from tests.doors.conftest import Server
from userevents.control import FilesAccess, SocketAccess
from userevents.control.events import (
    EventControl,
    EventName,
    Filter,
    Pattern,
    all_events,
    clash_reason,
    instance_prefix,
)
from userevents.control.registration import Registration, delete
from userevents.errors import Refused, Unusable

MULTI = 2


def declare(server: Server, *texts: str, flags: int = 0) -> None:
    """Register events in the server's one process."""

    def register() -> None:
        for text in texts:
            server.world.register(text, bit=len(server.world.mm.enablers), flags=flags)

    server.loop.call(register)


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("tick", ["user_events:tick", "user_events_multi:tick.0"]),
        ("t*", ["user_events:tick", "user_events:tock", "user_events_multi:tick.0"]),
        ("user_events:t*", ["user_events:tick", "user_events:tock"]),
        ("user_events_multi:", ["user_events_multi:tick.0"]),
        (":tock", ["user_events:tock"]),
        ("*:sched_*", ["sched:sched_switch"]),
        ("sched_switch", []),
        ("tick.[0-9]", ["user_events_multi:tick.0"]),
        ("TICK", []),
    ],
)
def test_a_pattern_means_user_events_unless_it_names_a_system(pattern: str, matched: list[str]) -> None:
    """A star must not switch on a thousand events of the kernel."""
    events = [
        EventName(*event.split(":"))
        for event in ("sched:sched_switch", "user_events:tick", "user_events:tock", "user_events_multi:tick.0")
    ]
    assert [str(event) for event in events if Pattern.parse(pattern).matches(event)] == matched


def test_an_event_is_switched_filtered_and_given_triggers(server: Server, access: SocketAccess) -> None:
    """Everything reads back, in the instance that was meant."""
    declare(server, "tick u32 count")
    access.mkdir("instances/night")
    (event,) = all_events(access)
    assert (event, event.registered_name, event.is_multi) == (EventName("user_events", "tick"), "tick", False)
    top = EventControl(access, instance_prefix(access, ""), event)
    night = EventControl(access, instance_prefix(access, "night"), event)
    night.set_enabled(True)
    assert (night.enabled, top.enabled) == ("1", "0")
    top.set_filter("count > 3")
    assert (top.filter, night.filter) == (Filter("count > 3", ""), Filter("", ""))
    top.set_filter("0")
    assert top.filter == Filter("", "")
    assert top.triggers == []
    top.write_trigger("traceoff:1 if count > 3")
    assert top.triggers == ["traceoff:count=1 if count > 3"]
    assert top.enabled == "0*"
    top.write_trigger("!traceoff:1 if count > 3")
    assert (top.triggers, top.id, top.format.name) == ([], 20, "tick")


def test_a_refused_filter_is_told_from_one_in_force(server: Server, access: SocketAccess) -> None:
    """And each refusal stands in the error log as three lines."""
    declare(server, "tick u32 count")
    event = EventControl(access, "", EventName("user_events", "tick"))
    assert event.errors() == []
    for text, error in (("zz == 1", "Field not found"), ("", "Error: (0)")):
        with pytest.raises(Refused):
            event.set_filter(text or " ")
        assert event.filter == Filter(text, error)
    assert [entry.count("\n") for entry in event.errors()] == [3, 3]
    assert "Command: zz == 1\n" in event.errors()[0]


def test_an_instance_that_is_not_there_is_named_with_those_that_are(access: SocketAccess) -> None:
    """Before anything is done."""
    with pytest.raises(Refused, match="no instance 'day'; there is none"):
        instance_prefix(access, "day")
    access.mkdir("instances/night")
    with pytest.raises(Refused, match="there are: night") as refusal:
        instance_prefix(access, "day")
    assert refusal.value.name == "ENOENT"


def test_why_a_name_is_taken_is_found_in_the_tree(server: Server, access: SocketAccess) -> None:
    """A kernel says EADDRINUSE and no more; layouts of a multi-format event take no name."""
    declare(server, "tick u32 count")
    declare(server, "many u32 count", flags=MULTI)
    assert "registered 'u32 count', declared 'u8 count'" in (clash_reason(access, "tick u8 count") or "")
    assert clash_reason(access, "tock u8 count") is None
    assert clash_reason(access, "many u8 count") is None


def test_without_user_events_nothing_can_be_registered(tmp_path: Path) -> None:
    """A tracing file system of a kernel built without it says so; a file that knows no ioctl refuses."""
    with pytest.raises(Unusable, match="has no user_events"):
        Registration(str(tmp_path), b"tick")
    with pytest.raises(Unusable, match="has no user_events"):
        delete(str(tmp_path), b"tick")
    (tmp_path / "user_events_data").touch()
    opened = len(os.listdir("/proc/self/fd"))
    for call in (lambda: Registration(str(tmp_path), b"tick"), lambda: delete(str(tmp_path), b"tick")):
        with pytest.raises(Refused, match="ENOTTY"):
            call()
    assert len(os.listdir("/proc/self/fd")) == opened


def test_names_outside_ascii_stay_whole(server: Server, access: SocketAccess) -> None:
    """Kernel text is bytes."""
    name = "größe".encode().decode("latin-1")
    declare(server, f"{name} u8 a")
    (event,) = all_events(access)
    control = EventControl(access, "", event)
    control.set_enabled(True)
    assert (event.name, control.enabled) == (name, "1")


def test_a_mounted_tree_is_driven_by_the_same_calls(tmp_path: Path) -> None:
    """Ordinary files, as a kernel's tracefs shows them."""
    place = tmp_path / "events" / "sched" / "sched_switch"
    place.mkdir(parents=True)
    for name, text in (("enable", "0\n"), ("filter", "none\n"), ("trigger", "# Available triggers:\n# traceon\n")):
        (place / name).write_text(text)
    (tmp_path / "available_events").write_text("sched:sched_switch\n")
    access = FilesAccess(str(tmp_path))
    (event,) = all_events(access)
    control = EventControl(access, instance_prefix(access, ""), event)
    assert (control.enabled, control.filter, control.triggers) == ("0", Filter("", ""), [])
    control.set_enabled(True)
    assert (place / "enable").read_text() == "1\n"
