"""Paths, kinds, modes, permissions and instances: what any program expects of a file tree."""

from collections.abc import Callable

import pytest

from tests.engine.world import ROOT, World
from tests.engine.world import refused as refusal
from tests.tracefs.conftest import Shell
from userevents.abi import tracefs as abi
from userevents.tracefs import Caller, PlainSystem, Tree

Declare = Callable[..., None]
WRITTEN_ONLY = (
    "/stream",
    "/control",
    "/user_events_data",
    "/free_buffer",
    "/trace_marker",
    "/trace_marker_raw",
)
OWNER, FRIEND, STRANGER = Caller(1000, 1000, False), Caller(1001, 50, False), Caller(1001, 1001, False)


def test_the_tree_has_the_kernels_names_and_one_directory_of_ours(shell: Shell, declare: Declare) -> None:
    """Top, instance, events, system and event directories."""
    declare("tick u32 a")
    shell.tree.mkdir("instances/night")
    top = set(shell.tree.listdir(""))
    own = set(shell.tree.listdir("userevents"))
    of_instance = set(shell.tree.listdir("instances/night"))
    assert top - of_instance == {
        "README",
        "user_events_data",
        "user_events_status",
        "dynamic_events",
        "available_events",
        "instances",
        "saved_cmdlines",
        "saved_cmdlines_size",
        "saved_tgids",
        "tracing_thresh",
        "printk_formats",
        "eval_map",
    }
    assert of_instance < top
    assert {"events", "trace", "trace_pipe", "per_cpu", "set_event", "tracing_on", "userevents"} < of_instance
    assert {"patterns", "select", "stream", "holders", "history", "info"} <= own
    for place in ("", "instances/night/"):
        assert set(shell.tree.listdir(f"{place}userevents")) == own
        assert shell.tree.listdir(f"{place}events") == [
            "enable",
            "header_page",
            "header_event",
            "ftrace",
            "user_events",
        ]
        assert shell.tree.listdir(f"{place}events/user_events") == ["enable", "filter", "tick"]
        files = ["enable", "filter", "format", "hist", "id", "trigger"]
        assert shell.tree.listdir(f"{place}events/user_events/tick/") == files


def test_every_listed_name_leads_somewhere(shell: Shell, declare: Declare) -> None:
    """What listdir shows can be looked at, all the way down; files can be opened, and read if they are for reading."""
    declare("tick u32 a")
    shell.tree.mkdir("instances/night")
    seen = []

    def look(path: str) -> None:
        seen.append(path)
        if shell.tree.stat(path).mode & abi.S_IFMT == abi.S_IFDIR:
            for name in shell.tree.listdir(path):
                look(f"{path}/{name}")
        elif not path.endswith(WRITTEN_ONLY):
            assert refusal(lambda: shell.cat(path)) in ("", "EAGAIN")

    look("")
    assert len(seen) > 40


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("", 0o40700),
        ("events", 0o40755),
        ("instances", 0o40750),
        ("trace_marker", 0o100220),
        ("free_buffer", 0o100200),
        ("user_events_status", 0o100440),
        ("dynamic_events", 0o100640),
        ("./events//enable", 0o100640),
        ("/set_event", 0o100640),
    ],
)
def test_modes_are_the_kernels(shell: Shell, path: str, mode: int) -> None:
    """As stat showed them on 6.12."""
    assert shell.tree.stat(path).mode == mode


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("nope", "ENOENT"),
        ("events/user_events", "ENOENT"),
        ("..", "ENOENT"),
        ("instances/..", "ENOENT"),
        ("README/x", "ENOTDIR"),
        ("events", "EISDIR"),
        ("instances", "EISDIR"),
    ],
)
def test_a_path_that_is_no_file_is_refused_as_by_any_file_system(shell: Shell, path: str, expected: str) -> None:
    """ENOENT, ENOTDIR and EISDIR."""
    assert refusal(lambda: shell.tree.open(path, 0, ROOT)) == expected


def test_existence_is_answered_without_refusing(shell: Shell) -> None:
    """Also for paths through files."""
    assert shell.tree.exists("events/enable")
    assert not shell.tree.exists("events/nope")
    assert not shell.tree.exists("README/x")


def test_an_open_file_does_only_what_it_was_opened_for(shell: Shell) -> None:
    """EBADF for the wrong direction, EINVAL where there is no such direction at all, EBADF when closed."""
    node = shell.tree.open("events/enable", abi.O_RDONLY, ROOT)
    assert refusal(lambda: node.write(b"1")) == "EBADF"
    node.close()
    node.close()
    assert refusal(lambda: node.read(1)) == "EBADF"
    writer = shell.tree.open("events/enable", abi.O_WRONLY, ROOT)
    assert refusal(lambda: writer.read(1)) == "EBADF"
    status = shell.tree.open("user_events_status", abi.O_RDWR, ROOT)
    assert refusal(lambda: status.write(b"x")) == "EINVAL"


