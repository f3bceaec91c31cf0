"""What an instance recorded: ``trace``, ``trace_pipe``, ``trace_pipe_raw``, ``stats``, ``snapshot``.

Source: user_events contract, tracefs.md sections 4 to 8.
"""

import errno
from typing import ClassVar, Final, NamedTuple

from ..abi import tracefs as abi
from ..buffer import CpuRing
from ..errors import Refused
from ..instance import CLOCKS, Moment, Recorder, header, latency_header, lost_line
from .node import File, OpenNode
from .text import parse_unsigned, truncates

_PIPE_SIZE: Final = 8192
_SNAPSHOT_HELP: Final = """\
# echo 0 > snapshot : Clears and frees snapshot buffer
# echo 1 > snapshot : Allocates snapshot buffer, if not already allocated.
#                      Takes a snapshot of the main buffer.
# echo 2 > snapshot : Clears snapshot buffer (but does not allocate or free)
"""
_CPU_SNAPSHOT_HELP: Final = """\
# echo 0 > snapshot : Invalid for per_cpu snapshot file.
# echo 1 > snapshot : Not supported with this kernel.
#                     Must use main snapshot file to allocate.
# echo 2 > snapshot : Clears this cpu's snapshot buffer (but does not allocate)
"""
_SNAPSHOT_HELP_END: Final = """\
#                      (Doesn't have to be '2' works with any number that
#                       is not a '0' or '1')
"""


class _RingFile(File):
    """A file about the rings of an instance: of the CPU that its place names, or of all."""

    @property
    def recorder(self) -> Recorder:
        """The rings."""
        return self.place.instance.recorder

    @property
    def cpu(self) -> int:
        """The CPU, or `Recorder.all_cpus`."""
        return self.place.cpu


class Trace(_RingFile):
    """``trace``: everything there is, consuming nothing."""

    mode: ClassVar[int] = abi.MODE_WRITE

    def opened(self, node: OpenNode) -> None:
        """Truncating empties the rings; with ``pause-on-trace`` nothing is recorded while it is open."""
        if truncates(node):
            self.recorder.reset(self.cpu)
        if node.flags & abi.O_ACCMODE == abi.O_WRONLY:
            return
        node.state = _TraceReader(pauses=self.place.instance.options["pause-on-trace"])
        self.recorder.trace_readers.append(self.cpu)
        self.recorder.pauses += node.state.pauses

    def closed(self, node: OpenNode, *, aborted: bool) -> None:
        """Go on recording where opening it had stopped that."""
        if isinstance(node.state, _TraceReader):
            self.recorder.trace_readers.remove(self.cpu)
            self.recorder.pauses -= node.state.pauses

    def text(self) -> str:
        """The header and a line a record."""
        return _trace_text(self, snapshot=False)

    def write(self, node: OpenNode, data: bytes) -> int:
        """Whatever is written is ignored."""
        return len(data)


class _TraceReader(NamedTuple):
    """What opening ``trace`` to read it has changed."""

    pauses: bool


class Snapshot(_RingFile):
    """``snapshot``: the rings as they were when one was taken."""

    mode: ClassVar[int] = abi.MODE_WRITE

    def text(self) -> str:
        """As `Trace`; where there is nothing, how to take one."""
        if any(not ring.is_empty for _, ring in self.recorder.chosen(self.cpu, snapshot=True)):
            return _trace_text(self, snapshot=True)
        state = "freed" if self.recorder.snapshot_rings is None else "allocated"
        help_text = _SNAPSHOT_HELP if self.cpu == Recorder.all_cpus else _CPU_SNAPSHOT_HELP
        return (
            f"# tracer: nop\n#\n#\n# * Snapshot is {state} *\n#\n# Snapshot commands:\n{help_text}{_SNAPSHOT_HELP_END}"
        )

    def write(self, node: OpenNode, data: bytes) -> int:
        """0 frees the snapshot, 1 takes one, any other number empties it."""
        number = parse_unsigned(data)
        if number in (0, 1) and self.cpu != Recorder.all_cpus:
            raise Refused(errno.EINVAL, "a snapshot is taken or freed of all CPUs together")
        if number == 0:
            self.recorder.free_snapshot()
        elif number == 1:
            self.recorder.expand()
            self.recorder.take_snapshot()
        else:
            self.recorder.clear_snapshot(self.cpu)
        return len(data)


