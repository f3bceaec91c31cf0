"""``user_events_data`` from its worst side: any bytes as structure, as text and as event, at any address.

Each call is taken or refused with an errno. Counts stay the number of holders, what was recorded can be read, and
when the process is gone only what persists is left.
"""

import struct
from functools import partial

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.engine.world import refused
from tests.kernel.memory import AREAS, SCRATCH, SCRATCH_SIZE
from tests.kernel.world import ROOT, Process, World
from userevents.abi import tracefs as abi
from userevents.abi import user_events as uapi
from userevents.testing.fakes import PAGE
from userevents.tracefs import OpenNode, WriteCall

TEXT_AT = SCRATCH + PAGE
END = SCRATCH + SCRATCH_SIZE
COMMANDS = [uapi.DIAG_IOCSREG, uapi.DIAG_IOCSUNREG, uapi.DIAG_IOCSDEL]
TEXTS = [
    b"t u32 a",
    b"t u64 a",
    b"t",
    b"u __rel_loc char[] s; u32 a",
    b"v char[20] s",
    b"t:x u8 a",
    b"n" * 511,
    b"n" * 512,
]
FIELDS = [b"u32 a", b"__rel_loc char[] s", b"u32 a; __data_loc char[] s", b"char[8] s; s64 n", b"struct f64 x 8", b""]

u64 = st.one_of(
    st.integers(0, (1 << 64) - 1), st.sampled_from([*sorted(AREAS.values()), SCRATCH, TEXT_AT, END - 8, END])
)
words = st.just(AREAS["word"]) | u64
bits = st.sampled_from([0, 1]) | st.integers(0, 255)
patches = st.lists(st.tuples(st.integers(0, 40), st.binary(min_size=1, max_size=8)), max_size=3)
"""Where a good structure is overwritten, and with what."""
structures = st.one_of(
    st.binary(max_size=64),
    st.builds(
        partial(struct.pack, uapi.USER_REG),
        st.one_of(st.just(28), st.integers(0, 5000)),
        bits,
        st.sampled_from([4, 8]),
        st.integers(0, 3),
        words,
        st.just(TEXT_AT) | u64,
        st.just(0),
    ),
    st.builds(partial(struct.pack, uapi.USER_UNREG), st.just(16), bits, st.just(0), st.just(0), words),
)


def start() -> tuple[World, Process, OpenNode]:
    """A process with an open file."""
    world = World()
    process = world.process("p1")
    return world, process, world.tree.open(abi.USER_EVENTS_DATA, abi.O_RDWR, ROOT, process.main)


def require_counted(world: World) -> None:
    """Every count is the number of holders, and the files that show events can be read."""
    for event in world.group.events:
        assert event.refcnt == len(event.holders()) >= 1
    for path in (abi.USER_EVENTS_STATUS, abi.DYNAMIC_EVENTS, abi.AVAILABLE_EVENTS, abi.TRACE, "userevents/holders"):
        assert isinstance(world.tree.open(path, abi.O_RDONLY, ROOT).read(1 << 20), bytes)


def require_gone(world: World, node: OpenNode) -> None:
    """The process dies, and only what persists is left."""
    node.close()
    world.end("p1")
    world.settle()
    assert all(event.persist and event.refcnt == 1 for event in world.group.events)


