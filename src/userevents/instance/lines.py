"""The text of ``trace`` and ``trace_pipe``: the header, and one line a record.

Source: user_events contract, tracefs.md sections 4 to 6.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ..abi.ring_buffer import RECORD_HEADER, RECORD_HEADER_SIZE
from ..abi.tracefs import PRINT_EVENT_ID, RAW_DATA_EVENT_ID, STACK_EVENT_ID
from ..buffer import Record
from ..engine import Group
from ..fields import kernel_text
from .machine import CLOCKS, Machine
from .options import Options

_HEADER: Final = struct.Struct(RECORD_HEADER)
_MARK_TEXT_AT: Final = RECORD_HEADER_SIZE + 8
_RAW_TEXT_AT: Final = RECORD_HEADER_SIZE + 4
_LINE_MAX: Final = 8192
_COLUMNS: Final = (
    "#           TASK-PID     CPU#     TIMESTAMP  FUNCTION\n#              | |         |         |         |\n"
)
_COLUMNS_TGID: Final = (
    "#           TASK-PID       TGID    CPU#     TIMESTAMP  FUNCTION\n"
    "#              | |           |       |         |         |\n"
)
_LATENCY_HEAD: Final = (
    "tracer: nop",
    "",
    "nop latency trace v1.1.5 on {release}",
    "-" * 68,
    "latency: 0 us, #{entries}/{written}, CPU#0 | (M:server VP:0, KP:0, SP:0 HP:0 #P:{cpus})",
    "   -----------------",
    "   | task: -0 (uid:0 nice:0 policy:0 rt_prio:0)",
    "   -----------------",
    "",
    "                   _------=> CPU#            ",
    "                  / _-----=> irqs-off/BH-disabled",
    "                 | / _----=> need-resched    ",
    "                 || / _---=> hardirq/softirq ",
    "                 ||| / _--=> preempt-depth   ",
    "                 |||| / _-=> migrate-disable ",
    "                 ||||| /     delay           ",
    " cmd     pid     |||||| time  |   caller     ",
    "    \\   /        ||||||  \\    |    /       ",
)
_MARKS: Final = (("$", 1_000_000), ("@", 100_000), ("*", 10_000), ("#", 1_000), ("!", 100), ("+", 10))
"""How long a gap in microseconds each mark stands for, the longest first."""
_FLAGS: Final = (
    "_-----=> irqs-off/BH-disabled",
    "/ _----=> need-resched",
    "| / _---=> hardirq/softirq",
    "|| / _--=> preempt-depth",
    "||| / _-=> migrate-disable",
    "|||| /     delay",
)
_FLAG_COLUMNS: Final = (
    "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n#              | |         |   |||||     |         |\n"
)
_FLAG_COLUMNS_TGID: Final = (
    "#           TASK-PID       TGID    CPU#  |||||  TIMESTAMP  FUNCTION\n"
    "#              | |           |       |   |||||     |         |\n"
)


def header(options: Options, entries: int, written: int, cpus: int) -> str:
    """What ``trace`` begins with."""
    text = "# tracer: nop\n#\n"
    if not options["context-info"] or options["verbose"]:
        return text
    text += f"# entries-in-buffer/entries-written: {entries}/{written}   #P:{cpus}\n#\n"
    tgid = options["record-tgid"]
    if not options["irq-info"]:
        return text + (_COLUMNS_TGID if tgid else _COLUMNS)
    first = 42 if tgid else 32
    text += "".join(f"#{' ' * (first - min(number, 2))}{flag}\n" for number, flag in enumerate(_FLAGS))
    return text + (_FLAG_COLUMNS_TGID if tgid else _FLAG_COLUMNS)


def latency_header(machine: Machine, entries: int, written: int) -> str:
    """What ``trace`` begins with in ``latency-format``."""
    text = "".join(f"# {line}".rstrip(" ") + "\n" if not line else f"# {line}\n" for line in _LATENCY_HEAD)
    return text.format(release=machine.release, entries=entries, written=written, cpus=machine.cpus)


class Lines:
    """Makes the lines of one instance's records, as its options are now."""

    def __init__(self, group: Group, machine: Machine, options: Options, clock: str) -> None:
        self._group = group
        self._commands = machine.commands
        self._options = options
        self._in_ns = CLOCKS[clock]

    def all(self, found: Iterable[tuple[int, Record]], *, overrun: bool) -> Iterator[str]:
        """The lines of records in order; where records were overwritten, each CPU's beginning is marked."""
        started: set[int] = set()
        for cpu, record in found:
            if overrun and self._options["annotate"] and cpu not in started:
                if started:
                    yield f"##### CPU {cpu} buffer started ####\n"
                started.add(cpu)
            yield self.line(cpu, record)

    def line(self, cpu: int, record: Record) -> str:
        """One record's line."""
        options = self._options
        event_id, _, _, tid = _HEADER.unpack_from(record.body)
        if options["bin"]:
            return struct.pack("<iiQ", tid, cpu, record.ts_ns).decode("latin-1") + self._body(event_id, record.body)
        if options["raw"]:
            context = f"{tid} {cpu} {record.ts_ns} " if options["context-info"] else ""
            return context + (_mark(record.body, "# 0 ") if event_id == PRINT_EVENT_ID else f"type: {event_id}\n")
        if options["hex"]:
            return f"{tid:08x} {cpu:08x} {record.ts_ns:016x} type: {event_id}\n\n"
        text = self._context(tid, cpu, record.ts_ns) if options["context-info"] else ""
        text += self._body(event_id, record.body)
        return text if len(text) < _LINE_MAX else f"{text[:_LINE_MAX]}[LINE TOO BIG]\n"

    def latency(self, found: Sequence[tuple[int, Record]]) -> Iterator[str]:
        """The lines of records in order, in ``latency-format``: times count from the first record.

        The mark after a time tells how long it is until the next record.
        """
        first_ns = found[0][1].ts_ns if found else 0
        for number, (cpu, record) in enumerate(found):
            event_id, _, _, tid = _HEADER.unpack_from(record.body)
            following = found[number + 1][1].ts_ns if number + 1 < len(found) else record.ts_ns
            gap_us = (following - record.ts_ns) // 1000
            mark = next((mark for mark, least_us in _MARKS if gap_us > least_us), " ")
            time = f"{(record.ts_ns - first_ns) // 1000:4}us{mark}: " if self._in_ns else f"{record.ts_ns:4}: "
            name = self._commands.name(tid)[:8]
            yield f"{name:>8}-{tid:<7} {cpu:3}..... {time}" + self._body(event_id, record.body)

    def _context(self, tid: int, cpu: int, ts_ns: int) -> str:
        text = f"{self._commands.name(tid):>16}-{tid:<7} "
        if self._options["record-tgid"]:
            pid = self._commands.process(tid)
            text += "(-------) " if pid is None else f"({pid:7}) "
        text += f"[{cpu:03}] "
        if self._options["irq-info"]:
            text += "....."
        if not self._in_ns:
            return f"{text} {ts_ns:12}: "
        seconds, microseconds = divmod((ts_ns + 500) // 1000, 1_000_000)
        return f"{text} {seconds:5}.{microseconds:06}: "

    def _body(self, event_id: int, body: bytes) -> str:
        if event_id == PRINT_EVENT_ID:
            return _mark(body, "tracing_mark_write: ")
        if event_id == RAW_DATA_EVENT_ID:
            number = int.from_bytes(body[RECORD_HEADER_SIZE:_RAW_TEXT_AT], "little")
            return f"# {number:x} buf:" + "".join(f" {byte:02x}" for byte in body[_RAW_TEXT_AT:]) + "\n"
        if event_id == STACK_EVENT_ID:
            return "<stack trace>\n"
        event = self._group.events.by_id(event_id)
        if event is None:
            return f"Unknown type {event_id}\n"
        return kernel_text(event.tracepoint_name, event.fields, body) + "\n"


def _mark(body: bytes, title: str) -> str:
    return title + body[_MARK_TEXT_AT:].partition(b"\0")[0].decode("latin-1")


def lost_line(cpu: int, lost: int) -> str:
    """What a consuming reader sees where records were overwritten before it came; nothing if none were."""
    if not lost:
        return ""
    return f"CPU:{cpu} [LOST {lost} EVENTS]\n" if lost > 0 else f"CPU:{cpu} [LOST EVENTS]\n"