class TracePipe(_RingFile):
    """``trace_pipe``: lines, consumed by whoever reads them; one reader at a time."""

    has_positions: ClassVar[bool] = False

    def opened(self, node: OpenNode) -> None:
        """EBUSY while another reads the same CPU."""
        readers = self.recorder.pipe_readers
        if readers and (self.cpu in readers or Recorder.all_cpus in (self.cpu, *readers)):
            raise Refused(errno.EBUSY, f"somebody reads '{node.path}' already")
        readers.add(self.cpu)
        node.state = _Unread()

    def closed(self, node: OpenNode, *, aborted: bool) -> None:
        """Let another one read."""
        self.recorder.pipe_readers.discard(self.cpu)

    def read(self, node: OpenNode, size: int, offset: int | None) -> bytes:
        """Lines, the last one cut where there is no room for it; EAGAIN when there is nothing.

        The end is reached only while tracing is off, for a reader that blocks and has read something.
        """
        unread = node.state
        if not isinstance(unread, _Unread):
            raise Refused(errno.EBADF, f"'{node.path}' is not open")
        if not unread.data:
            self._take(unread, min(size, _PIPE_SIZE))
        data, unread.data = unread.data[:size], unread.data[size:]
        if data:
            unread.has_read = True
        elif node.flags & abi.O_NONBLOCK or self.recorder.tracing_on or not unread.has_read:
            raise Refused(errno.EAGAIN, "nothing has been recorded since the last read")
        return data

    def readable(self) -> bool:
        """Whether there is something, or no more will come."""
        return self.recorder.peek(self.cpu) is not None or not self.recorder.tracing_on

    def polled(self, node: OpenNode) -> bool:
        """As the kernel says it: anything at all, or of one CPU's records ``buffer_percent`` of its ring."""
        return self.place.instance.options["block"] or self.recorder.is_readable(self.cpu)

    def _take(self, unread: "_Unread", size: int) -> None:
        """Consume records until their lines have `size` bytes, or the next one would not fit the kernel's buffer."""
        lines = self.place.instance.lines()
        while len(unread.data) < size and (found := self.recorder.peek(self.cpu)) is not None:
            cpu, record = found
            text = lost_line(cpu, record.lost) + lines.line(Moment(cpu, record, unread.lines + 1))
            line = text.encode("latin-1", "backslashreplace")
            if unread.data and len(unread.data) + len(line) > _PIPE_SIZE:
                break
            self.recorder.rings[cpu].consume()
            unread.data += line
            unread.lines += 1


class _Unread:
    """What a reader of ``trace_pipe`` has been given no room for, and how far it is."""

    def __init__(self) -> None:
        self.data = b""
        self.lines = 0
        self.has_read = False


class TracePipeRaw(_RingFile):
    """``per_cpu/cpuN/trace_pipe_raw``: pages, consumed by whoever reads them."""

    has_positions: ClassVar[bool] = False

    def opened(self, node: OpenNode) -> None:
        """Begin with nothing left over."""
        node.state = b""

    def read(self, node: OpenNode, size: int, offset: int | None) -> bytes:
        """As many records of one page as fit, or the rest of what was read before; EAGAIN when there is none.

        A page has its full size, zeros included, however many records it holds; a read that has no room for the first
        record gives nothing.

        Source: user_events contract, ringbuffer.md section 6; recordings of a real kernel.
        """
        left = node.state if isinstance(node.state, bytes) else b""
        ring = self.ring
        page = left or (ring.read_page(size) if ring is not None else None)
        if page is None:
            raise Refused(errno.EAGAIN, "nothing has been recorded since the last read")
        node.state = page[size:]
        return page[:size]

    @property
    def ring(self) -> CpuRing | None:
        """The ring that is read."""
        return self.recorder.rings[self.cpu]

    def readable(self) -> bool:
        """Whether there is a record."""
        return self.ring is not None and not self.ring.is_empty

    def polled(self, node: OpenNode) -> bool:
        """As the kernel says it: once ``buffer_percent`` of the ring is filled."""
        return self.place.instance.options["block"] or self.recorder.is_readable(self.cpu)


class SnapshotRaw(TracePipeRaw):
    """``per_cpu/cpuN/snapshot_raw``: pages of the snapshot."""

    @property
    def ring(self) -> CpuRing | None:
        """The ring that is read; None while there is no snapshot."""
        rings = self.recorder.snapshot_rings
        return rings[self.cpu] if rings is not None else None

    def polled(self, node: OpenNode) -> bool:
        """It has no poll of its own."""
        return True


class Stats(_RingFile):
    """``per_cpu/cpuN/stats``."""

    def text(self) -> str:
        """Counts and times of one CPU's ring."""
        ring = self.recorder.rings[self.cpu]
        return (
            f"entries: {ring.entries}\noverrun: {ring.overrun}\ncommit overrun: 0\nbytes: {ring.size}\n"
            f"oldest event ts: {self._time(ring.oldest_ns)}\nnow ts: {self._time(self.recorder.now())}\n"
            f"dropped events: {ring.dropped}\nread events: {ring.read_events}\n"
        )

    def _time(self, ts: int) -> str:
        if not CLOCKS[self.recorder.clock]:
            return str(ts)
        seconds, microseconds = divmod(ts // 1000, 1_000_000)
        return f"{seconds:5}.{microseconds:06}"


def _trace_text(file: _RingFile, *, snapshot: bool) -> str:
    instance, recorder = file.place.instance, file.recorder
    rings = [ring for _, ring in recorder.chosen(recorder.all_cpus, snapshot=snapshot)]
    entries = sum(ring.entries for ring in rings)
    overrun = sum(ring.overrun for ring in rings)
    found = list(recorder.merged(file.cpu, snapshot=snapshot))
    if instance.options["latency-format"] and not snapshot:
        text = latency_header(instance.options, recorder.machine, entries, entries + overrun, has_records=bool(found))
    else:
        text = header(instance.options, recorder.machine, entries, entries + overrun)
    return text + "".join(instance.lines(of_snapshot=snapshot).all(found, overrun=overrun > 0))
