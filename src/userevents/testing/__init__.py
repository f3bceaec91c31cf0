"""For tests: a private tracer, an in-process tracing tree with simulated processes, a fake clock, fake memory.

The pytest fixture `user_events` (plugin.py) is a `PrivateTracer`. docs/testing.md shows all of it at work.
"""

from .fakes import FakeClock, FakeMemory
from .records import Record
from .tracer import PrivateTracer, Records, UnknownEvent
from .tree import Process, Registration, Tree

__all__ = [
    "FakeClock",
    "FakeMemory",
    "PrivateTracer",
    "Process",
    "Record",
    "Records",
    "Registration",
    "Tree",
    "UnknownEvent",
]
