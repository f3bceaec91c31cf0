"""Whatever is written anywhere: it is taken, or refused with an errno; nothing else, ever."""

from functools import partial

import hypothesis.strategies as st
from hypothesis import given, settings

from tests.engine.world import ROOT, World, refused
from userevents.abi import tracefs as abi
from userevents.errors import Refused
from userevents.tracefs import PlainSystem, Tree

WRITABLE = (
    "dynamic_events",
    "set_event",
    "events/enable",
    "events/user_events/enable",
    "events/user_events/tick/enable",
    "userevents/patterns",
    "userevents/select",
    "userevents/control",
    "instances/night/set_event",
    "instances/night/userevents/patterns",
)
PIECES = st.sampled_from(
    (
        *(b"u:", b"-:", b"!", b"tick", b"tock", b" ", b"\n", b";", b"u32 a", b"char[20] c", b"*", b":", b"1", b"0"),
        *(b"\0", b"#", b"user_events", b"/", b"[", b"]", b"?", b"pid 1", b"tree", b"run x", b"finish", b"\xff"),
        *(b"\xa0", b"__rel_loc "),
    )
)
DATA = st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=12).map(b"".join))
FLAGS = st.sampled_from([0, abi.O_TRUNC, abi.O_APPEND, abi.O_NONBLOCK])
NAMES = st.sampled_from(
    ["events", "instances", "user_events", "tick", "enable", "..", ".", "", "night", "userevents", "x"]
)


def world() -> tuple[World, Tree]:
    """A tree with an instance and an event."""
    made = World()
    made.register("tick u32 a")
    tree = Tree(PlainSystem(made.group))
    tree.mkdir("instances/night")
    return made, tree


@given(writes=st.lists(st.tuples(st.sampled_from(WRITABLE), FLAGS, DATA), max_size=8))
@settings(max_examples=150)
def test_any_bytes_written_to_any_file_are_taken_or_refused(writes: list[tuple[str, int, bytes]]) -> None:
    """Afterwards every count is still the number of holders, and the tree can still be read."""
    made, tree = world()
    for path, flags, data in writes:
        try:
            node = tree.open(path, abi.O_RDWR | flags, ROOT)
        except Refused:
            continue
        try:
            taken = node.write(data)
            assert 0 <= taken <= len(data)
            assert taken or not data
            node.read(1 << 20)
        except Refused:
            pass
        node.close()
    made.group.run_work()
    for event in made.group.events:
        assert event.refcnt == len(event.holders()) >= 1
    for path in ("user_events_status", "dynamic_events", "set_event", "userevents/holders", "userevents/patterns"):
        assert isinstance(tree.open(path, abi.O_RDONLY, ROOT).read(1 << 20), bytes)


@given(parts=st.lists(NAMES, max_size=6))
def test_any_path_leads_somewhere_or_is_refused(parts: list[str]) -> None:
    """All five calls that take a path."""
    _, tree = world()
    path = "/".join(parts)
    for call in (tree.listdir, tree.stat, tree.mkdir, tree.rmdir):
        refused(partial(call, path))
    refused(lambda: tree.open(path, abi.O_RDWR, ROOT).close())
