"""What is switched while a program writes holds from the next write on, though plain events take a short way."""

import ctypes
import fcntl
import os
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import PATIENCE
from tests.doors.servers import Mount, on_one_cpu, wait_for
from userevents.abi import user_events as uapi
from userevents.buffer import records

EVENT = "events/user_events/short"


class Program:
    """This process as a program that uses the mount: the event ``short u32 a``."""

    def __init__(self, mounted: Mount, cpu: int) -> None:
        self.mounted = mounted
        self.cpu = cpu
        self.fd = os.open(mounted.place / "user_events_data", os.O_RDWR)
        self._word = ctypes.c_uint32()
        self.register(b"short u32 a", 0)

    def register(self, declaration: bytes, bit: int) -> None:
        """Register an event, whose index is the next one."""
        text = ctypes.create_string_buffer(declaration)
        call = (28, bit, 4, 0, ctypes.addressof(self._word), ctypes.addressof(text), 0)
        fcntl.ioctl(self.fd, uapi.DIAG_IOCSREG, bytearray(struct.pack(uapi.USER_REG, *call)))

    @property
    def enabled(self) -> bool:
        """What the kernel would set."""
        return bool(self._word.value & 1)

    def write(self, value: int, index: int = 0) -> int:
        """Write the event."""
        return os.write(self.fd, struct.pack("<iI", index, value))

    def values(self, where: str = "trace") -> list[int]:
        """The values that `trace` shows, and they are gone from it."""
        lines = self.mounted.read(where).splitlines()
        self.mounted.write(where, "")
        return [int(line.partition("a=")[2].split()[0], 0) for line in lines if " short: " in line]


@pytest.fixture
def program(mounted: Mount) -> Iterator[Program]:
    """A program whose event is enabled, and has been written: the next one would take the short way."""
    with on_one_cpu() as cpu:
        made = Program(mounted, cpu)
        mounted.write(f"{EVENT}/enable", "1")
        assert made.enabled
        assert [made.write(value) for value in (1, 2, 3)] == [8, 8, 8]
        assert made.values() == [1, 2, 3]
        yield made
        os.close(made.fd)


Switch = Callable[[Mount], object]
SWITCHES: dict[str, tuple[Switch, list[int]]] = {
    "a filter": (lambda mounted: mounted.write(f"{EVENT}/filter", "a > 10"), [20]),
    "a trigger": (lambda mounted: mounted.write(f"{EVENT}/trigger", "traceoff if a == 20"), [4, 20]),
    "tracing off": (lambda mounted: mounted.write("tracing_on", "0"), []),
    "a list of threads": (lambda mounted: mounted.write("set_event_pid", "1"), []),
    "a clock": (lambda mounted: mounted.write("trace_clock", "counter"), [4, 20, 5]),
    "a size": (lambda mounted: mounted.write("buffer_size_kb", "64"), [4, 20, 5]),
    "a snapshot": (lambda mounted: mounted.write("snapshot", "1"), [4, 20, 5]),
    "a mode": (lambda mounted: (mounted.place / "trace").chmod(0o600), [4, 20, 5]),
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_holds_from_the_next_write_on(mounted: Mount, program: Program, switch: str) -> None:
    """Nothing that was found out before it is believed any longer."""
    change, expected = SWITCHES[switch]
    for value in (90, 91):
        program.write(value)
    assert program.values() == [90, 91]
    change(mounted)
    for value in (4, 20, 5):
        program.write(value)
    assert program.values() == expected


def test_disabling_refuses_the_next_write(mounted: Mount, program: Program) -> None:
    """EBADF, as in the kernel; and enabled in another instance, only that one records it."""
    mounted.write(f"{EVENT}/enable", "0")
    assert not program.enabled
    with pytest.raises(OSError, match="Bad file descriptor"):
        program.write(4)
    other = mounted.place / "instances" / "other"
    other.mkdir()
    (other / EVENT / "enable").write_text("1")
    assert [program.write(value) for value in (5, 6)] == [8, 8]
    assert program.values() == []
    assert program.values("instances/other/trace") == [5, 6]
    mounted.write(f"{EVENT}/enable", "1")
    assert [program.write(value) for value in (7, 8)] == [8, 8]
    assert program.values() == program.values("instances/other/trace") == [7, 8]
    (other / EVENT / "enable").write_text("0")
    other.rmdir()
    assert program.write(9) == 8
    assert program.values() == [9]


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"\0\0\0", "Bad address"), (b"\0\0\0\0abc", "Invalid"), (b"\1\0\0\0abcd", "No such"), (b"\xff" * 8, "Invalid")],
)
def test_a_wrong_write_is_refused_after_a_right_one(program: Program, data: bytes, error: str) -> None:
    """An index or a size that is not the last one's is looked at."""
    with pytest.raises(OSError, match=error):
        os.write(program.fd, data)
    assert program.write(4) == 8
    assert program.values() == [4]


