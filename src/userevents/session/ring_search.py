"""Finding places in a ring: its end, the end of its first so many records, the first record of a time.

The program may be writing, and in overwrite mode taking pages away: each answer was true at one moment of the call.
"""

from struct import Struct

from ..abi.ring_buffer import PAGE_HEADER_SIZE
from ..buffer.page import record_end, records, walk
from ..errors import Malformed
from .ring_file import Position, RingFile

_PAGE_HEAD = Struct("<QQ")
_TRIES = 100
_NOT_YET = 1 << 64


def end_of(ring: RingFile) -> tuple[Position, int]:
    """Return the position behind all that is committed, and how many records lie before it."""
    for _ in range(_TRIES):
        seq = ring.head()
        before, page = ring.entry(seq)[0], ring.page(seq)
        if ring.first_intact() <= seq:
            return Position(seq, len(page) - PAGE_HEADER_SIZE), before + sum(1 for _ in records(page))
    raise _too_quick(ring)


def place_after(ring: RingFile, count: int) -> Position:
    """Return the position behind the first `count` records, or the end where fewer are committed."""
    for _ in range(_TRIES):
        seq, oldest = ring.head(), ring.first_intact()
        if seq > oldest + ring.pages:
            break
        while seq > oldest and ring.entry(seq)[0] > count:
            seq -= 1
        wanted = count - ring.entry(seq)[0]
        data = ring.page(seq)[PAGE_HEADER_SIZE:]
        if ring.first_intact() <= seq:
            starts = walk(data, 0).starts
            if wanted >= len(starts):
                return Position(seq, len(data))
            return Position(seq, record_end(data, starts[wanted - 1]) if wanted > 0 else 0)
    raise _too_quick(ring)


def skip(ring: RingFile) -> None:
    """Move a ring's position to the end of what is committed, as if all had been read."""
    ring.position, ring.passed = end_of(ring)


def seek_time(cursor: RingFile, since_ns: int) -> int:
    """Move a cursor on to the first record of `since_ns` or later; return how many records that leaves out.

    These may be taken away meanwhile: only the page with the answer must still be there in the end.
    """
    for _ in range(_TRIES):
        head = cursor.catch_up()
        first = cursor.position
        if _time_of(cursor, first.seq) > since_ns and cursor.first_intact() <= first.seq:
            return 0
        seq = _page_of(cursor, first.seq, head, since_ns)
        passed, offset = (cursor.passed, first.offset) if seq == first.seq else (cursor.entry(seq)[0], 0)
        page = cursor.page(seq)
        if cursor.first_intact() > seq:
            continue
        data = page[PAGE_HEADER_SIZE:]
        found = walk(data, _PAGE_HEAD.unpack_from(page)[0])
        older = [at for ts, at in zip(found.times, found.starts, strict=True) if ts < since_ns and at >= offset]
        if older:
            passed, offset = passed + len(older), record_end(data, older[-1])
        skipped = passed - cursor.passed
        cursor.move_to(Position(seq, offset), passed)
        return skipped
    raise _too_quick(cursor)


def _page_of(ring: RingFile, first: int, head: int, since_ns: int) -> int:
    """Return the number of the last page that begins at `since_ns` or before, or was taken away; `first` if none."""
    while first < head:
        middle = (first + head + 1) // 2
        if _time_of(ring, middle) <= since_ns or ring.first_intact() > middle:
            first = middle
        else:
            head = middle - 1
    return first


def _time_of(ring: RingFile, seq: int) -> int:
    """Return the time of a page's first record; that of an empty page is yet to come."""
    ts, commit = _PAGE_HEAD.unpack(ring.page(seq)[:PAGE_HEADER_SIZE])
    return ts if commit else _NOT_YET


def _too_quick(ring: RingFile) -> Malformed:
    return Malformed(ring.path, "takes its pages away before they can be looked at")
