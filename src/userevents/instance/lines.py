"""The lines of ``trace`` and ``trace_pipe``, one a record, in each of the forms that trace options choose.

The first that is on decides: ``bin``, ``hex``, ``raw``; else it is text, behind the columns of ``latency-format`` or
the usual ones. Without ``context-info`` the columns are left out, of whichever form.

Source: user_events contract, tracefs.md sections 4 to 6; recordings of a real kernel.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise
from typing import Final, NamedTuple

from ..abi.ring_buffer import RECORD_HEADER, RECORD_HEADER_SIZE
from ..abi.tracefs import PRINT_EVENT_ID, RAW_DATA_EVENT_ID, STACK_EVENT_ID
from ..buffer import Record
from ..engine import Group
from ..fields import kernel_text
from .machine import CLOCKS, Machine
from .options import Options

_HEADER: Final = struct.Struct(RECORD_HEADER)
_BIN: Final = struct.Struct("<iiQ")
_MARK_TEXT_AT: Final = RECORD_HEADER_SIZE + 8
_RAW_TEXT_AT: Final = RECORD_HEADER_SIZE + 4
_LINE_MAX: Final = 8192
_MARKS: Final = (("$", 1_000_000), ("@", 100_000), ("*", 10_000), ("#", 1_000), ("!", 100), ("+", 10))
"""How long a gap in microseconds each mark stands for, the longest first."""
_TRACERS_OWN: Final = (PRINT_EVENT_ID, RAW_DATA_EVENT_ID, STACK_EVENT_ID)


class Moment(NamedTuple):
    """One record with what its line says of the records around it."""

    cpu: int
    record: Record
    number: int
    """How many lines came before it."""
    following: int | None = None
    """When the next record was written; None where that is not looked at."""

    @property
    def event_id(self) -> int:
        """The record's type."""
        return int(_HEADER.unpack_from(self.record.body)[0])

    @property
    def tid(self) -> int:
        """Who wrote it."""
        return int(_HEADER.unpack_from(self.record.body)[3])

    @property
    def gap(self) -> int:
        """How long after it the next one was written."""
        return 0 if self.following is None else self.following - self.record.ts_ns


