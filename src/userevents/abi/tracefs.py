"""The tracing file system's names, modes, open flags and fixed texts.

Source: user_events contract, tracefs.md and abi.md section 1. What stands below ``userevents/`` is ours.
"""

from typing import Final

O_ACCMODE: Final = 0o3
O_RDONLY: Final = 0o0
O_WRONLY: Final = 0o1
O_RDWR: Final = 0o2
O_TRUNC: Final = 0o1000
O_APPEND: Final = 0o2000
O_NONBLOCK: Final = 0o4000
"""Open flags as Linux numbers them on every architecture this package runs on."""

S_IFMT: Final = 0o170000
S_IFDIR: Final = 0o040000
S_IFREG: Final = 0o100000
MODE_READ: Final = S_IFREG | 0o440
MODE_WRITE: Final = S_IFREG | 0o640
MODE_DIRECTORY: Final = S_IFDIR | 0o750
MODE_EVENTS: Final = S_IFDIR | 0o755
MODE_WRITE_ONLY: Final = S_IFREG | 0o220
MODE_FREE_BUFFER: Final = S_IFREG | 0o200
MODE_ROOT: Final = S_IFDIR | 0o700
NAME_MAX: Final = 255
MODE_BITS: Final = 0o7777

README: Final = "README"
USER_EVENTS_STATUS: Final = "user_events_status"
DYNAMIC_EVENTS: Final = "dynamic_events"
AVAILABLE_EVENTS: Final = "available_events"
SET_EVENT: Final = "set_event"
EVENTS: Final = "events"
INSTANCES: Final = "instances"
ENABLE: Final = "enable"
FORMAT: Final = "format"
ID: Final = "id"
HEADER_PAGE: Final = "header_page"
HEADER_EVENT: Final = "header_event"

USER_EVENTS_DATA: Final = "user_events_data"
SET_EVENT_PID: Final = "set_event_pid"
SET_EVENT_NOTRACE_PID: Final = "set_event_notrace_pid"
FILTER: Final = "filter"
TRIGGER: Final = "trigger"
HIST: Final = "hist"
TRACE: Final = "trace"
TRACE_PIPE: Final = "trace_pipe"
TRACE_PIPE_RAW: Final = "trace_pipe_raw"
TRACE_OPTIONS: Final = "trace_options"
OPTIONS: Final = "options"
TRACE_CLOCK: Final = "trace_clock"
TRACE_MARKER: Final = "trace_marker"
TRACE_MARKER_RAW: Final = "trace_marker_raw"
BUFFER_PERCENT: Final = "buffer_percent"
TRACING_CPUMASK: Final = "tracing_cpumask"
TRACING_MAX_LATENCY: Final = "tracing_max_latency"
TRACING_ON: Final = "tracing_on"
TIMESTAMP_MODE: Final = "timestamp_mode"
BUFFER_SIZE_KB: Final = "buffer_size_kb"
BUFFER_TOTAL_SIZE_KB: Final = "buffer_total_size_kb"
BUFFER_SUBBUF_SIZE_KB: Final = "buffer_subbuf_size_kb"
CURRENT_TRACER: Final = "current_tracer"
AVAILABLE_TRACERS: Final = "available_tracers"
SNAPSHOT: Final = "snapshot"
SNAPSHOT_RAW: Final = "snapshot_raw"
ERROR_LOG: Final = "error_log"
FREE_BUFFER: Final = "free_buffer"
PER_CPU: Final = "per_cpu"
STATS: Final = "stats"
SAVED_CMDLINES: Final = "saved_cmdlines"
SAVED_CMDLINES_SIZE: Final = "saved_cmdlines_size"
SAVED_TGIDS: Final = "saved_tgids"
TRACING_THRESH: Final = "tracing_thresh"
PRINTK_FORMATS: Final = "printk_formats"
EVAL_MAP: Final = "eval_map"
FTRACE: Final = "ftrace"
"""The system of the record types that are the tracer's own."""

STREAMS: Final = frozenset(
    {USER_EVENTS_DATA, TRACE_PIPE, TRACE_PIPE_RAW, SNAPSHOT_RAW, TRACE_MARKER, TRACE_MARKER_RAW, FREE_BUFFER}
)
"""Files that have no positions: what is read is gone, what is written is taken."""

STACK_EVENT_ID: Final = 4
PRINT_EVENT_ID: Final = 5
RAW_DATA_EVENT_ID: Final = 18
"""Type ids of stack traces, and of what is written to ``trace_marker`` and ``trace_marker_raw``."""

OWN: Final = "userevents"
"""The directory of our own files, at the top and in each instance."""
OWN_PATTERNS: Final = "patterns"
OWN_SELECT: Final = "select"
OWN_STREAM: Final = "stream"
OWN_CONTROL: Final = "control"
OWN_HOLDERS: Final = "holders"
OWN_HISTORY: Final = "history"
OWN_INFO: Final = "info"
OWN_EVENTS_MAX: Final = "user_events_max"

SET_EVENT_WORD_MAX: Final = 127
"""Longest word of ``set_event``."""
BUFFER_KIB_MAX: Final = 1 << 22
SUBBUF_KIB_MAX: Final = 512
COMMANDS_MAX: Final = 1 << 15
UINT_MAX: Final = (1 << 32) - 1
ULONG_MAX: Final = (1 << 64) - 1
COMMAND_TEXT_MAX: Final = 4095
"""Longest write to ``filter`` and ``trigger``."""
COMMAND_BUFFER_SIZE: Final = 4096
"""What ``dynamic_events`` works on at a time: a line has at most two bytes less."""

README_TEXT: Final = """\
userevents: Linux user_events in user space.

Files that the kernel has, too, and that behave as its own:
  user_events_status      the events, and who listens to each
  dynamic_events          the declarations; write 'u:NAME FIELDS' (append!) to add a persistent
                          event, '-:NAME FIELDS' to delete one
  available_events        SYSTEM:EVENT, one a line
  set_event               the enabled ones; write '[!]SYSTEM:EVENT' to change that
  events/enable           0, 1, X (some) or ? (there is none); write 0 or 1
  events/SYSTEM/          enable and filter, for every event of one system
  events/SYSTEM/EVENT/    enable, filter, format, hist, id, trigger
  user_events_data        what programs register events with, and write them to
  trace                   what was recorded, as text; write to it (truncating) to clear it
  trace_pipe              the same, consumed by whoever reads it; per_cpu/ has one CPU's, and pages
  tracing_on              whether anything is kept; so do buffer_size_kb, trace_clock, trace_options
  snapshot                what was in the rings when 1 was written here
  set_event_pid           the threads that are kept; none means all
  error_log               why filters and triggers were refused
  instances/              mkdir makes an independent consumer of events, rmdir removes it

Files of our own:
  userevents/patterns     [SYSTEM:]EVENT globs, one a line: recorded into the stream, now and when
                          declared later; what is enabled by hand goes into the trace instead. With !
                          before it, not recorded: the last one that matches an event decides
  userevents/select       which processes: all, pid N, tree N, run TOKEN; one a line
  userevents/stream       the recording stream; a read takes what it returns, one reader at a time
  userevents/control      finish: end the recording; rotate: end it and begin the next one
  userevents/holders      who holds each event
  userevents/history      what happened to each event lately, and to events that are gone
  userevents/user_events_max  how many events there may be
  userevents/info         the tracer, or the instance, in JSON
"""
