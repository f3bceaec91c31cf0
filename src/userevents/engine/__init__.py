"""The engine: which events exist, who holds each, and when one goes. Values in, values out, one thread.

`Group` is the front door; ``docs/references-and-locks.md`` tells who holds whom.
"""

from .dynamic import Deletion, parse_deletion
from .enabler import Enabler, UserEventMm
from .event import Holder, UserEvent
from .group import Group
from .history import Entry, GoneEvent, History
from .ids import IdPool
from .lint import Problem, Verdict, lint
from .open_file import OpenFile
from .ports import Caller, Fault, Memory, Observer, Pageable, Probe, Task, UserMemory, Writer
from .profile import PROFILES, V6_4, V6_12, Profile
from .work import Work, WorkQueue

__all__ = [
    "PROFILES",
    "V6_4",
    "V6_12",
    "Caller",
    "Deletion",
    "Enabler",
    "Entry",
    "Fault",
    "GoneEvent",
    "Group",
    "History",
    "Holder",
    "IdPool",
    "Memory",
    "Observer",
    "OpenFile",
    "Pageable",
    "Probe",
    "Problem",
    "Profile",
    "Task",
    "UserEvent",
    "UserEventMm",
    "UserMemory",
    "Verdict",
    "Work",
    "WorkQueue",
    "Writer",
    "lint",
    "parse_deletion",
]
