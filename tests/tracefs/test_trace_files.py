"""What was recorded, read in every way: `trace`, `trace_pipe`, pages, snapshots, one CPU or all."""

import re

import pytest

from tests.engine.world import ROOT, refused
from tests.kernel.world import Process, World
from userevents.abi import tracefs as abi
from userevents.buffer import records
from userevents.engine import Writer
from userevents.fields import kernel_text
from userevents.instance import Instance
from userevents.tracefs import OpenNode, WriteCall

HEADER_LINES = 11


class Traced:
    """A process with an enabled event ``t u32 a``, and the files of the tree."""

    def __init__(self) -> None:
        self.world = World()
        self.process: Process = self.world.process("p1")
        group = self.world.group
        file = group.open_file("p1")
        group.register(file, group.new_mm(self.process.memory), "t u32 a", addr=0x20000000, bit=0, caller=ROOT)
        self.file = file
        (self.event,) = group.events
        self.top.enable(self.event)

    @property
    def top(self) -> Instance:
        """The top instance."""
        return self.world.system.instances[""]

    def write(self, number: int, cpu: int = 0, size: int = 4) -> None:
        """Write the event on a CPU."""
        payload = number.to_bytes(4, "little") + bytes(size - 4)
        self.world.group.write(self.file, bytes(4) + payload, 4 + size, Writer(50 + cpu, 50, f"on{cpu}", cpu))

    def cat(self, path: str) -> str:
        """All of a file."""
        node = self.world.tree.open(path, abi.O_RDONLY, ROOT)
        try:
            return b"".join(iter(lambda: node.read(100), b"")).decode("latin-1")
        finally:
            node.close()

    def echo(self, path: str, text: str, flags: int = 0) -> int:
        """Write to a file."""
        node = self.world.tree.open(path, abi.O_WRONLY | flags, ROOT)
        try:
            return node.write(text.encode("latin-1"), WriteCall(self.process.main))
        finally:
            node.close()

    def pipe(self, path: str = "trace_pipe") -> OpenNode:
        """Open a pipe that does not block."""
        return self.world.tree.open(path, abi.O_RDONLY | abi.O_NONBLOCK, ROOT)


@pytest.fixture
def traced() -> Traced:
    """A world with one enabled event."""
    return Traced()


def _numbers(text: str) -> list[int]:
    return [int(found) for found in re.findall(r" a=0x[0-9a-f]+ \((\d+)\)", text)]


def test_records_of_all_cpus_come_in_order_of_time(traced: Traced) -> None:
    """`trace` merges them and says the CPU; a CPU's own file has its own only, under the counts of all."""
    for number in range(6):
        traced.write(number, number % 2)
    text = traced.cat("trace")
    assert _numbers(text) == [0, 1, 2, 3, 4, 5]
    assert re.findall(r"\[(\d{3})\]", text) == ["000", "001"] * 3
    assert "entries-in-buffer/entries-written: 6/6   #P:2\n" in text
    one = traced.cat("per_cpu/cpu1/trace")
    assert _numbers(one) == [1, 3, 5]
    assert "entries-in-buffer/entries-written: 6/6   #P:2\n" in one
    assert "             on1-51      [001] .....     0.000002: t: a=0x1 (1)\n" in one


def test_where_records_were_overwritten_each_cpus_beginning_is_marked(traced: Traced) -> None:
    """But for the CPU whose record comes first."""
    traced.echo("buffer_size_kb", "1")
    for number in range(10):
        traced.write(number, size=2000)
    traced.write(10, 1)
    lines = traced.cat("trace").splitlines()[HEADER_LINES - 1 :]
    assert [line for line in lines if line.startswith("##### CPU")] == ["##### CPU 1 buffer started ####"]
    assert lines.index("##### CPU 1 buffer started ####") == len(lines) - 2


