"""The serving thread, asked as the kernel asks: with the extension that serves plain writes, and without."""

import ctypes
import errno
import os
import random
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from tests.conftest import PATIENCE
from tests.doors.servers import on_one_cpu
from userevents.abi import fuse
from userevents.abi import user_events as uapi
from userevents.doors.fuse import FuseDoor, Mounted, writes
from userevents.engine import Group
from userevents.host import Loop
from userevents.host.clocks import TraceClocks
from userevents.instance import Machine
from userevents.tracefs import Caller, PlainSystem, Tree

_MODES = ["C", "Python"]


class Kernel:
    """The kernel's end of a door: what it sends are the bytes that /dev/fuse would give."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(10 * PATIENCE)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.loop = Loop()
        self.group = Group(log=lambda level, message: None)
        self.system = PlainSystem(self.group, Machine(clock=TraceClocks(), cpus=os.cpu_count() or 1))
        self.tree = Tree(self.system)
        mounted = Mounted(theirs.detach(), "")
        self.door = FuseDoor(self.tree, mounted, self.loop, log=lambda level, text: self.told.append(text))
        self.door.start()
        self._unique = 2
        self._word = ctypes.c_uint64()
        (self._file,) = struct.unpack_from("<Q", self.ask(fuse.LOOKUP, b"user_events_data\0", fuse.ROOT)[1])

    def ask(self, opcode: int, body: bytes, node: int = 0, tid: int = 0) -> tuple[int, bytes]:
        """Make a request; returns the answer's errno and body."""
        self._unique += 2
        size, user = fuse.IN_HEADER.size + len(body), (os.geteuid(), os.getegid())
        header = fuse.IN_HEADER.pack(size, opcode, self._unique, node, *user, tid or os.getpid(), 0, 0)
        self._ours.send(header + body)
        answer = self._ours.recv(1 << 16)
        length, error, unique = fuse.OUT_HEADER.unpack_from(answer)
        assert (length, unique) == (len(answer), self._unique)
        return -error, answer[fuse.OUT_HEADER.size :]

    def open(self) -> int:
        """Open ``user_events_data``."""
        error, body = self.ask(fuse.OPEN, fuse.OPEN_IN.pack(os.O_RDWR, 0), self._file)
        assert not error
        fh: int = fuse.OPEN_OUT.unpack(body)[0]
        return fh

    def register(self, fh: int, declaration: str, bit: int) -> None:
        """Register an event for this process."""
        name = ctypes.create_string_buffer(declaration.encode(), 4096)
        call = struct.pack(uapi.USER_REG, 28, bit, 8, 0, ctypes.addressof(self._word), ctypes.addressof(name), 0)
        argument = ctypes.create_string_buffer(call)
        asked = fuse.IOCTL_IN.pack(fh, 0, uapi.DIAG_IOCSREG, ctypes.addressof(argument), 8, 8)
        assert self.ask(fuse.IOCTL, asked, self._file) == (0, fuse.IOCTL_OUT.pack(0, 0, 0, 0))

    def write(self, fh: int, data: bytes, *, offset: int = 0, tid: int = 0) -> tuple[int, int]:
        """Write; returns the errno, and how many bytes were taken."""
        body = fuse.WRITE_IN.pack(fh, offset, len(data), 0, 0, os.O_RDWR, 0) + data
        error, answer = self.ask(fuse.WRITE, body, self._file, tid)
        return error, fuse.WRITE_OUT.unpack(answer)[0] if not error else 0

    def put(self, path: str, text: str) -> None:
        """Write to a file of the tree, from outside."""
        with self.loop.lock:
            node = self.tree.open(path, os.O_WRONLY, Caller(0, 0, True))
            node.write(text.encode())
            node.close()

    def pages(self) -> list[bytes]:
        """All that is in the rings; it is gone from them."""
        found: list[bytes] = []
        with self.loop.lock:
            for ring in self.system.instances[""].recorder.rings:
                while page := ring.read_page():
                    found.append(page)
        return found

    def close(self) -> None:
        """End the door, and its thread."""
        self.door.close()
        self._ours.close()


@pytest.fixture(autouse=True)
def pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Valgrind knows of no pidfds before 3.21; nobody ends here, so any other descriptor will do."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        monkeypatch.setattr(os, "pidfd_open", lambda pid: os.eventfd(0))


@pytest.fixture(params=_MODES)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """A door, served in C where that was built, and in Python."""
    if request.param == "C" and writes.native is None:
        pytest.skip("_serve was not built, or USEREVENTS_NATIVE=0")
    if request.param == "Python":
        monkeypatch.setattr(writes, "native", None)
    made = Kernel()
    yield made
    made.close()


def _story(luck: random.Random, kernel: Kernel, threads: list[int]) -> list[object]:
    """Ask for this and that; returns what was answered, and what is in the rings."""
    kernel.put("trace_clock", "counter")
    files = [kernel.open() for _ in range(5)]
    for number, fh in enumerate(files):
        for bit, declaration in enumerate(("a u32 n", "b u8 n; char[40] text", "c __rel_loc char[] text")):
            kernel.register(fh, declaration, 3 * number + bit)
    for name in "abc":
        kernel.put(f"events/user_events/{name}/enable", "1")
    seen: list[object] = []
    for _ in range(120):
        step = luck.random()
        if step < 0.3:
            kernel.put(f"events/user_events/{luck.choice('abc')}/enable", luck.choice("01111"))
        elif step < 0.35:
            kernel.put("tracing_on", luck.choice("0111"))
        elif step < 0.4:
            kernel.put("events/user_events/a/filter", luck.choice(["0", "0", "n > 7"]))
        fh, tid = luck.choice([*files, 99]), luck.choice(threads)
        indices = luck.choices([0, 0, 0, 0, 1, 1, 2, 3, -1], k=luck.choice([1, 1, 1, 2]))
        for _ in range(luck.randrange(12)):
            size = luck.choice([0, 3, 4, 4, 8, 8, 41, 41, 41, 100, 101, 104, 105, 251, 252, 300, 4000, 5000])
            data = struct.pack("<i", luck.choice(indices))[: 4 if size else luck.choice([3, 4])] + luck.randbytes(size)
            offset = 0 if luck.random() < 0.98 else luck.choice([4, 256, 256 + 4])
            seen.append(kernel.write(fh, data, offset=offset, tid=tid))
    seen += kernel.pages()
    return seen


