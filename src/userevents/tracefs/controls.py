"""The control files of an instance: recording, clock, options, marks, pids, errors.

Source: user_events contract, tracefs.md sections 2, 8 and 12.
"""

import errno
import re
from typing import ClassVar, Final

from ..abi import tracefs as abi
from ..errors import Refused
from ..instance import CLOCKS, OPTION_TEXT_MAX, PidList, mark_body, parse_pids, raw_mark_body
from .node import Directory, File, Node, OpenNode, WriteCall
from .text import command_text, parse_unsigned, truncates

_MARK_MAX: Final = 4054
_RAW_MIN: Final = 4
_RAW_MAX: Final = 4060
_MASK_DIGITS_MAX: Final = 2048
_CLOCK_MAX: Final = 63
_SYSCTL_NUMBER: Final = re.compile(
    rb"[\t-\r \xa0]*(0[xX][0-9a-fA-F]{1,20}|0[0-7]{0,22}|[1-9][0-9]{0,20})(?:[\t-\r ]|$)"
)
_TRACER: Final = "nop"


class Control(File):
    """A file that is read and written."""

    mode: ClassVar[int] = abi.MODE_WRITE


class TracingOn(Control):
    """``tracing_on``."""

    def text(self) -> str:
        """0 or 1."""
        return f"{int(self.place.instance.recorder.tracing_on)}\n"

    def write(self, node: OpenNode, data: bytes) -> int:
        """Record (any number but 0), or do not."""
        self.place.instance.recorder.tracing_on = bool(parse_unsigned(data))
        return len(data)


class TraceClock(Control):
    """``trace_clock``."""

    def text(self) -> str:
        """The clocks, the chosen one in brackets."""
        chosen = self.place.instance.recorder.clock
        return " ".join(f"[{name}]" if name == chosen else name for name in CLOCKS) + "\n"

    def write(self, node: OpenNode, data: bytes) -> int:
        """Choose a clock; what was recorded goes."""
        if len(data) > _CLOCK_MAX:
            raise Refused(errno.EINVAL, f"a clock's name of {len(data)} bytes")
        self.place.instance.recorder.set_clock(command_text(data))
        return len(data)


class TimestampMode(File):
    """``timestamp_mode``."""

    def text(self) -> str:
        """Deltas, always."""
        return "[delta] absolute\n"


class TraceOptions(Control):
    """``trace_options``."""

    def text(self) -> str:
        """One option a line, ``no`` before those that are off."""
        return self.place.instance.options.text()

    def write(self, node: OpenNode, data: bytes) -> int:
        """Switch one option on, or with ``no`` before it off."""
        if len(data) > OPTION_TEXT_MAX:
            raise Refused(errno.EINVAL, f"an option of {len(data)} bytes; at most {OPTION_TEXT_MAX} fit")
        self.place.instance.set_option(command_text(data))
        return len(data)


class Option(Control):
    """``options/NAME``."""

    def text(self) -> str:
        """0 or 1."""
        return f"{int(self.place.instance.options[self.place.option])}\n"

    def write(self, node: OpenNode, data: bytes) -> int:
        """Switch it off (0) or on (1)."""
        number = parse_unsigned(data)
        if number > 1:
            raise Refused(errno.EINVAL, f"'{number}' is neither 0 nor 1")
        self.place.instance.set_option(("" if number else "no") + self.place.option)
        return len(data)


class OptionsDirectory(Directory):
    """``options/``."""

    def names(self) -> list[str]:
        """Every option."""
        return self.place.instance.options.names()

    def child(self, name: str) -> Node | None:
        """The file of one option."""
        if name not in self.names():
            return None
        return Option(self.place._replace(option=name))


class CurrentTracer(Control):
    """``current_tracer``: there is but one, which traces nothing but events."""

    def text(self) -> str:
        """Its name."""
        return f"{_TRACER}\n"

    def write(self, node: OpenNode, data: bytes) -> int:
        """EINVAL for any other."""
        if command_text(data) != _TRACER:
            raise Refused(errno.EINVAL, f"there is no tracer '{command_text(data)}'; there is {_TRACER}")
        return len(data)