def test_the_pipe_tells_what_was_lost_before_it_came(traced: Traced) -> None:
    """One line before the first record of the CPU that lost them; what is read is gone from `trace`."""
    traced.echo("buffer_size_kb", "1")
    for number in range(10):
        traced.write(number, size=2000)
    overrun = 10 - len(_numbers(traced.cat("trace")))
    assert overrun > 0
    pipe = traced.pipe()
    text = pipe.read(8192).decode()
    assert text.startswith(f"CPU:0 [LOST {overrun} EVENTS]\n")
    assert _numbers(text) == list(range(overrun, 10))
    assert refused(lambda: pipe.read(100)) == "EAGAIN"
    assert _numbers(traced.cat("trace")) == []
    pipe.close()
    assert f"overrun: {overrun}\n" in traced.cat("per_cpu/cpu0/stats")
    assert f"read events: {10 - overrun}\n" in traced.cat("per_cpu/cpu0/stats")


def test_a_reader_that_waits_is_told_when_to_come_back(traced: Traced) -> None:
    """`readable` is false with nothing there; the end comes only once tracing is off and something was read."""
    pipe = traced.world.tree.open("trace_pipe", abi.O_RDONLY, ROOT)
    assert not pipe.readable()
    assert refused(lambda: pipe.read(100)) == "EAGAIN"
    traced.write(1)
    assert pipe.readable()
    assert _numbers(pipe.read(4096).decode()) == [1]
    traced.echo("tracing_on", "0")
    assert pipe.readable()
    assert pipe.read(100) == b""
    pipe.close()


def test_pages_of_a_cpu_decode_to_its_lines(traced: Traced) -> None:
    """What `trace_pipe_raw` hands out are the records, in the kernel's page format; several readers share them."""
    for number in range(600):
        traced.write(number)
    lines = [line.partition(": ")[2] for line in traced.cat("trace").splitlines()[HEADER_LINES:]]
    node, other = traced.pipe("per_cpu/cpu0/trace_pipe_raw"), traced.pipe("per_cpu/cpu0/trace_pipe_raw")
    pages = [node.read(4096), other.read(1000) + other.read(4096)]
    while refused(lambda: pages.append(node.read(4096))) == "":
        pass
    decoded = [
        kernel_text("t", traced.event.fields, page[start : start + length])
        for page in pages
        for _, start, length in records(page)
    ]
    assert all(len(page) == 4096 for page in pages)
    assert decoded == lines[-len(decoded) :]
    assert len(decoded) == 600


def test_a_snapshot_is_read_as_the_rings_are(traced: Traced) -> None:
    """Also page by page; freeing it gives it up."""
    traced.write(1)
    assert "Snapshot is freed" in traced.cat("snapshot")
    traced.echo("snapshot", "1")
    traced.write(2)
    assert _numbers(traced.cat("snapshot")) == [1]
    assert _numbers(traced.cat("trace")) == [2]
    node = traced.pipe("per_cpu/cpu0/snapshot_raw")
    page = node.read(4096)
    assert [page[start + 8] for _, start, _ in records(page)] == [1]
    assert refused(lambda: node.read(4096)) == "EAGAIN"
    assert "Snapshot is allocated" in traced.cat("snapshot")
    traced.echo("snapshot", "0")
    assert "Snapshot is freed" in traced.cat("snapshot")


def test_rings_get_their_size_at_the_first_use() -> None:
    """Until then they have the fewest pages, and the file says what they will have."""
    world = World()
    node = world.tree.open("buffer_size_kb", abi.O_RDONLY, ROOT)
    assert node.read(100) == b"7 (expanded: 1408)\n"
    traced = Traced()
    assert traced.cat("buffer_size_kb") == "1410\n"
    assert traced.cat("buffer_total_size_kb") == "2820\n"


def test_marks_stand_among_the_records(traced: Traced) -> None:
    """Written by whoever writes them, in order of time."""
    traced.write(1)
    assert traced.echo("trace_marker", "hello") == 5
    traced.write(2)
    assert re.findall(r"(tracing_mark_write: hello|t: a=0x\d)", traced.cat("trace")) == [
        "t: a=0x1",
        "tracing_mark_write: hello",
        "t: a=0x2",
    ]
    node = traced.world.tree.open("trace_marker", abi.O_WRONLY, ROOT)
    assert refused(lambda: node.write(b"nobody")) == "ENOTSUP"
