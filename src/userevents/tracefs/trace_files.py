"""What an instance recorded: ``trace``, ``trace_pipe``, ``trace_pipe_raw``, ``stats``, ``snapshot``.

Source: user_events contract, tracefs.md sections 4 to 8.
"""

import errno
from typing import ClassVar, Final

from ..abi import tracefs as abi
from ..errors import Refused
from ..instance import CLOCKS, Recorder, header, latency_header, lost_line
from .node import File, OpenNode
from .text import parse_unsigned, truncates

_PIPE_SIZE: Final = 8192
_SNAPSHOT_HELP: Final = """\
# Snapshot commands:
# echo 0 > snapshot : give the snapshot buffer up
# echo 1 > snapshot : take a snapshot, in a buffer made for it where there is none
# echo 2 > snapshot : empty the snapshot buffer (so does any other number)
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
        if node.flags & abi.O_ACCMODE != abi.O_WRONLY and self.place.instance.options["pause-on-trace"]:
            node.state = self.recorder
            self.recorder.pauses += 1

    def closed(self, node: OpenNode, *, aborted: bool) -> None:
        """Go on recording where opening it had stopped that."""
        if node.state is self.recorder:
            self.recorder.pauses -= 1

    def text(self) -> str:
        """The header and a line a record."""
        return _trace_text(self, snapshot=False)

    def write(self, node: OpenNode, data: bytes) -> int:
        """Whatever is written is ignored."""
        return len(data)


class Snapshot(_RingFile):
    """``snapshot``: the rings as they were when one was taken."""

    mode: ClassVar[int] = abi.MODE_WRITE

    def text(self) -> str:
        """As `Trace`; where there is nothing, how to take one."""
        if any(ring.entries for _, ring in self.recorder.chosen(self.cpu, snapshot=True)):
            return _trace_text(self, snapshot=True)
        state = "freed" if self.recorder.snapshot_rings is None else "allocated"
        return f"# tracer: nop\n#\n#\n# * Snapshot is {state} *\n#\n{_SNAPSHOT_HELP}"

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

    def seek(self, node: OpenNode, offset: int) -> int:
        """ESPIPE: what is read is gone."""
        raise Refused(errno.ESPIPE, f"'{node.path}' has no positions")

    def read(self, node: OpenNode, size: int, offset: int | None) -> bytes:
        """Lines, the last one cut where there is no room for it; EAGAIN when there is nothing.

        The end is reached only while tracing is off, for a reader that blocks and has read something.
        """
        unread = node.state
        if not isinstance(unread, _Unread):
            raise Refused(errno.EBADF, f"'{node.path}' is not open")
        if not unread.data:
            unread.data = self._take(min(size, _PIPE_SIZE))
        data, unread.data = unread.data[:size], unread.data[size:]
        if data:
            unread.has_read = True
        elif node.flags & abi.O_NONBLOCK or self.recorder.tracing_on or not unread.has_read:
            raise Refused(errno.EAGAIN, "nothing has been recorded since the last read")
        return data

    def readable(self) -> bool:
        """Whether there is something, or no more will come."""
        return self.recorder.peek(self.cpu) is not None or not self.recorder.tracing_on

    def _take(self, size: int) -> bytes:
        """Consume records until their lines have `size` bytes, or the next one would not fit the kernel's buffer."""
        lines = self.place.instance.lines()
        taken = b""
        while len(taken) < size and (found := self.recorder.peek(self.cpu)) is not None:
            cpu, record = found
            text = lost_line(cpu, record.lost) + lines.line(cpu, record)
            line = text.encode("latin-1", "backslashreplace")
            if taken and len(taken) + len(line) > _PIPE_SIZE:
                break
            self.recorder.rings[cpu].consume()
            taken += line
        return taken


class _Unread:
    """What a reader of ``trace_pipe`` has been given no room for."""

    def __init__(self) -> None:
        self.data = b""
        self.has_read = False


class TracePipeRaw(_RingFile):
    """``per_cpu/cpuN/trace_pipe_raw``: pages, consumed by whoever reads them."""

    def opened(self, node: OpenNode) -> None:
        """Begin with nothing left over."""
        node.state = b""

    def seek(self, node: OpenNode, offset: int) -> int:
        """ESPIPE: what is read is gone."""
        raise Refused(errno.ESPIPE, f"'{node.path}' has no positions")

    def read(self, node: OpenNode, size: int, offset: int | None) -> bytes:
        """One page, or what is left of it; EAGAIN when there is none.

        Source: user_events contract, ringbuffer.md section 6.
        """
        left = node.state if isinstance(node.state, bytes) else b""
        page = left or self.recorder.rings[self.cpu].read_page()
        if page is None:
            raise Refused(errno.EAGAIN, "nothing has been recorded since the last read")
        node.state = page[size:]
        return page[:size]

    def readable(self) -> bool:
        """Whether there is a record."""
        return bool(self.recorder.rings[self.cpu].entries)


class SnapshotRaw(TracePipeRaw):
    """``per_cpu/cpuN/snapshot_raw``: pages of the snapshot."""

    def read(self, node: OpenNode, size: int, offset: int | None) -> bytes:
        """One page, or what is left of it; the end when there is none."""
        rings = self.recorder.snapshot_rings
        left = node.state if isinstance(node.state, bytes) else b""
        page = left or (rings[self.cpu].read_page() if rings is not None else None) or b""
        node.state = page[size:]
        return page[:size]

    def readable(self) -> bool:
        """It never blocks."""
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
    lines = instance.lines()
    if instance.options["latency-format"]:
        return latency_header(recorder.machine, entries, entries + overrun) + "".join(lines.latency(found))
    text = header(instance.options, entries, entries + overrun, recorder.machine.cpus)
    return text + "".join(lines.all(found, overrun=overrun > 0))
