"""The files below userevents/: patterns, select, stream, holders, info, control."""

import json
from collections.abc import Callable
from functools import partial

import pytest

from tests.engine.world import ROOT, refused
from tests.tracefs.conftest import Shell
from userevents.abi import tracefs as abi
from userevents.buffer.stream import NOTE, pack_frame
from userevents.errors import Refused

Declare = Callable[..., None]
NIGHT = "instances/night/userevents"


def night(shell: Shell) -> None:
    """Make the instance that these tests use."""
    shell.tree.mkdir("instances/night")


def test_patterns_are_replaced_by_a_write_and_added_to_by_appending(shell: Shell, declare: Declare) -> None:
    """Blank lines are nothing, and the text reads back."""
    night(shell)
    declare("tick", "tock", "http")
    shell.echo(f"{NIGHT}/patterns", "ti*\n\n user_events:http \n")
    assert shell.cat(f"{NIGHT}/patterns") == "ti*\nuser_events:http\n"
    assert shell.cat("instances/night/set_event") == "user_events:http\nuser_events:tick\n"
    shell.echo(f"{NIGHT}/patterns", "tock\n", abi.O_APPEND)
    assert shell.cat(f"{NIGHT}/patterns") == "ti*\nuser_events:http\ntock\n"
    shell.echo(f"{NIGHT}/patterns", "tock")
    assert shell.cat("instances/night/set_event") == "user_events:tock\n"
    shell.echo(f"{NIGHT}/patterns", "", abi.O_TRUNC)
    assert shell.cat(f"{NIGHT}/patterns") == shell.cat("set_event") == ""


def test_a_pattern_enables_events_that_are_declared_later(shell: Shell, declare: Declare) -> None:
    """At the top as in an instance."""
    shell.echo("userevents/patterns", "late*")
    declare("later", "other")
    assert shell.cat("set_event") == "user_events:later\n"


def test_a_pattern_matches_names_in_utf_8(shell: Shell, declare: Declare) -> None:
    """Both are bytes, and the last byte of a letter may look like white space."""
    declare("à".encode().decode("latin-1"))
    shell.echo("userevents/patterns", "à\n".encode())
    assert shell.cat("set_event") == "user_events:à\n".encode().decode("latin-1")


def test_a_selection_is_read_written_and_refused_as_a_whole(shell: Shell) -> None:
    """A write with a wrong line changes nothing."""
    night(shell)
    assert shell.cat(f"{NIGHT}/select") == "all\n"
    shell.echo(f"{NIGHT}/select", "pid 7\n")
    shell.echo(f"{NIGHT}/select", "run r1\n", abi.O_APPEND)
    assert refused(lambda: shell.echo(f"{NIGHT}/select", "pid 8\npid x\n")) == "EINVAL"
    assert shell.cat(f"{NIGHT}/select") == "pid 7\nrun r1\n"
    assert shell.world.group.observers[1].selection.rules == (("pid", "7"), ("run", "r1"))  # type: ignore[attr-defined]
    shell.echo(f"{NIGHT}/select", "", abi.O_TRUNC)
    assert shell.cat(f"{NIGHT}/select") == "all\n"


def test_the_stream_gives_frames_then_eagain_then_the_end(shell: Shell) -> None:
    """`readable` says when a read would not be EAGAIN."""
    night(shell)
    stream = shell.tree.system.instances["night"].stream
    node = shell.tree.open(f"{NIGHT}/stream", abi.O_RDONLY, ROOT)
    assert not node.readable()
    assert refused(lambda: node.read(100)) == "EAGAIN"
    frame = pack_frame(NOTE, 0, b"{}")
    stream.push(frame, None, 0)
    assert node.readable()
    assert node.read(100) == frame
    assert refused(lambda: node.read(100)) == "EAGAIN"
    stream.finish()
    assert node.readable()
    assert node.read(100) == b""


def test_a_stream_whose_reader_died_goes_on_where_that_reader_was_sure(shell: Shell) -> None:
    """An aborted node gives back what it read last; a closed one does not."""
    night(shell)
    stream = shell.tree.system.instances["night"].stream
    frames = [pack_frame(NOTE, 0, f'{{"text": "{number}"}}'.encode()) for number in range(2)]
    for frame in frames:
        stream.push(frame, None, 0)
    for end in ("abort", "close"):
        node = shell.tree.open(f"{NIGHT}/stream", abi.O_RDONLY, ROOT)
        assert node.read(10) == frames[0]
        getattr(node, end)()
    node = shell.tree.open(f"{NIGHT}/stream", abi.O_RDONLY, ROOT)
    assert node.read(10) == frames[1]