class AvailableTracers(File):
    """``available_tracers``."""

    def text(self) -> str:
        """Their names."""
        return f"{_TRACER}\n"


class TraceMarker(Control):
    """``trace_marker``: text among the records."""

    mode: ClassVar[int] = abi.MODE_WRITE_ONLY
    has_positions: ClassVar[bool] = False

    def text(self) -> str:
        """EINVAL: there is nothing to read."""
        raise Refused(errno.EINVAL, "trace_marker cannot be read")

    def write_call(self, node: OpenNode, data: bytes, call: WriteCall) -> int:
        """Put the text, or as much as fits a page, into the ring; EBADF with the option ``markers`` off, or tracing."""
        if not self.place.instance.options["markers"]:
            raise Refused(errno.EINVAL, "the option 'markers' is off")
        if call.task is None:
            raise Refused(errno.EOPNOTSUPP, "this door cannot say who writes, so it cannot write marks")
        if not self.place.instance.tracing_on:
            raise Refused(errno.EBADF, "tracing is off")
        writer = call.task.writer
        body, taken = self.mark(writer.tid, data)
        self.place.instance.write_mark(body, writer)
        return taken

    def mark(self, tid: int, data: bytes) -> tuple[bytes, int]:
        """The record of a text, or of as much of it as fits, and how much that is."""
        text = data[:_MARK_MAX]
        return mark_body(tid, text if text.endswith(b"\n") else text + b"\n"), len(text)


class TraceMarkerRaw(TraceMarker):
    """``trace_marker_raw``: bytes among the records, after a 4-byte number of the writer's choice."""

    def mark(self, tid: int, data: bytes) -> tuple[bytes, int]:
        """The record of some bytes, and how many it has; EINVAL without the number, or where they do not fit."""
        if not _RAW_MIN <= len(data) <= _RAW_MAX:
            raise Refused(errno.EINVAL, f"a raw mark of {len(data)} bytes; it has {_RAW_MIN} to {_RAW_MAX}")
        return raw_mark_body(tid, data), len(data)


class TracingCpumask(Control):
    """``tracing_cpumask``: the CPUs that are recorded, as a hexadecimal mask."""

    def text(self) -> str:
        """The mask."""
        recorder = self.place.instance.recorder
        return f"{sum(1 << cpu for cpu in recorder.cpus):x}\n"

    def write(self, node: OpenNode, data: bytes) -> int:
        """Set it; EINVAL for what is no mask, EOVERFLOW for one that names more CPUs than there are."""
        text = command_text(data).replace(",", "")
        if not text or text.strip("0123456789abcdefABCDEF") or len(text) > _MASK_DIGITS_MAX:
            raise Refused(errno.EINVAL, f"'{text[:40]}' is no hexadecimal mask")
        recorder = self.place.instance.recorder
        cpus = recorder.machine.cpus
        if int(text, 16) >> cpus:
            raise Refused(errno.EOVERFLOW, f"the mask '{text[:40]}' has more than {cpus} CPUs")
        recorder.cpus = {cpu for cpu in range(cpus) if int(text, 16) >> cpu & 1}
        return len(data)


class TracingMaxLatency(Control):
    """``tracing_max_latency``: of tracers that measure latency, of which there is none."""

    def text(self) -> str:
        """Microseconds."""
        return f"{self.place.instance.recorder.max_latency_ns // 1000}\n"

    def write(self, node: OpenNode, data: bytes) -> int:
        """Set it; it is kept in nanoseconds, of which there are 64 bits."""
        self.place.instance.recorder.max_latency_ns = parse_unsigned(data) * 1000 & abi.ULONG_MAX
        return len(data)


