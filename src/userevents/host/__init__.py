"""The running tracer: its thread, clock, descriptors; adoption of sessions, draining, process death.

Everything below this room takes values; here they come from the world.
"""

from .local import LocalAccess, LocalHandle
from .loop import Loop
from .tracer import Tracer

__all__ = ["LocalAccess", "LocalHandle", "Loop", "Tracer"]
