"""A ring's file as the program has it: made whole or not at all, and checked before a byte is stored to it.

Where the next record goes in it is the business of `cursor`.
"""

import os

from ..errors import Unusable
from . import layout
from .birth import make_file
from .mapping import Mapping


def make(path: str, *, pages: int, generation: int, nonce: bytes, mode: int = layout.MODE_DISCARD) -> None:
    """Make an empty, fully allocated ring file; one already there is left alone.

    Either side may make the ring of a generation: link(2) decides who was first. Raises `OSError`
    (ENOSPC where memory is short; nothing is left behind).
    """

    def prepare(fd: int) -> None:
        os.posix_fallocate(fd, 0, layout.ring_size(pages))
        identity = layout.RING_IDENTITY_STRUCT.pack(
            layout.RING_MAGIC,
            layout.VERSION,
            pages,
            generation,
            mode,
            layout.RING_TABLE,
            layout.ring_data_offset(pages),
            nonce,
        )
        os.pwrite(fd, identity, layout.RING_IDENTITY)

    try:
        os.close(make_file(path, prepare))
    except FileExistsError:
        pass


class Ring:
    """A mapped ring of this session. `map` is its memory, `mode` what it does when it is full.

    Raises `Unusable` for a file that is not the ring it should be, `OSError` where it cannot be opened or mapped.
    """

    __slots__ = ("_mapping", "data", "generation", "map", "mode", "pages", "path")

    def __init__(self, path: str, *, generation: int, nonce: bytes) -> None:
        self.path = path
        self.generation = generation
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            size = os.fstat(fd).st_size
            raw = os.pread(fd, layout.RING_IDENTITY_STRUCT.size, layout.RING_IDENTITY)
            if len(raw) < layout.RING_IDENTITY_STRUCT.size:
                raise Unusable(f"ring '{path}' is too short ({size} bytes)")
            magic, version, pages, gen, mode, table, data, owner = layout.RING_IDENTITY_STRUCT.unpack(raw)
            if (magic, version, gen, owner, table) != (
                layout.RING_MAGIC,
                layout.VERSION,
                generation,
                nonce,
                layout.RING_TABLE,
            ):
                raise Unusable(f"ring '{path}' is not generation {generation} of this session")
            if not is_ring_size(pages) or size != layout.ring_size(pages) or data != layout.ring_data_offset(pages):
                raise Unusable(f"ring '{path}' has {size} bytes for {pages} pages, which begin at {data}")
            if mode not in layout.MODES:
                raise Unusable(f"ring '{path}' is of mode {mode}; known are 0 (discard) and 1 (overwrite)")
            self._mapping = Mapping(fd, size)
        finally:
            os.close(fd)
        self.map = self._mapping.map
        self.pages: int = pages
        self.data: int = data
        self.mode: int = mode

    def let_go(self) -> None:
        """Call when the ring is not written any more."""
        self._mapping.let_go()


def is_ring_size(pages: int) -> bool:
    """Whether a ring may have this many pages."""
    return layout.MIN_RING_PAGES <= pages <= layout.MAX_RING_PAGES and not pages & (pages - 1)
