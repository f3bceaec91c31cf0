"""`Cursor.put` once more, as source: the usual case, to be written into a function of an event's own.

Usual is a short record that fits the page, soon after the one before it, while nobody has the writer's lock. All else
is `Writer.commit`'s.

No lock is taken. With a GIL, CPython runs other threads and signal handlers only after a call, at a backward jump and
at a function's entry (and trace functions between lines): `RESERVE` and `COMMIT` are a line each, with one call between
them, the packing, which runs no code of the program's where the values are numbers, str and bytes of Python's own. It
writes behind the committed bytes, where nobody looks. Whoever comes in then takes the place for himself, which he
marks by a ticket of his own: who does not find his own again has lost his bytes, and has counted nothing yet.
"""

import sys
from time import monotonic_ns
from typing import Any, Final

from ..abi.ring_buffer import DELTA_BITS, TYPE_LEN_BITS
from . import cursor
from .layout import COUNTERS_PER_EVENT
from .writer import Writer

CLOCK: Final = """\
_ue_now = _ue_clock()
_ue_at = _ue_cursor
"""
"""Before `RESERVE`. The time as an object is the ticket: while it is kept here, no other has its identity."""

RESERVE: Final = f"""\
if not ((_ue_delta := _ue_now - _ue_at._last) >> {DELTA_BITS} \
or (_ue_end := (_ue_off := _ue_at._off) + _ue_size) > {cursor.ROOM + 4} or _ue_writer.owner): \
_ue_at._ticket = _ue_now; \
_ue_pack(_ue_at._page, _ue_off, _ue_words4 + _ue_delta * {1 << TYPE_LEN_BITS}, {{values}})\
{"; _ue_fence()" if cursor.WEAKLY_ORDERED else ""}
"""
"""Puts `values` and the header before them where the next record goes; `_ue_size` bytes with it,
`_ue_words4` words without.

Python's interpreter adds and multiplies ints faster than it shifts and joins them.

A negative difference, of a thread that waited since it read the clock, is as unusual as one too large: shifted, neither
is 0. The first record of a page follows time 0, so that it never comes here.
"""

COMMIT: Final = """\
if _ue_at._ticket is _ue_now: \
_ue_counters[_ue_slot] = _ue_attempts[_ue_index] = _ue_attempts[_ue_index] + 1; _ue_at._q[_ue_at._commit] = _ue_end; \
_ue_at._off = _ue_end; _ue_at._last = _ue_now; _ue_at._count += 1; return
"""
"""Counts and commits what `RESERVE` put there, and returns; goes on if there was nothing put, or it is lost."""

_SERVES: Final = "t" not in sys.abiflags
_NO_CURSOR: Final = cursor.Cursor(memoryview(b"").cast("I"), memoryview(b"").cast("Q"))
"""Here no record ever fits."""


def serves(writer: object) -> bool:
    """Whether what this writer writes can be written inline: its cursor is Python's, and there is a GIL."""
    return _SERVES and isinstance(writer, Writer) and type(writer.cursor) is cursor.Cursor


def settle(space: dict[str, Any], writer: object, index: int) -> None:
    """Put into `space` what the lines find there; with a writer that does not serve, they find that nothing fits."""
    place = {"_ue_writer": writer, "_ue_cursor": _NO_CURSOR, "_ue_clock": monotonic_ns}
    if isinstance(writer, Writer) and serves(writer):
        place |= {
            "_ue_cursor": writer.cursor,
            "_ue_counters": writer.counters,
            "_ue_slot": index * COUNTERS_PER_EVENT,
            "_ue_attempts": writer.attempts,
            "_ue_index": index,
            "_ue_fence": cursor.fence,
        }
    space.update(place)
