"""``user_events_data``: structures in a caller's memory, checked in order, and events written by index."""

import struct
from collections.abc import Iterator

import pytest

from tests.engine.world import refused
from tests.kernel.memory import AREAS, SCRATCH
from tests.kernel.world import ROOT, Process, World
from userevents.abi import tracefs as abi
from userevents.abi import user_events as uapi
from userevents.errors import Refused
from userevents.testing.fakes import PAGE
from userevents.tracefs import OpenNode, WriteCall

WORD = AREAS["word"]
NAME_AT = SCRATCH + 4 * PAGE


TEXT = b"t u32 a\0"


class Program:
    """A process with one open file."""

    def __init__(self) -> None:
        self.world = World()
        self.process: Process = self.world.process("p1")
        self.node: OpenNode = self.world.tree.open("user_events_data", abi.O_RDWR, ROOT, self.process.main)

    def reg(self, text: bytes = TEXT, /, *, at: int = SCRATCH, name_at: int = NAME_AT, **fields: int) -> str:
        """DIAG_IOCSREG with a structure at `at`; the errno's name, if any."""
        self.process.memory.write(NAME_AT, text)
        values = {"size": 28, "bit": 0, "enable_size": 4, "flags": 0, "addr": WORD} | fields
        packed = struct.pack(uapi.USER_REG, *values.values(), name_at, 99)
        if at == SCRATCH:
            self.process.memory.write(at, packed)
        return refused(lambda: self.node.ioctl(uapi.DIAG_IOCSREG, at, self.process.main))

    def unreg(self, **fields: int) -> str:
        """DIAG_IOCSUNREG; the errno's name, if any."""
        values = {"size": 16, "bit": 0, "reserved": 0, "reserved2": 0, "addr": WORD} | fields
        self.process.memory.write(SCRATCH, struct.pack(uapi.USER_UNREG, *values.values()))
        return refused(lambda: self.node.ioctl(uapi.DIAG_IOCSUNREG, SCRATCH, self.process.main))

    def index(self) -> int:
        """The write index that the last registration stored."""
        return self.process.memory.load(SCRATCH + uapi.USER_REG_WRITE_INDEX_OFFSET, 4)


@pytest.fixture
def program() -> Iterator[Program]:
    """A process with an open file, which is closed in the end."""
    made = Program()
    yield made
    made.node.close()


def test_of_two_mistakes_the_one_that_is_checked_first_is_told(program: Program) -> None:
    """Each row repairs one mistake of the row before; the errno moves on in the order of the contract."""
    assert program.reg() == ""
    rows: list[tuple[str, dict[str, int]]] = [
        ("EFAULT", {"at": 0}),
        ("E2BIG", {"size": 4097, "flags": 8, "enable_size": 3}),
        ("EINVAL", {"size": 27, "flags": 8, "enable_size": 3}),
        ("EINVAL", {"flags": 8, "addr": 1 << 63}),
        ("EINVAL", {"enable_size": 3, "addr": 1 << 63}),
        ("EINVAL", {"addr": (1 << 63) + 2}),
        ("EINVAL", {"bit": 32, "addr": 1 << 63}),
        ("EFAULT", {"addr": 1 << 63, "name_at": 0}),
        ("EADDRINUSE", {"name_at": 0}),
        ("EFAULT", {"name_at": 0, "bit": 1}),
    ]
    assert [program.reg(**fields) for _, fields in rows] == [expected for expected, _ in rows]
    assert program.reg(b"t u64 a\0", bit=1) == "EADDRINUSE"
    assert program.reg(b"t:flag\0", bit=1) == "EINVAL"
    assert program.reg(bit=1, addr=0) == "ENOMEM"
    assert program.reg(bit=1) == ""


def test_a_longer_structure_must_have_zeros_where_we_know_nothing(program: Program) -> None:
    """E2BIG for anything else; the registration is not made."""
    memory = program.process.memory
    memory.write(SCRATCH + 28, bytes(8))
    assert program.reg(size=32) == ""
    memory.write(SCRATCH + 28, b"\1")
    assert program.reg(size=32, bit=1) == "E2BIG"
    assert program.reg(size=28, bit=1) == ""


def test_a_text_may_end_at_the_end_of_readable_memory(program: Program) -> None:
    """It is read up to its NUL and no further; without a NUL before the unreadable page it is EFAULT."""
    end = AREAS["word"] + 2 * PAGE
    program.process.memory.write(end - 3, b"ev\0")
    assert program.reg(name_at=end - 3) == ""
    program.process.memory.write(end - 3, b"ev2")
    assert program.reg(name_at=end - 3, bit=1) == "EFAULT"
    assert program.reg(b"n" * 511 + b"\0", bit=2) == ""
    assert program.reg(b"n" * 512 + b"\0", bit=3) == "EINVAL"


