"""The memory of another process, with pages that are not there or not its own to write: what goes in one call."""

import ctypes
import gc
import mmap
import os
import signal
import struct
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from tests.conftest import PATIENCE
from userevents.abi import user_events as uapi
from userevents.engine import Fault
from userevents.host import memory_file, remote
from userevents.host.guard import Guards
from userevents.host.remote import RemoteMemory, out_of_reach

PAGE: Final = mmap.PAGESIZE
PROT_NONE: Final = 0
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Other(NamedTuple):
    """A process with three pages: to write, to read, and neither."""

    memory: RemoteMemory
    good: int
    read_only: int
    none: int


@pytest.fixture(params=["C", "ctypes", "file"])
def other(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Other]:
    """A forked process: what is mapped here is at the same place there. By the calls, both ways, and by the file."""
    monkeypatch.setattr(memory_file, "is_needed", lambda: request.param == "file")
    if request.param == "C" and remote.native is None:
        pytest.skip("_memory was not built, or USEREVENTS_NATIVE=0")
    if request.param == "ctypes":
        monkeypatch.setattr(remote, "native", None)
    with mmap.mmap(-1, 3 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
        pages[:] = b"good".ljust(PAGE, b".") + b"read".ljust(PAGE, b",") + b"none".ljust(PAGE, b";")
        view = ctypes.c_char.from_buffer(pages)
        at = ctypes.addressof(view)
        pid = os.fork()
        if not pid:
            for number, protection in ((1, mmap.PROT_READ), (2, PROT_NONE)):
                if _libc.mprotect(ctypes.c_void_p(at + number * PAGE), ctypes.c_size_t(PAGE), protection):
                    os._exit(1)
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(0)
        del view
        os.waitpid(pid, os.WUNTRACED)
        memory = RemoteMemory(pid)
        try:
            yield Other(memory, at, at + PAGE, at + 2 * PAGE)
        finally:
            memory.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_both_are_read(other: Other) -> None:
    """A text and a byte elsewhere."""
    assert other.memory.read_both(other.good, 4, other.read_only) == (b"good", ord("r"))


def test_a_byte_that_may_not_be_read_costs_nothing_but_itself(other: Other) -> None:
    """The text is had all the same; where there is no byte, too."""
    assert other.memory.read_both(other.good, 4, other.none) == (b"good", None)
    for nowhere in (8, (1 << 56) - 8, (1 << 64) - 8):
        assert other.memory.read_both(other.good, 4, nowhere) == (b"good", None)


def test_a_text_that_may_not_be_read_is_a_fault(other: Other) -> None:
    """Its last bytes decide as its first do."""
    for addr in (other.none, other.none - 2, 8):
        with pytest.raises(Fault):
            other.memory.read_both(addr, 4, other.good)


def test_both_are_stored(other: Other) -> None:
    """In order: where they overlap, the second stays."""
    other.memory.write_both(other.good, ord("G"), other.good + 4, b"bye")
    assert other.memory.read(other.good, 8) == b"Goodbye."
    other.memory.write_both(other.good + 1, 0, other.good, b"last")
    assert other.memory.read(other.good, 8) == b"lastbye."


def test_without_the_byte_nothing_is_stored(other: Other) -> None:
    """What is read-only is not written by force."""
    for addr in (other.read_only, other.none, 8, (1 << 64) - 8):
        with pytest.raises(Fault):
            other.memory.write_both(addr, 0, other.good, b"lost")
    assert other.memory.read(other.good, 4) == b"good"
    assert other.memory.read(other.read_only, 4) == b"read"


def test_the_byte_stays_when_the_rest_cannot_be_stored(other: Other) -> None:
    """As a registration stands whose index cannot be told."""
    for number, addr in enumerate((other.read_only, other.none, 8)):
        other.memory.write_both(other.good, number, addr, b"lost")
        assert other.memory.read(other.good, 1)[0] == number


def test_a_process_that_is_gone_has_neither(other: Other) -> None:
    """Killed, it has no memory from then on."""
    os.kill(other.memory.pid, signal.SIGKILL)
    os.waitid(os.P_PID, other.memory.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(Fault):
        other.memory.read_both(other.good, 4, other.good)
    with pytest.raises(Fault):
        other.memory.write_both(other.good, 0, other.good + 4, b"lost")


def test_guarded_memory_is_not_touched_before_its_time(other: Other) -> None:
    """The byte of somebody whose memory may never answer is left alone until it is due."""
    guards = Guards(os.geteuid(), lambda level, message: None)
    other.memory.guard = guards.of(os.geteuid() + 12345)
    try:
        assert other.memory.read_both(other.good, 4, other.read_only) == (b"good", None)
    finally:
        guards.close()


def test_memory_that_answers_late_has_still_where_to_put_its_answer(
    other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was late is let go of, but for what the kernel will store to when the page comes after all."""
    answers, stored = threading.Event(), threading.Event()
    guards = Guards(os.geteuid(), lambda level, message: None)
    memory = RemoteMemory(other.memory.pid, guards.of(os.geteuid() + 12345))

    def late(*_: object, **__: object) -> int:
        answers.wait()
        stored.set()
        return -1

    monkeypatch.setattr(remote, "_readv", late)
    monkeypatch.setattr(memory_file, "move", late)
    with pytest.raises(Fault):
        memory.read(other.good, 4)
    still_there = weakref.ref(memory)
    del memory
    gc.collect()
    assert still_there() is not None
    answers.set()
    assert stored.wait(10 * PATIENCE)
    deadline = time.monotonic() + 10 * PATIENCE
    while still_there() is not None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert still_there() is None
    guards.close()


def test_pieces_are_gathered_in_order_or_not_at_all(other: Other) -> None:
    """As many as a call may write; one that cannot be read leaves nothing."""
    many = [(other.good + 3 - number % 4, 1) for number in range(1000)]
    assert other.memory.gather(many) == b"doog" * 250
    assert other.memory.gather([(other.good, 2), (other.read_only, 4), (other.good, 0)]) == b"goread"
    assert other.memory.gather([(other.good + PAGE - 1, 2)]) == b".r"
    assert other.memory.gather([]) == b""
    for wrong in ((other.none, 1), (8, 1), (1 << 63, 1), (other.good, 4097)):
        with pytest.raises(Fault):
            other.memory.gather([(other.good, 2), wrong])


def test_bits_of_pages_that_may_not_be_written_are_left(other: Other) -> None:
    """A bit is set alone; neither way forces itself into a page."""
    other.memory.write_bit(other.good, 9, 4, True)
    assert other.memory.read(other.good, 4) == bytes((ord("g"), ord("o") | 2)) + b"od"
    assert other.memory.bit(other.good, 9) == 1
    for addr in (other.read_only, other.none):
        with pytest.raises(Fault):
            other.memory.write_bit(addr, 9, 4, True)
    assert other.memory.read(other.read_only, 4) == b"read"


def test_a_child_is_within_reach_and_a_process_that_is_gone_is_not(other: Other) -> None:
    """It is asked before a program is started behind a door."""
    assert out_of_reach(other.memory.pid) is None
    os.kill(other.memory.pid, signal.SIGKILL)
    os.waitid(os.P_PID, other.memory.pid, os.WEXITED | os.WNOWAIT)
    assert out_of_reach(other.memory.pid) is not None


@pytest.mark.parametrize(
    ("change", "is_plain"),
    [
        ({}, True),
        ({"size": 32}, False),
        ({"addr": 2 * PAGE}, False),
        ({"addr": PAGE + 8}, True),
        ({"name_addr": 2 * PAGE}, False),
        ({"name_addr": PAGE - 4}, False),
        ({"name_addr": 1 << 63}, False),
        ({"addr": (1 << 64) - 8}, False),
    ],
)
def test_a_registration_is_read_in_one_go_or_not_at_all(change: dict[str, int], is_plain: bool) -> None:
    """Whatever is not as most are is left to those who look at it step by step."""
    if remote.native is None:
        pytest.skip("_memory was not built, or USEREVENTS_NATIVE=0")
    with mmap.mmap(-1, 3 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
        view = ctypes.c_char.from_buffer(pages)
        at = ctypes.addressof(view)
        fields = {"size": 28, "addr": 512, "name_addr": PAGE + 100, **change}
        size, addr, name_addr = (fields[name] + (at if fields[name] in range(64, 3 * PAGE) else 0) for name in fields)
        pages[:28] = struct.pack(uapi.USER_REG, size, 11, 4, 2, addr, name_addr, 0)
        pages[513], pages[PAGE + 9] = 0xA1, 0xA1
        pages[PAGE - 4 : PAGE] = b"tick"
        pages[PAGE + 100 : PAGE + 112] = b"caf\xe9 u32 a\0."
        ctypes.CDLL(None).mprotect(ctypes.c_void_p(at + 2 * PAGE), ctypes.c_size_t(PAGE), PROT_NONE)
        memory = RemoteMemory(os.getpid())
        found = memory.read_registration(at, uapi.USER_REG_SIZE, uapi.MAX_NAME_ARGS_SIZE)
        assert found == ((11, 4, 2, addr, "caf\xe9 u32 a", 0xA1) if is_plain else None)
        assert memory.read_registration(1 << 63, uapi.USER_REG_SIZE, uapi.MAX_NAME_ARGS_SIZE) is None
        memory.close()
        assert memory.read_registration(at, uapi.USER_REG_SIZE, uapi.MAX_NAME_ARGS_SIZE) is None
        del view