class TracingThreshold(Control):
    """``tracing_thresh``: of the same tracers, and of all instances."""

    def text(self) -> str:
        """Microseconds."""
        return f"{self.place.instance.machine.threshold_ns // 1000}\n"

    def write(self, node: OpenNode, data: bytes) -> int:
        """Set it; it is kept as ``tracing_max_latency`` is."""
        self.place.instance.machine.threshold_ns = parse_unsigned(data) * 1000 & abi.ULONG_MAX
        return len(data)


class EventPids(Control):
    """``set_event_pid``: the threads that are recorded, all if there is none."""

    def opened(self, node: OpenNode) -> None:
        """Truncating forgets them."""
        if truncates(node):
            self.forget(self.place.instance.pids)

    def text(self) -> str:
        """One id a line, in order."""
        return "".join(f"{pid}\n" for pid in sorted(self.pids(self.place.instance.pids)))

    def write(self, node: OpenNode, data: bytes) -> int:
        """Add ids."""
        self.pids(self.place.instance.pids).update(parse_pids(command_text(data)))
        return len(data)

    def pids(self, lists: PidList) -> set[int]:
        """The set behind the file."""
        return lists.wanted

    def forget(self, lists: PidList) -> None:
        """Empty that set."""
        lists.forget_wanted()


class EventNotracePids(EventPids):
    """``set_event_notrace_pid``: the threads that are not recorded."""

    def pids(self, lists: PidList) -> set[int]:
        """The set behind the file."""
        return lists.unwanted

    def forget(self, lists: PidList) -> None:
        """Empty that set."""
        lists.unwanted.clear()


class ErrorLogFile(Control):
    """``error_log``."""

    def opened(self, node: OpenNode) -> None:
        """Truncating forgets the entries."""
        if truncates(node):
            self.place.instance.errors.clear()

    def text(self) -> str:
        """The last errors."""
        return self.place.instance.errors.text()

    def write(self, node: OpenNode, data: bytes) -> int:
        """Whatever is written is ignored."""
        return len(data)


class Empty(File):
    """``printk_formats`` and ``eval_map``: what the kernel knows of its own code, which is nothing here."""

    def text(self) -> str:
        """Nothing."""
        return ""


class SavedCommandsFile(File):
    """``saved_cmdlines``."""

    def text(self) -> str:
        """A thread and its name a line."""
        return self.place.instance.machine.commands.names_text()


class SavedCommandsSize(Control):
    """``saved_cmdlines_size``."""

    def text(self) -> str:
        """How many names are kept."""
        return f"{self.place.instance.machine.commands.limit}\n"

    def write(self, node: OpenNode, data: bytes) -> int:
        """Keep at least that many; EINVAL for none."""
        number = parse_unsigned(data)
        if not 0 < number <= abi.COMMANDS_MAX:
            raise Refused(errno.EINVAL, f"'{number}' is no number of names, which is 1 to {abi.COMMANDS_MAX}")
        self.place.instance.machine.commands.limit = number
        return len(data)


class SavedProcesses(File):
    """``saved_tgids``."""

    def text(self) -> str:
        """A thread and its process a line."""
        return self.place.instance.machine.commands.processes_text()


class EventsMax(Control):
    """kernel.user_events_max, which the kernel has among its sysctls."""

    def text(self) -> str:
        """How many events there may be."""
        return f"{self.place.system.group.user_events_max}\n"

    def write(self, node: OpenNode, data: bytes) -> int:
        """Allow that many; lowering it deletes nothing. EINVAL for what does not begin with a 32-bit number.

        White space before it is skipped, what follows white space after it is ignored; 0x and a leading 0 count.
        """
        if not data:
            return 0
        found = _SYSCTL_NUMBER.match(data)
        digits = found[1].decode() if found is not None else ""
        octal = digits[:1] == "0" and digits[1:2] not in ("", "x", "X")
        if not digits or int(digits, 8 if octal else 0) > abi.UINT_MAX:
            raise Refused(errno.EINVAL, f"'{data[:40].decode('latin-1')}' is no number of 32 bits")
        self.place.system.group.user_events_max = int(digits, 8 if octal else 0)
        return len(data)
