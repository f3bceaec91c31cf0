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
MODE_ROOT: Final = S_IFDIR | 0o700
NAME_MAX: Final = 255

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

OWN: Final = "userevents"
"""The directory of our own files, at the top and in each instance."""
OWN_PATTERNS: Final = "patterns"
OWN_SELECT: Final = "select"
OWN_STREAM: Final = "stream"
OWN_CONTROL: Final = "control"
OWN_HOLDERS: Final = "holders"
OWN_INFO: Final = "info"

SET_EVENT_WORD_MAX: Final = 127
"""Longest word of ``set_event``."""
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
  events/SYSTEM/enable    the same for one system
  events/SYSTEM/EVENT/    enable, format, id
  instances/              mkdir makes an independent consumer of events, rmdir removes it

Files of our own:
  userevents/patterns     [SYSTEM:]EVENT globs, one a line: enabled now, and when declared later
  userevents/select       which processes: all, pid N, tree N, run TOKEN; one a line
  userevents/stream       the recording stream; a read takes what it returns, one reader at a time
  userevents/control      finish: end the recording; rotate: end it and begin the next one
  userevents/holders      who holds each event
  userevents/info         the tracer, or the instance, in JSON
"""
