"""The directories of the tree, each a table from name to node.

Source: user_events contract, tracefs.md sections 1 and 9.
"""

import errno
from typing import ClassVar

from ..abi import tracefs as abi
from ..errors import Refused
from . import buffers, controls
from . import trace_files as trace
from .data_file import UserEventsData
from .dynamic_events import DynamicEvents
from .enable import EventEnable, SetEvent, SystemEnable
from .event_controls import EventFilter, EventHist, EventTrigger, SystemFilter
from .event_files import AvailableEvents, EventId, Format, HeaderEvent, HeaderPage, Readme, Status
from .ftrace import FtraceDirectory
from .node import Directory, Node
from .own import Control, History, Holders, Info, Patterns, Select, Stream
from .system import TOP

Table = dict[str, type[Node]]


class FixedDirectory(Directory):
    """A directory whose names are known: its table."""

    table: ClassVar[Table]

    def names(self) -> list[str]:
        """The names of the table."""
        return list(self.table)

    def child(self, name: str) -> Node | None:
        """The node that the table names, at the same place."""
        kind = self.table.get(name)
        return kind(self.place) if kind is not None else None


class OwnDirectory(FixedDirectory):
    """``userevents/``."""

    table: ClassVar[Table] = {
        abi.OWN_PATTERNS: Patterns,
        abi.OWN_SELECT: Select,
        abi.OWN_STREAM: Stream,
        abi.OWN_CONTROL: Control,
        abi.OWN_HOLDERS: Holders,
        abi.OWN_HISTORY: History,
        abi.OWN_INFO: Info,
        abi.OWN_EVENTS_MAX: controls.EventsMax,
    }


class EventDirectory(FixedDirectory):
    """``events/SYSTEM/EVENT/``."""

    mode: ClassVar[int] = abi.MODE_EVENTS
    table: ClassVar[Table] = {
        abi.ENABLE: EventEnable,
        abi.FILTER: EventFilter,
        abi.FORMAT: Format,
        abi.HIST: EventHist,
        abi.ID: EventId,
        abi.TRIGGER: EventTrigger,
    }


class SystemDirectory(FixedDirectory):
    """``events/SYSTEM/``: there while the system has an event. An event's directory hides a file of its name."""

    mode: ClassVar[int] = abi.MODE_EVENTS
    table: ClassVar[Table] = {abi.ENABLE: SystemEnable, abi.FILTER: SystemFilter}

    def names(self) -> list[str]:
        """The files and the events; EIO when an event's name cannot be that of a directory."""
        events = [event.tracepoint_name for event in self.place.system.group.events.in_system(self.place.event_system)]
        for name in events:
            if not name or "/" in name:
                raise Refused(errno.EIO, f"event '{name}' cannot be listed: its name is no file name")
        return super().names() + [name for name in events if name not in (".", "..")]

    def child(self, name: str) -> Node | None:
        """The event's directory, or the system's own file."""
        event = self.place.system.group.events.by_tracepoint(self.place.event_system, name)
        return EventDirectory(self.place._replace(event=event)) if event is not None else super().child(name)


class EventsDirectory(FixedDirectory):
    """``events/``."""

    mode: ClassVar[int] = abi.MODE_EVENTS
    table: ClassVar[Table] = {abi.ENABLE: SystemEnable, abi.HEADER_PAGE: HeaderPage, abi.HEADER_EVENT: HeaderEvent}

    def names(self) -> list[str]:
        """The files, and the systems that have an event."""
        return [*super().names(), abi.FTRACE, *self.place.system.group.events.systems()]

    def child(self, name: str) -> Node | None:
        """A file, or a system."""
        if name == abi.FTRACE:
            return FtraceDirectory(self.place)
        if name in self.place.system.group.events.systems():
            return SystemDirectory(self.place._replace(event_system=name))
        return super().child(name)


class CpuDirectory(FixedDirectory):
    """``per_cpu/cpuN/``."""

    table: ClassVar[Table] = {
        abi.BUFFER_SIZE_KB: buffers.BufferSize,
        abi.SNAPSHOT: trace.Snapshot,
        abi.SNAPSHOT_RAW: trace.SnapshotRaw,
        abi.STATS: trace.Stats,
        abi.TRACE: trace.Trace,
        abi.TRACE_PIPE: trace.TracePipe,
        abi.TRACE_PIPE_RAW: trace.TracePipeRaw,
    }