def test_a_text_is_read_from_a_position_of_its_own(shell: Shell, declare: Declare) -> None:
    """Two openings read independently; a read at an offset moves nothing; reading on does not mix two texts."""
    declare("one")
    first, second = (shell.tree.open("user_events_status", 0, ROOT) for _ in range(2))
    assert first.read(4) == b"one\n"
    assert first.read(3, offset=1) == b"ne\n"
    assert second.read(2) == b"on"
    declare("two")
    assert first.read(100) == b"\nActive: 1\nBusy: 0\n"
    assert first.read(100) == b""
    assert first.read(100, offset=0).startswith(b"one\ntwo\n")


def test_mkdir_makes_an_instance_and_rmdir_removes_it(shell: Shell) -> None:
    """Only in instances/, only once a name."""
    shell.tree.mkdir("instances/night")
    assert shell.tree.listdir("instances") == ["night"]
    assert refusal(lambda: shell.tree.mkdir("instances/night")) == "EEXIST"
    assert refusal(lambda: shell.tree.mkdir("events/mine")) == "EPERM"
    assert refusal(lambda: shell.tree.mkdir("mine")) == "EPERM"
    assert refusal(lambda: shell.tree.mkdir("instances/night/more")) == "EPERM"
    assert refusal(lambda: shell.tree.mkdir("nope/night")) == "ENOENT"
    assert refusal(lambda: shell.tree.mkdir("instances/" + "x" * 256)) == "ENAMETOOLONG"
    assert refusal(lambda: shell.tree.rmdir("instances/day")) == "ENOENT"
    assert refusal(lambda: shell.tree.rmdir("instances")) == "EPERM"
    assert refusal(lambda: shell.tree.rmdir("README")) == "ENOTDIR"
    assert refusal(lambda: shell.tree.rmdir("instances/night/events")) == "EPERM"
    shell.tree.rmdir("instances/night/")
    assert shell.tree.listdir("instances") == []


def test_an_instance_with_an_open_file_cannot_be_removed(shell: Shell) -> None:
    """EBUSY until the last of them is closed."""
    shell.tree.mkdir("instances/night")
    first = shell.tree.open("instances/night/set_event", 0, ROOT)
    second = shell.tree.open("instances/night/events/enable", 0, ROOT)
    first.close()
    assert refusal(lambda: shell.tree.rmdir("instances/night")) == "EBUSY"
    second.abort()
    shell.tree.rmdir("instances/night")


def test_a_refused_opening_does_not_count_as_open(shell: Shell) -> None:
    """A stream that has a reader refuses the second; closing the first is enough."""
    shell.tree.mkdir("instances/night")
    reader = shell.tree.open("instances/night/userevents/stream", 0, ROOT)
    assert refusal(lambda: shell.tree.open("instances/night/userevents/stream", 0, ROOT)) == "EBUSY"
    reader.close()
    shell.tree.rmdir("instances/night")


def test_removing_an_instance_lets_go_of_its_events(shell: Shell, declare: Declare) -> None:
    """Its references are dropped, and the bit goes down."""
    declare("tick")
    shell.tree.mkdir("instances/night")
    shell.echo("instances/night/events/user_events/tick/enable", "1")
    assert shell.world.memory.words[0x1000] == 1
    shell.tree.rmdir("instances/night")
    assert shell.world.memory.words[0x1000] == 0
    assert shell.world.event("tick").refcnt == 2


@pytest.mark.parametrize(
    ("caller", "path", "flags", "allowed"),
    [
        (OWNER, "user_events_status", abi.O_RDONLY, True),
        (OWNER, "user_events_status", abi.O_RDWR, False),
        (OWNER, "set_event", abi.O_RDWR, True),
        (ROOT, "user_events_status", abi.O_RDWR, True),
        (FRIEND, "set_event", abi.O_RDONLY, False),
        (STRANGER, "set_event", abi.O_RDONLY, False),
    ],
)
def test_a_file_opens_for_whom_its_mode_lets_in(caller: Caller, path: str, flags: int, allowed: bool) -> None:
    """The root directory is 0700: nobody but the owner and root gets past it."""
    tree = Tree(PlainSystem(World().group), uid=1000, gid=50)
    if allowed:
        tree.open(path, flags, caller).close()
    else:
        assert refusal(lambda: tree.open(path, flags, caller)) == "EACCES"


def test_names_no_directory_can_have_are_refused_when_listed(shell: Shell, declare: Declare) -> None:
    """As the kernel does: EIO for an empty name or a slash, and the rest of the tree goes on working."""
    declare("a/b")
    assert refusal(lambda: shell.tree.listdir("events/user_events")) == "EIO"
    assert shell.cat("events/user_events/enable") == "0\n"
    assert shell.cat("user_events_status").startswith("a/b\n")


def test_an_event_named_like_a_file_hides_it(shell: Shell, declare: Declare) -> None:
    """Seen on 6.12: both are listed, and the name leads to the event's directory."""
    declare("enable u32 a", ".. u32 a")
    assert shell.tree.listdir("events/user_events") == ["enable", "filter", "enable"]
    assert refusal(lambda: shell.cat("events/user_events/enable")) == "EISDIR"
    assert shell.cat("events/user_events/enable/enable") == "0\n"
