"""Sub-buffer pages in the kernel's own format, and the stream of them that a tracer hands to a recorder.

Values in, values out: no descriptor, clock or thread. `page` reads and builds pages; `stream` frames them.
"""

from .page import PageBuilder, Walk, missed, page_data, records, walk
from .ring import CpuRing, Record, pages_for, ring_kib
from .stream import Frame, FrameReader, Part

__all__ = [
    "CpuRing",
    "Frame",
    "FrameReader",
    "PageBuilder",
    "Part",
    "Record",
    "Walk",
    "missed",
    "page_data",
    "pages_for",
    "records",
    "ring_kib",
    "walk",
]