@given(
    calls=st.lists(
        st.tuples(
            st.sampled_from(COMMANDS) | st.integers(0, (1 << 64) - 1),
            structures,
            patches,
            st.sampled_from(TEXTS) | st.binary(max_size=600),
            st.booleans(),
            st.none() | u64,
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=200)
def test_any_bytes_are_taken_or_refused_as_a_structure(
    calls: list[tuple[int, bytes, list[tuple[int, bytes]], bytes, bool, int | None]],
) -> None:
    """Also where they end at the end of readable memory, and where the argument points anywhere."""
    world, process, node = start()
    process.memory.write(TEXT_AT, b"taken u32 a\0")
    process.memory.write(SCRATCH, struct.pack(uapi.USER_REG, 28, 0, 4, 0, AREAS["word"], TEXT_AT, 0))
    assert node.ioctl(uapi.DIAG_IOCSREG, SCRATCH, process.main) == 0
    for command, good, changes, text, is_at_the_end, argument in calls:
        raw = bytearray(good)
        for at, noise in changes:
            raw[at : at + len(noise)] = noise
        place = END - len(raw) if is_at_the_end else SCRATCH
        process.memory.write(place, bytes(raw))
        process.memory.write(TEXT_AT, (text + b"\0")[: PAGE - 1])
        refused(partial(node.ioctl, command, place if argument is None else argument, process.main))
        require_counted(world)
    require_gone(world, node)


@given(text=st.binary(max_size=600), at=st.integers(0, 700), flags=st.integers(0, 3))
def test_any_bytes_are_taken_or_refused_as_a_declaration(text: bytes, at: int, flags: int) -> None:
    """Behind a pointer, up to the end of readable memory; what was taken is found, deleted or busy by its name."""
    world, process, node = start()
    place = END - at
    process.memory.write(place, text[:at])
    process.memory.write(SCRATCH, struct.pack(uapi.USER_REG, 28, 0, 4, flags, AREAS["word"], place, 0))
    error = refused(partial(node.ioctl, uapi.DIAG_IOCSREG, SCRATCH, process.main))
    assert error in ("", "EINVAL", "EFAULT")
    require_counted(world)
    if not error:
        (event,) = world.group.events
        process.memory.write(TEXT_AT, event.name.encode("latin-1") + b"\0")
        assert refused(partial(node.ioctl, uapi.DIAG_IOCSDEL, TEXT_AT, process.main)) == "EBUSY"
    refused(partial(node.ioctl, uapi.DIAG_IOCSDEL, place, process.main))
    require_gone(world, node)


@pytest.mark.parametrize("fields", FIELDS)
@given(
    written=st.lists(
        st.tuples(st.binary(max_size=60), st.integers(0, 3), st.integers(0, 40), st.none() | st.integers(0, 80)),
        max_size=6,
    )
)
@settings(max_examples=40)
def test_any_bytes_are_taken_or_refused_as_an_event(
    fields: bytes, written: list[tuple[bytes, int, int, int | None]]
) -> None:
    """While an instance records it, filters it and counts it, and perf samples it; then all of it can be read."""
    world, process, node = start()
    process.memory.write(TEXT_AT, b"t " + fields + b"\0")
    process.memory.write(SCRATCH, struct.pack(uapi.USER_REG, 28, 0, 4, 0, AREAS["word"], TEXT_AT, 0))
    assert node.ioctl(uapi.DIAG_IOCSREG, SCRATCH, process.main) == 0
    (event,) = world.group.events
    world.system.instances[""].enable(event)
    subscription = world.system.perf.open(event.id, process.main.tid)
    for path, text in (("filter", b's ~ "*a*" || a > 1'), ("trigger", b"hist:keys=s"), ("trigger", b"hist:keys=a.hex")):
        opened = world.tree.open(f"events/user_events/t/{path}", abi.O_WRONLY, ROOT)
        refused(partial(opened.write, text))
        opened.close()
    for data, index, offset, size in written:
        call = WriteCall(process.main, offset if offset > 38 else 0, None if size is None else max(size, len(data)))
        refused(partial(node.write, data, call))
        refused(partial(node.write, index.to_bytes(4, "little") + data, call))
        refused(partial(node.write, bytes(4) + struct.pack("<HH", offset, index) + data, WriteCall(process.main)))
    require_counted(world)
    assert isinstance(world.tree.open("events/user_events/t/hist", abi.O_RDONLY, ROOT).read(1 << 20), bytes)
    pipe = world.tree.open("per_cpu/cpu0/trace_pipe_raw", abi.O_RDONLY, ROOT)
    assert refused(partial(pipe.read, PAGE)) in ("", "EAGAIN")
    pipe.close()
    subscription.close()
    refused(partial(world.tree.open("events/user_events/t/trigger", abi.O_RDWR | abi.O_TRUNC, ROOT).close))
    world.system.instances[""].disable_all()
    require_gone(world, node)