def test_a_program_that_appends_writes_every_event(mounted: Mount, program: Program) -> None:
    """With O_APPEND the kernel puts each write behind the one before, which is no position to us."""
    fd = os.dup(program.fd)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    assert [os.write(fd, struct.pack("<iI", 0, value)) for value in (1, 2, 3)] == [8, 8, 8]
    os.close(fd)
    assert program.values() == [1, 2, 3]


LONG = "events/user_events/long"
LETTERS = [bytes((97 + number % 26,)) for number in range(700)]
TEXT = b"".join(LETTERS).decode()


def in_vectors(letters: list[bytes], index: int = 1) -> list[bytes]:
    """A write of the event ``long __rel_loc char[] text``, each letter in a vector of its own."""
    return [struct.pack("<iI", index, (len(letters) + 1) << 16), *letters, b"\0"]


def waits_for(thread: threading.Thread, fd: int) -> bool:
    """Whether a thread is in a system call on a descriptor, and asleep."""
    words = Path(f"/proc/self/task/{thread.native_id}/syscall").read_text(encoding="ascii").split()
    return len(words) > 1 and words[1] == hex(fd)


@pytest.fixture
def long(program: Program) -> Program:
    """The program with a second event, which takes a text of any length."""
    program.register(b"long __rel_loc char[] text", 1)
    program.mounted.write(f"{LONG}/enable", "1")
    return program


def test_a_writev_of_many_vectors_is_one_record(mounted: Mount, program: Program) -> None:
    """The kernel sends it in pieces of so many vectors as a request holds; it is one record all the same."""
    assert os.writev(program.fd, [struct.pack("<i", 0), *LETTERS]) == 704
    program.write(7)
    with open(mounted.place / f"per_cpu/cpu{program.cpu}/trace_pipe_raw", "rb", buffering=0) as raw:
        page = raw.read(4096)
    assert TEXT.encode() in page
    assert [length for _, _, length in records(page)] == [8 + 700, 8 + 4]


@pytest.mark.parametrize("flags", [0, os.O_APPEND])
def test_a_reader_that_waits_gets_all_of_a_writev_of_many_vectors(mounted: Mount, long: Program, flags: int) -> None:
    """Though he reads as soon as its first piece has come, and what it must hold is in a later one."""
    fcntl.fcntl(long.fd, fcntl.F_SETFL, flags)
    fd = os.open(mounted.place / "trace_pipe", os.O_RDONLY)
    told: list[bytes] = []
    for letters in (LETTERS, LETTERS[:250], LETTERS[:10], LETTERS):
        reader = threading.Thread(target=lambda: told.append(os.read(fd, 8192)))
        reader.start()
        wait_for(partial(waits_for, reader, fd))
        assert os.writev(long.fd, in_vectors(letters)) == 8 + len(letters) + 1
        reader.join(10 * PATIENCE)
        assert f"text={TEXT[: len(letters)]}\n" in told.pop().decode()
    assert long.write(7) == 8
    assert "a=0x7 (7)" in os.read(fd, 4096).decode()
    os.close(fd)


def test_a_writev_of_many_vectors_is_refused_as_a_whole(mounted: Mount, long: Program) -> None:
    """Its errno is what the whole of it deserves; what comes next is taken."""
    vectors = in_vectors(LETTERS)
    with pytest.raises(OSError, match="Bad address"):
        os.writev(long.fd, [*vectors[:-1], b"!"])  # a text without its NUL
    with pytest.raises(OSError, match="No such file"):
        os.writev(long.fd, in_vectors(LETTERS, index=9))
    mounted.write(f"{LONG}/enable", "0")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.writev(long.fd, vectors)
    mounted.write(f"{LONG}/enable", "1")
    assert os.writev(long.fd, vectors) == 709
    assert os.writev(long.fd, [*vectors, *[b"x" * 9000] * 3]) == 27709  # too large for any page
    assert long.write(7) == 8
    assert [line.partition(": long: ")[2] for line in mounted.read("trace").splitlines() if ": long: " in line] == [
        f"text={TEXT}"
    ]
    assert long.values() == [7]


def test_a_reader_that_waits_gets_what_is_written_at_once(mounted: Mount, program: Program) -> None:
    """A blocked read of `trace_pipe` ends with the write that it waited for, not with the tracer's next turn."""
    fd = os.open(mounted.place / "trace_pipe", os.O_RDONLY)
    for value in range(50):
        program.write(value)
        assert f"a=0x{value:x} ({value})" in os.read(fd, 4096).decode()
    os.close(fd)