def test_a_write_index_that_cannot_be_stored_is_no_failure(program: Program) -> None:
    """The registration stands; only the caller does not learn its index."""
    memory = program.process.memory
    memory.write(NAME_AT, b"t u32 a\0")
    memory.write(SCRATCH + PAGE - 24, struct.pack(uapi.USER_REG, 28, 0, 4, 0, WORD, NAME_AT, 99))
    memory.protect(SCRATCH + PAGE, write=False)
    assert program.reg(at=SCRATCH + PAGE - 24) == ""
    assert memory.load(SCRATCH + PAGE, 4) == 99
    assert [event.name for event in program.world.group.events] == ["t"]


def test_unregistering_looks_at_the_reserved_fields_and_then_at_the_thread(program: Program) -> None:
    """EINVAL, ENOENT before anything was registered and after it was unregistered, 0 between."""
    assert program.unreg() == "ENOENT"
    assert program.reg() == ""
    assert program.unreg(reserved=1) == "EINVAL"
    assert program.unreg(reserved2=1) == "EINVAL"
    assert program.unreg(size=15) == "EINVAL"
    assert program.unreg(size=4097) == "E2BIG"
    assert program.unreg(bit=1) == "ENOENT"
    assert program.unreg() == ""
    assert program.unreg() == "ENOENT"


def test_a_failed_registration_still_gives_a_thread_its_enablers_place(program: Program) -> None:
    """From the look for duplicates on; a thread started after it shares, one after an earlier failure does not."""
    process = program.process
    assert program.reg(flags=8) == "EINVAL"
    assert process.thread("t1").mm is None
    assert program.reg(b"t bad a\0") == "EINVAL"
    assert process.main.mm is not None
    assert process.thread("t2").mm is process.main.mm
    assert process.thread("t1").mm is None


def test_what_is_written_is_looked_at_in_order(program: Program) -> None:
    """Offset, index, size, listeners, readability; the count that comes back is that of all bytes."""
    program.reg()

    def write(data: bytes, offset: int = 0, size: int | None = None) -> str | int:
        done: list[int] = []
        call = WriteCall(program.process.main, offset, size)
        name = refused(lambda: done.append(program.node.write(data, call)))
        return name or done[0]

    assert write(bytes(8), 1) == "EFAULT"
    assert write(b"\0\0\0", 0, 8) == "EFAULT"
    assert write(b"\xff\xff\xff\xff") == "EINVAL"
    assert write(b"\1\0\0\0\0\0\0\0") == "ENOENT"
    assert write(bytes(7)) == "EINVAL"
    assert write(bytes(8)) == "EBADF"
    program.world.system.instances[""].enable(next(iter(program.world.group.events)))
    assert write(bytes(4), 0, 8) == "EFAULT"
    assert write(bytes(9)) == 9


def test_the_file_cannot_do_what_it_has_no_method_for(program: Program) -> None:
    """Reading is EINVAL, seeking ESPIPE, other ioctls ENOTTY, and a door that knows no writer cannot write."""
    assert refused(lambda: program.node.read(8)) == "EINVAL"
    assert refused(lambda: program.node.seek(0)) == "ESPIPE"
    assert refused(lambda: program.node.ioctl(0x2A03, 0, program.process.main)) == "ENOTTY"
    nobody = program.world.tree.open("user_events_data", abi.O_WRONLY, ROOT)
    assert refused(lambda: nobody.write(bytes(8))) == "ENOTSUP"
    nobody.close()


def test_holders_are_told_by_pid_and_command(program: Program) -> None:
    """Who opened the file, and who registered: both say the process and its name."""
    program.reg()
    (event,) = program.world.group.events
    pid = program.process.pid
    assert [holder.detail for holder in event.holders()] == [
        f"pid {pid} (p1)",
        f"pid {pid} (p1) bit 0 of 0x{WORD:x}",
    ]


def test_the_two_meanings_of_address_in_use_are_told_apart(program: Program) -> None:
    """The errno is one; the reason names the event behind the bit, or the fields that differ."""
    program.reg()
    program.process.memory.write(NAME_AT, b"t u64 a\0")
    for bit, reason in ((0, f"bit 0 of address 0x{WORD:x} already follows event 't'"), (1, "declared 'u64 a'")):
        packed = struct.pack(uapi.USER_REG, 28, bit, 4, 0, WORD, NAME_AT, 0)
        program.process.memory.write(SCRATCH, packed)
        with pytest.raises(Refused) as refusal:
            program.node.ioctl(uapi.DIAG_IOCSREG, SCRATCH, program.process.main)
        assert refusal.value.name == "EADDRINUSE"
        assert reason in refusal.value.reason
    (event,) = program.world.group.events
    told = [entry.who for entry in program.world.group.history.of(event) if entry.what == "refused"]
    assert ["follows it already" in told[0], "registered 'u32 a', declared 'u64 a'" in told[1]] == [True, True]