class CpusDirectory(Directory):
    """``per_cpu/``."""

    def names(self) -> list[str]:
        """One directory a CPU."""
        return [f"cpu{cpu}" for cpu in range(self.place.instance.machine.cpus)]

    def child(self, name: str) -> Node | None:
        """The directory of one CPU."""
        names = self.names()
        return CpuDirectory(self.place._replace(cpu=names.index(name))) if name in names else None


_INSTANCE: Table = {
    abi.BUFFER_PERCENT: buffers.BufferPercent,
    abi.BUFFER_SIZE_KB: buffers.BufferSize,
    abi.BUFFER_SUBBUF_SIZE_KB: buffers.SubbufSize,
    abi.BUFFER_TOTAL_SIZE_KB: buffers.BufferTotalSize,
    abi.AVAILABLE_TRACERS: controls.AvailableTracers,
    abi.CURRENT_TRACER: controls.CurrentTracer,
    abi.ERROR_LOG: controls.ErrorLogFile,
    abi.EVENTS: EventsDirectory,
    abi.FREE_BUFFER: buffers.FreeBuffer,
    abi.OPTIONS: controls.OptionsDirectory,
    abi.OWN: OwnDirectory,
    abi.PER_CPU: CpusDirectory,
    abi.SET_EVENT: SetEvent,
    abi.SET_EVENT_NOTRACE_PID: controls.EventNotracePids,
    abi.SET_EVENT_PID: controls.EventPids,
    abi.SNAPSHOT: trace.Snapshot,
    abi.TIMESTAMP_MODE: controls.TimestampMode,
    abi.TRACE: trace.Trace,
    abi.TRACE_CLOCK: controls.TraceClock,
    abi.TRACE_MARKER: controls.TraceMarker,
    abi.TRACE_MARKER_RAW: controls.TraceMarkerRaw,
    abi.TRACE_OPTIONS: controls.TraceOptions,
    abi.TRACE_PIPE: trace.TracePipe,
    abi.TRACING_CPUMASK: controls.TracingCpumask,
    abi.TRACING_MAX_LATENCY: controls.TracingMaxLatency,
    abi.TRACING_ON: controls.TracingOn,
}
"""What every instance has, the top one included."""


class InstanceDirectory(FixedDirectory):
    """``instances/NAME/``."""

    table: ClassVar[Table] = _INSTANCE


class InstancesDirectory(Directory):
    """``instances/``: making a directory makes an instance."""

    def names(self) -> list[str]:
        """The instances except the top one."""
        return [name for name in self.place.system.instances if name != TOP]

    def child(self, name: str) -> Node | None:
        """The directory of one instance."""
        instance = self.place.system.instances.get(name) if name != TOP else None
        return InstanceDirectory(self.place._replace(instance=instance)) if instance is not None else None

    def make(self, name: str) -> None:
        """Make the instance `name`; EEXIST if there is one."""
        if name in self.place.system.instances:
            raise Refused(errno.EEXIST, f"instance '{name}' exists")
        self.place.system.create_instance(name)

    def remove(self, name: str) -> None:
        """Remove the instance `name`; the tree has checked that nobody has a file of it open."""
        if name == TOP or name not in self.place.system.instances:
            raise Refused(errno.ENOENT, f"there is no instance '{name}'")
        self.place.system.remove_instance(name)


class TopDirectory(FixedDirectory):
    """The root of the tree: the top instance, and what exists only once."""

    mode: ClassVar[int] = abi.MODE_ROOT
    table: ClassVar[Table] = _INSTANCE | {
        abi.README: Readme,
        abi.USER_EVENTS_DATA: UserEventsData,
        abi.USER_EVENTS_STATUS: Status,
        abi.DYNAMIC_EVENTS: DynamicEvents,
        abi.AVAILABLE_EVENTS: AvailableEvents,
        abi.INSTANCES: InstancesDirectory,
        abi.SAVED_CMDLINES: controls.SavedCommandsFile,
        abi.SAVED_CMDLINES_SIZE: controls.SavedCommandsSize,
        abi.SAVED_TGIDS: controls.SavedProcesses,
        abi.TRACING_THRESH: controls.TracingThreshold,
        abi.PRINTK_FORMATS: controls.Empty,
        abi.EVAL_MAP: controls.Empty,
    }
