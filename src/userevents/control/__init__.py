"""Driving a tracer from outside, real or ours: reach its tree, enable events, read what it records."""

from .access import Access, Handle, read_file, write_file
from .files_access import FilesAccess
from .socket_access import SocketAccess
from .tracer import EventInfo, InstanceControl, Status, Tracer

__all__ = [
    "Access",
    "EventInfo",
    "FilesAccess",
    "Handle",
    "InstanceControl",
    "SocketAccess",
    "Status",
    "Tracer",
    "read_file",
    "write_file",
]