def test_holders_says_what_keeps_each_event_alive(shell: Shell, declare: Declare) -> None:
    """A line for each event, one below it for each reference."""
    declare("tick")
    shell.echo("dynamic_events", "u:kept\n")
    shell.echo("set_event", "tick")
    assert shell.cat("userevents/holders") == (
        "user_events:tick id=20 refcnt=3\n"
        "  file pid 1\n"
        "  enabler pid 1 bit 0 of 0x1000\n"
        "  ftrace top instance\n"
        "user_events:kept id=21 refcnt=1\n"
        "  self persistent\n"
    )


def test_a_holder_cannot_forge_lines_with_its_name(shell: Shell) -> None:
    """Control characters are escaped: a process may call itself anything."""
    world = shell.world
    world.register(
        "tick", file=world.group.open_file("evil\n  self persistent\x1b[2J"), mm=world.group.new_mm(world.memory)
    )
    assert "  file evil\\x0a  self persistent\\x1b[2J\n" in shell.cat("userevents/holders")


def test_history_tells_what_happened_to_events_that_live_and_to_those_that_are_gone(
    shell: Shell, declare: Declare
) -> None:
    """The time now, then each event with what was done to it; the gone ones last, with their fields."""
    shell.echo("dynamic_events", "u:tock u32 a; u8 b", abi.O_APPEND)
    declare("tick u32 count")
    shell.echo("events/user_events/tick/enable", "1")
    shell.echo("dynamic_events", "-:tock u32 a; u8 b", abi.O_APPEND)
    assert shell.cat("userevents/history").splitlines() == [
        "# now 0.000000006",
        "user_events:tick id=21",
        "  0.000000002 registered: pid 1",
        "  0.000000003 enabled: top instance",
        "user_events:tock id=20 gone u32 a; u8 b",
        "  0.000000001 registered: user 0 (dynamic_events)",
        "  0.000000004 deleted by hand: user 0",
        "  0.000000005 destroyed",
    ]


def test_the_history_cannot_be_forged_with_a_name(shell: Shell) -> None:
    """Control characters of whoever acted are escaped, as among the holders."""
    world = shell.world
    world.register("tick", file=world.group.open_file("evil\n  1.0 destroyed\x1b[2J"))
    assert "registered: evil\\x0a  1.0 destroyed\\x1b[2J\n" in shell.cat("userevents/history")


def test_info_is_json_of_the_tracer_and_of_an_instance(shell: Shell, declare: Declare) -> None:
    """The instance's says what was missed."""
    night(shell)
    declare("tick")
    shell.echo(f"{NIGHT}/patterns", "*")
    instance = shell.tree.system.instances["night"]
    instance.stream.finish()
    instance.stream.push(b"", None, 5)
    assert json.loads(shell.cat("userevents/info")) == {"profile": "v6.12", "events": 1}
    facts = json.loads(shell.cat(f"{NIGHT}/info"))
    assert (facts["instance"], facts["enabled"], facts["missed"]) == ("night", 1, 5)


def test_control_takes_what_a_recording_can_be_asked(shell: Shell) -> None:
    """And refuses everything else."""
    night(shell)
    shell.echo(f"{NIGHT}/control", "rotate\n")
    assert shell.tree.system.instances["night"].request == "rotate"
    for nonsense in ("", "stop", "finish rotate"):
        assert refused(partial(shell.echo, f"{NIGHT}/control", nonsense)) == "EINVAL"


@pytest.mark.parametrize(
    ("path", "text", "shown"),
    [
        ("set_event", "nope:nope", "'nope:nope' names no event"),
        ("dynamic_events", "u:t long x", "'long'"),
        ("events/nope", "", "'events/nope' does not exist"),
        ("userevents/select", "pid x", "'pid x' selects nothing"),
        ("events/enable", "maybe", "'maybe' is not a decimal number"),
    ],
)
def test_a_refusal_says_in_words_what_was_wrong(shell: Shell, path: str, text: str, shown: str) -> None:
    """Every refusal of the tree has a reason that shows the value."""
    with pytest.raises(Refused) as refusal:
        shell.echo(path, text)
    assert shown in refusal.value.reason


def test_the_last_pattern_that_matches_decides_and_may_exclude(shell: Shell, declare: Declare) -> None:
    """``!`` takes out what an earlier pattern wanted, of events that are there and of later ones, and is read back."""
    declare("tick", "tock")
    shell.echo("userevents/patterns", "*\n!to*\n!late\nlater\n")
    declare("tocks", "later", "late")
    assert set(shell.cat("set_event").split()) == {"user_events:tick", "user_events:later"}
    assert shell.cat("userevents/patterns") == "*\n!to*\n!late\nlater\n"
    shell.echo("userevents/patterns", "*\n!tick\n")
    assert "user_events:tick" not in shell.cat("set_event")
    assert "user_events:tocks" in shell.cat("set_event")
