"""The virtual tracing file system: every way in (socket, FUSE, in-process) is a client of `Tree`."""

from ..engine import Caller
from ..instance import Sink
from .node import OpenNode, WriteCall
from .system import TOP, PlainSystem, System, task_exited, task_forked
from .tree import NodeStat, Tree

__all__ = [
    "TOP",
    "Caller",
    "NodeStat",
    "OpenNode",
    "PlainSystem",
    "Sink",
    "System",
    "Tree",
    "WriteCall",
    "task_exited",
    "task_forked",
]
