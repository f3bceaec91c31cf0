"""What one call costs does not depend on how many events there are: counted in instructions, not timed."""

import gc
import struct
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from tests.kernel.memory import AREAS, SCRATCH
from tests.kernel.world import ROOT, World
from userevents.abi import tracefs as abi
from userevents.abi import user_events as uapi
from userevents.engine import UserEvent
from userevents.engine.matching import same_fields
from userevents.engine.table import EventTable
from userevents.fields import parse_command
from userevents.tracefs import OpenNode, WriteCall

FEW, MANY = 8, 1000
TEXT_AT = SCRATCH + 256


class Ground:
    """A tree with `events` events of one process, each with a word of its own, and another process."""

    def __init__(self, events: int) -> None:
        self.world = World()
        self.owner = self.world.process("owner")
        self.node = self.open_data("owner")
        self.registered = 0
        for number in range(events):
            self.register(number)
        self.other = self.world.process("other")

    def open_data(self, name: str) -> OpenNode:
        """Open ``user_events_data`` for a process."""
        process = self.world.process(name)
        return self.world.tree.open(abi.USER_EVENTS_DATA, abi.O_RDWR, ROOT, process.main)

    def register(self, number: int, name: str = "owner", node: OpenNode | None = None) -> None:
        """DIAG_IOCSREG; the names are all of one length."""
        process = self.world.process(name)
        process.memory.write(TEXT_AT, b"event_%05d u32 a\0" % number)
        place = AREAS["word"] + 8 * (number // 64), number % 64
        process.memory.write(SCRATCH, struct.pack(uapi.USER_REG, 28, place[1], 8, 0, place[0], TEXT_AT, 0))
        (node or self.node).ioctl(uapi.DIAG_IOCSREG, SCRATCH, process.main)

    def unregister(self, number: int) -> None:
        """DIAG_IOCSUNREG."""
        addr = AREAS["word"] + 8 * (number // 64)
        self.owner.memory.write(SCRATCH, struct.pack(uapi.USER_UNREG, 16, number % 64, 0, 0, addr))
        self.node.ioctl(uapi.DIAG_IOCSUNREG, SCRATCH, self.owner.main)

    def put(self, path: str, text: bytes) -> None:
        """Write a file as echo does."""
        node = self.world.tree.open(path, abi.O_WRONLY, ROOT)
        node.write(text)
        node.close()

    def get(self, path: str) -> bytes:
        """Read a file."""
        node = self.world.tree.open(path, abi.O_RDONLY, ROOT)
        data = node.read(4096)
        node.close()
        return data

    def enable(self) -> None:
        """Enable the fourth event."""
        self.put("events/user_events/event_00003/enable", b"1")

    def disable(self) -> None:
        """Enable it, and disable it again."""
        self.enable()
        self.put("events/user_events/event_00003/enable", b"0")

    def write(self) -> None:
        """Enable and write the fourth event."""
        self.enable()
        self.node.write(struct.pack("<II", 3, 7), WriteCall(self.owner.main))

    def come_and_go(self) -> None:
        """Another process registers an event of its own and one that there is, and leaves again."""
        node = self.open_data("other")
        self.register(9999, "other", node)
        self.register(3, "other", node)
        node.close()
        self.world.end("other")
        self.world.settle()


CALLS: dict[str, Callable[[Ground], object]] = {
    "register an event": lambda ground: ground.register(9999),
    "register one that there is": lambda ground: ground.register(3, "other", ground.open_data("other")),
    "unregister": lambda ground: ground.unregister(3),
    "enable": Ground.enable,
    "enable by set_event": lambda ground: ground.put("set_event", b"user_events:event_00003"),
    "enable by name alone": lambda ground: ground.put("set_event", b"event_00003"),
    "enable and disable": Ground.disable,
    "enable and write": Ground.write,
    "read format": lambda ground: ground.get("events/user_events/event_00003/format"),
    "set a filter": lambda ground: ground.put("events/user_events/event_00003/filter", b"a == 1"),
    "create and delete by hand": lambda ground: ground.put("dynamic_events", b"u:event_77777\n-:event_77777\n"),
    "a process comes and goes": Ground.come_and_go,
}


def instructions(run: Callable[[], object]) -> int:
    """How many Python instructions a call takes; the collector is off, since it may call anything at any time."""
    parse_command.cache_clear()  # what another ground has asked before is no news
    same_fields.cache_clear()
    count = 0
    collects = gc.isenabled()

    def trace(frame: FrameType, what: str, _argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += what == "opcode"
        return trace

    before = sys.gettrace()
    gc.disable()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
    return count


@pytest.mark.parametrize("call", CALLS)
def test_a_call_takes_as_many_instructions_among_many_events_as_among_few(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it never goes through the table of events: what C does in one instruction is not counted, but forbidden."""
    grounds = Ground(FEW), Ground(MANY)
    assert [len(ground.world.group.events) for ground in grounds] == [FEW, MANY]

    def scan(table: EventTable, system: str = "user_events") -> tuple[UserEvent, ...]:
        assert system not in table.systems(), f"'{call}' goes through all events"
        return ()

    for name in ("__iter__", "__reversed__", "in_system"):
        monkeypatch.setattr(EventTable, name, scan)
    few, many = (instructions(partial(CALLS[call], ground)) for ground in grounds)
    assert few == many
    assert few > 100


def test_a_scan_would_be_noticed() -> None:
    """The count of instructions grows with what is gone through."""
    few, many = (instructions(partial(sum, (number for number in range(size)))) for size in (FEW, MANY))
    assert many > few + MANY - FEW