class Lines:
    """Makes the lines of one instance's records, as its options are now.

    `started` is when its rings were emptied; `latency` whether ``latency-format`` counts, if it is on.
    """

    def __init__(
        self, group: Group, machine: Machine, options: Options, clock: str, *, started: int = 0, latency: bool = True
    ) -> None:
        self._group = group
        self._commands = machine.commands
        self._options = options
        self._in_ns = CLOCKS[clock]
        self._started = started
        self._has_latency = latency and options["latency-format"]

    def all(self, found: Iterable[tuple[int, Record]], *, overrun: bool) -> Iterator[str]:
        """The lines of records in order; where records were overwritten, each CPU's beginning is marked."""
        seen: set[int] = set()
        marks_cpus = overrun and self._options["annotate"] and self._form is None
        for number, (this, following) in enumerate(pairwise(chain(found, (None,)))):
            if this is None:
                return
            cpu, record = this
            if marks_cpus and cpu not in seen:
                if seen:
                    yield f"##### CPU {cpu} buffer started ####\n"
                seen.add(cpu)
            yield self.line(Moment(cpu, record, number, following[1].ts_ns if following is not None else None))

    def line(self, moment: Moment) -> str:
        """One record's line."""
        if self._options["printk-msg-only"] and moment.event_id == PRINT_EVENT_ID:
            return _mark(moment.record.body)
        has_context = self._options["context-info"]
        if self._form is not None:
            return self._form(self, moment, has_context)
        text = (self._context(moment) if has_context else "") + self._body(moment)
        return text if len(text) < _LINE_MAX else f"{text[:_LINE_MAX]}[LINE TOO BIG]\n"

    @property
    def _form(self) -> "Form | None":
        return next((form for name, form in _FORMS.items() if self._options[name]), None)

    def _knows(self, event_id: int) -> bool:
        return event_id in _TRACERS_OWN or self._group.events.by_id(event_id) is not None

    def _bin(self, moment: Moment, has_context: bool) -> str:
        context = _BIN.pack(moment.tid, moment.cpu, moment.record.ts_ns).decode("latin-1") if has_context else ""
        return context + (f"type: {moment.event_id}\n" if self._knows(moment.event_id) else "")

    def _hex(self, moment: Moment, has_context: bool) -> str:
        context = f"{moment.tid:08x} {moment.cpu:08x} {moment.record.ts_ns:016x} " if has_context else ""
        return context + (f"type: {moment.event_id}\n\n" if self._knows(moment.event_id) else "\n")

    def _raw(self, moment: Moment, has_context: bool) -> str:
        context = f"{moment.tid} {moment.cpu} {moment.record.ts_ns} " if has_context else ""
        event_id, body = moment.event_id, moment.record.body
        if event_id == PRINT_EVENT_ID:
            address = int.from_bytes(body[RECORD_HEADER_SIZE:_MARK_TEXT_AT], "little")
            return f"{context}# {address:x} {_mark(body)}"
        if event_id == RAW_DATA_EVENT_ID:
            return context + _raw_mark(body)
        return context + (f"type: {event_id}\n" if self._knows(event_id) else f"{event_id} ?\n")

    def _context(self, moment: Moment) -> str:
        if self._has_latency:
            return self._latency_context(moment)
        tid, ts_ns = moment.tid, moment.record.ts_ns
        text = f"{self._commands.name(tid):>16}-{tid:<7} "
        if self._options["record-tgid"]:
            pid = self._commands.process(tid)
            text += "(-------) " if pid is None else f"({pid:7}) "
        text += f"[{moment.cpu:03}] "
        if self._options["irq-info"]:
            text += "....."
        if not self._in_ns:
            return f"{text} {ts_ns:12}: "
        seconds, microseconds = divmod((ts_ns + 500) // 1000, 1_000_000)
        return f"{text} {seconds:5}.{microseconds:06}: "

    def _latency_context(self, moment: Moment) -> str:
        """Time counts from when the rings were emptied; the mark after it tells how far the next record is."""
        name, ts, since = self._commands.name(moment.tid), moment.record.ts_ns, moment.record.ts_ns - self._started
        if self._options["verbose"]:
            text = f"{name:>16} {moment.tid:7} {moment.cpu:3} 0 00000000 {moment.number:08x} "
            if not self._in_ns:
                return f"{text}[{ts:016x}] {since} (+{moment.gap}): "
            return f"{text}[{_usecs(ts):08x}] {_msecs(since)} (+{_msecs(moment.gap)}): "
        text = f"{name[:8]:>8}-{moment.tid:<7} {moment.cpu:3}..... "
        if not self._in_ns:
            return f"{text}{since:4}: "
        mark = next((mark for mark, least in _MARKS if _usecs(moment.gap) > least), " ")
        return f"{text}{_usecs(since):4}us{mark}: "

    def _body(self, moment: Moment) -> str:
        event_id, body = moment.event_id, moment.record.body
        if self._options["fields"] and event_id in _TRACERS_OWN:
            return f"UNKNOWN TYPE {event_id}\n"
        if event_id == PRINT_EVENT_ID:
            return f"tracing_mark_write: {_mark(body)}"
        if event_id == RAW_DATA_EVENT_ID:
            return _raw_mark(body)
        if event_id == STACK_EVENT_ID:
            return "<stack trace>\n"
        event = self._group.events.by_id(event_id)
        if event is None:
            return f"Unknown type {event_id}\n"
        return kernel_text(event.tracepoint_name, event.fields, body) + "\n"


Form = Callable[[Lines, Moment, bool], str]
"""Makes a line that is no text, with or without what stands before its body."""

_FORMS: Final[dict[str, Form]] = {"bin": Lines._bin, "hex": Lines._hex, "raw": Lines._raw}


def _mark(body: bytes) -> str:
    return body[_MARK_TEXT_AT:].partition(b"\0")[0].decode("latin-1")


def _raw_mark(body: bytes) -> str:
    number = int.from_bytes(body[RECORD_HEADER_SIZE:_RAW_TEXT_AT], "little")
    return f"# {number:x} buf:" + "".join(f" {byte:02x}" for byte in body[_RAW_TEXT_AT:]) + "\n"


def _usecs(time_ns: int) -> int:
    return (time_ns + 500) // 1000


def _msecs(time_ns: int) -> str:
    milliseconds, microseconds = divmod(_usecs(time_ns), 1000)
    return f"{milliseconds}.{microseconds:03}ms"


def lost_line(cpu: int, lost: int) -> str:
    """What a consuming reader sees where records were overwritten before it came; nothing if none were."""
    if not lost:
        return ""
    return f"CPU:{cpu} [LOST {lost} EVENTS]\n" if lost > 0 else f"CPU:{cpu} [LOST EVENTS]\n"