@pytest.mark.parametrize("seed", range(4))
def test_both_ways_of_serving_answer_and_record_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written, by whom, and whatever is switched in between."""
    if writes.native is None:
        pytest.skip("_serve was not built, or USEREVENTS_NATIVE=0")
    end, found, left = threading.Event(), [], dict.fromkeys(_MODES, 0)
    in_python = writes.Writes.serve

    def serve(self: writes.Writes, buffer: bytearray) -> None:
        left[mode] += 1
        in_python(self, buffer)

    monkeypatch.setattr(writes.Writes, "serve", serve)
    other = threading.Thread(target=end.wait, daemon=True)
    other.start()
    assert other.native_id is not None
    with on_one_cpu():
        for mode in _MODES:
            if mode == "Python":
                monkeypatch.setattr(writes, "native", None)
            kernel = Kernel()
            found.append(_story(random.Random(seed), kernel, [os.getpid(), other.native_id]))
            kernel.close()
    end.set()
    other.join()
    assert found[0] == found[1]
    assert left["C"] < left["Python"] - 40, "nothing was served in C"
    assert sum(isinstance(each, bytes) for each in found[0]) > 1, "nothing was recorded"
    assert {each[0] for each in found[0] if isinstance(each, tuple)} >= {0, errno.EBADF, errno.EINVAL, errno.ENOENT}


def test_a_record_that_fails_as_nobody_foresaw_is_answered(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program has EIO, the log says why, and the next write is served."""
    fh = kernel.open()
    kernel.register(fh, "a u32 n", 0)
    kernel.put("events/user_events/a/enable", "1")
    assert [kernel.write(fh, bytes(8)) for _ in range(3)] == [(0, 8)] * 3
    with monkeypatch.context() as patched:
        for ring in kernel.system.instances[""].recorder.rings:
            patched.setattr(ring, "write", lambda ts_ns, body, overwrite: 1 // 0)
        kernel.put("tracing_on", "1")  # what was found out before holds the other one
        assert kernel.write(fh, bytes(8)) in ((0, 8), (errno.EIO, 0))
        assert [kernel.write(fh, bytes(204)) for _ in range(2)] == [(errno.EIO, 0)] * 2
    kernel.put("tracing_on", "1")
    assert kernel.write(fh, bytes(204)) == (0, 204)
    assert len(kernel.told) >= 2
    assert "ZeroDivisionError" in kernel.told[0]


def test_a_header_that_promises_more_than_it_brings_harms_nobody(kernel: Kernel) -> None:
    """The kernel does not do that; memory that is not the request's is not read for it."""
    fh = kernel.open()
    kernel.register(fh, "a u32 n", 0)
    kernel.put("events/user_events/a/enable", "1")
    assert kernel.write(fh, bytes(8)) == kernel.write(fh, bytes(8)) == (0, 8)
    before = kernel.system.instances[""].recorder.rings
    body = fuse.WRITE_IN.pack(fh, 0, 200, 0, 0, os.O_RDWR, 0) + bytes(8)
    assert kernel.ask(fuse.WRITE, body)[0] in (0, errno.EINVAL)
    assert kernel.write(fh, bytes(8)) == (0, 8)
    assert sum(ring.entries for ring in before) >= 3


def test_the_rest_of_a_write_that_could_not_be_seen_is_counted_as_lost(kernel: Kernel) -> None:
    """A part comes behind a write whose thread writes no vectors: the record stands without it; that is told."""
    fh = kernel.open()
    kernel.register(fh, "a u32 n", 0)
    kernel.put("events/user_events/a/enable", "1")
    assert kernel.write(fh, bytes(300)) == (0, 300)
    assert [kernel.write(fh, b"rest", offset=offset) for offset in (300, 304)] == [(0, 4)] * 2
    assert kernel.write(fh, bytes(8)) == (0, 8)
    rings = kernel.system.instances[""].recorder.rings
    assert (sum(ring.entries for ring in rings), sum(ring.dropped for ring in rings)) == (2, 1)
    assert "4 bytes of a write of thread" in kernel.told[0]
    assert "were cut off" in kernel.told[0]


def test_a_write_that_ends_within_its_index_is_refused(kernel: Kernel) -> None:
    """What the buffer holds behind it is an earlier write's, and no index of this one."""
    fh = kernel.open()
    kernel.register(fh, "bare", 0)
    kernel.put("events/user_events/bare/enable", "1")
    assert [kernel.write(fh, bytes(4)) for _ in range(3)] == [(0, 4)] * 3
    assert [kernel.write(fh, bytes(size)) for size in (3, 1)] == [(errno.EFAULT, 0)] * 2
    assert sum(ring.entries for ring in kernel.system.instances[""].recorder.rings) == 3
