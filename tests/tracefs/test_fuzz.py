"""Whatever is written anywhere: it is taken, or refused with an errno; nothing else, ever."""

import struct
from functools import partial

import hypothesis.strategies as st
from hypothesis import given, settings

from tests.engine.world import ROOT, World, refused
from tests.kernel.memory import AREAS, SCRATCH
from tests.kernel.world import World as KernelWorld
from userevents.abi import tracefs as abi
from userevents.abi import user_events as uapi
from userevents.errors import Refused
from userevents.testing.fakes import PAGE
from userevents.tracefs import PlainSystem, Tree, WriteCall

WRITABLE = (
    "dynamic_events",
    "set_event",
    "events/enable",
    "events/user_events/enable",
    "events/user_events/tick/enable",
    "events/user_events/filter",
    "events/user_events/tick/filter",
    "events/user_events/tick/trigger",
    "trace",
    "tracing_on",
    "buffer_size_kb",
    "per_cpu/cpu0/buffer_size_kb",
    "buffer_percent",
    "trace_clock",
    "trace_options",
    "options/overwrite",
    "current_tracer",
    "set_event_pid",
    "set_event_notrace_pid",
    "snapshot",
    "per_cpu/cpu0/snapshot",
    "error_log",
    "saved_cmdlines_size",
    "tracing_cpumask",
    "tracing_max_latency",
    "trace_marker",
    "trace_marker_raw",
    "free_buffer",
    "userevents/user_events_max",
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
        *(b"\xa0", b"__rel_loc ", b"traceon", b"hist:keys=a", b" if ", b"a == 1", b"&&", b"(", b")", b"'", b"mono"),
        *(b"noraw", b"enable_event:user_events:tick", b":2", b"0x", b"99999999999999999999", b"snapshot", b"-1"),
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


@given(
    calls=st.lists(
        st.tuples(
            st.sampled_from([uapi.DIAG_IOCSREG, uapi.DIAG_IOCSUNREG, uapi.DIAG_IOCSDEL, 0, 1 << 32]),
            st.one_of(st.sampled_from([0, SCRATCH, SCRATCH + 3, SCRATCH + 12 * PAGE - 8, 1 << 63, -1 & (1 << 64) - 1])),
            st.tuples(
                st.sampled_from([28, 16, 29, 4096, 4097, 0]),
                st.integers(0, 255),
                st.sampled_from([4, 8, 3]),
                st.sampled_from([0, 1, 2, 3, 4]),
                st.sampled_from([AREAS["word"], AREAS["word"] + 4, AREAS["ro"], 0, 1 << 62, (1 << 64) - 4]),
                st.sampled_from([SCRATCH + PAGE, SCRATCH + PAGE + 1, 0, AREAS["none"]]),
                st.integers(0, (1 << 32) - 1),
            ),
            st.one_of(st.binary(max_size=80), st.sampled_from([b"t u32 a", b"t", b"u:x", b"n" * 511, b"n" * 512])),
        ),
        max_size=6,
    ),
    written=st.lists(st.binary(max_size=24), max_size=4),
)
@settings(max_examples=150)
def test_any_structure_handed_to_an_ioctl_is_taken_or_refused(
    calls: list[tuple[int, int, tuple[int, ...], bytes]], written: list[bytes]
) -> None:
    """So is any write; when the process is gone and the worker has run, only persistent events are left."""
    made = KernelWorld()
    process = made.process("p1")
    node = made.tree.open("user_events_data", abi.O_RDWR, ROOT, process.main)
    for command, argument, values, text in calls:
        process.memory.write(SCRATCH, struct.pack(uapi.USER_REG, *values) + bytes(PAGE))
        process.memory.write(SCRATCH + PAGE, text + b"\0")
        refused(partial(node.ioctl, command, argument, process.main))
    made.system.instances[""].disable_all()
    for event in made.group.events:
        made.system.instances[""].enable(event)
    for data in written:
        refused(partial(node.write, data, WriteCall(process.main)))
    for event in made.group.events:
        assert event.refcnt == len(event.holders()) >= 1
    made.system.instances[""].disable_all()
    node.close()
    made.end("p1")
    made.settle()
    assert all(event.persist and event.refcnt == 1 for event in made.group.events)


@given(parts=st.lists(NAMES, max_size=6))
def test_any_path_leads_somewhere_or_is_refused(parts: list[str]) -> None:
    """All five calls that take a path."""
    _, tree = world()
    path = "/".join(parts)
    for call in (tree.listdir, tree.stat, tree.mkdir, tree.rmdir):
        refused(partial(call, path))
    refused(lambda: tree.open(path, abi.O_RDWR, ROOT).close())
