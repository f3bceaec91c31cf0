"""Sub-buffer pages in the kernel's own format, and the stream of them that a tracer hands to a recorder.

Values in, values out: no descriptor, clock or thread. `page` reads and builds pages; `stream` frames them.
"""

from .page import PageBuilder, Walk, missed, page_data, records, walk
from .stream import Frame, FrameReader, Part

__all__ = ["Frame", "FrameReader", "PageBuilder", "Part", "Walk", "missed", "page_data", "records", "walk"]
