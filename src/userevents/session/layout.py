"""Every offset, size and bit of the session file and of its ring files. docs/formats/session.md draws them.

All integers are little endian and naturally aligned. One side writes each cache line: the program
its header, declarations and counters; the tracer its line, the words and the answers.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

VERSION: Final = 1
SESSION_MAGIC: Final = b"UEVTSES1"
RING_MAGIC: Final = b"UEVTRNG1"
SESSION_SUFFIX: Final = ".session"
RINGS: Final = "rings"
LOCK_NAME: Final = "tracer.lock"
SOCKET_NAME: Final = "tracer.sock"
NONCE_SIZE: Final = 16

HEADER: Final = Struct("<8sIIIIQQ16sQIIIIIIIIII32s16s496s")
HEADER_SIZE: Final = 1024
FLAG_FORKED: Final = 1
FLAG_LANE: Final = 2
"""A thread's own: of the same process as another session, whose words are looked at instead of this one's."""

PRODUCER_LINE: Final = 704
"""u32 event_count, u32 ring generation in use, u32 text used, u32 leaving, u64 answers not had in time."""
EVENT_COUNT: Final = PRODUCER_LINE
GENERATION_IN_USE: Final = PRODUCER_LINE + 4
TEXT_USED: Final = PRODUCER_LINE + 8
LEAVING: Final = PRODUCER_LINE + 12
"""u32 1 once the program ends by itself: what its reader has taken all of, the reader may take away, too."""
LATE_ANSWERS: Final = PRODUCER_LINE + 16

TRACER_LINE: Final = 768
"""u32 ring generation, u32 ring pages (0: no ring wanted), u32 what the ring does when it is full."""
RING_GENERATION: Final = TRACER_LINE
RING_PAGES: Final = TRACER_LINE + 4
RING_MODE: Final = TRACER_LINE + 8
TRACER_LINE_STRUCT: Final = Struct("<III")
RETIRED: Final = TRACER_LINE + 16
RETIRED_STRUCT: Final = Struct("<QI")
"""u64 records committed in rings that were read to their end and removed, u32 generation of the first ring after."""

WORD_ENABLED: Final = 0x01
WORD_PENDING: Final = 0x80
WORD_ID_SHIFT: Final = 16

COUNTER_SIZE: Final = 64
COUNTERS_PER_EVENT: Final = COUNTER_SIZE // 8
ATTEMPTS: Final = 0
RING_FULL: Final = 1
TOO_LARGE: Final = 2
REENTRY: Final = 3
INVALID: Final = 4
TRACER_GONE: Final = 5
CUT: Final = 6
HOMELESS: Final = 7
"""Attempts of threads for which no ring could be made: attempts, and dropped (tracer gone), counted nowhere else."""
COUNTER_NAMES: Final = ("attempts", "ring_full", "too_large", "reentry", "invalid", "tracer_gone", "cut")
DROP_REASONS: Final = COUNTER_NAMES[1:6]

DECLARATION: Final = Struct("<HH")
"""Before each declaration's text: its length in bytes, its registration flags. Padded to 4."""

FIRST_CAPACITY: Final = 128
MAX_CAPACITY: Final = 32768
TEXT_PER_EVENT: Final = 128

RING_HEAD: Final = 0
RING_OPENING: Final = 8
"""u64 number of the page whose slot is being prepared, or was last: what lay there is gone."""
RING_TAIL: Final = 64
RING_TAIL_OFFSET: Final = 72
RING_READER_WAITING: Final = 80
"""u32 so many unread pages wake the tracer, which sleeps; 0: none do, it looks by itself."""
RING_TAIL_RECORDS: Final = 88
"""u64 records before the tail, in overwrite mode only: there the page that tells may be gone."""
RING_IDENTITY: Final = 128
RING_IDENTITY_STRUCT: Final = Struct("<8sIIIIII16s")
"""magic, version, pages, generation, mode, table offset, data offset, session's nonce."""
MODE_DISCARD: Final = 0
"""A full ring takes nothing until its reader has made room."""
MODE_OVERWRITE: Final = 1
"""The newest page takes the place of the oldest, read or not."""
MODES: Final = (MODE_DISCARD, MODE_OVERWRITE)
RING_TABLE: Final = 4096
RING_TABLE_ENTRY: Final = Struct("<QII")
"""records committed in this ring before the page, CPU the page was opened on, flags."""
PAGE_CPUS_IN_RECORDS: Final = 1
"""Flag of a page: bytes 2-3 of each record's common header hold the CPU it was written on (u16)."""
DEFAULT_RING_PAGES: Final = 512
MIN_RING_PAGES: Final = 16
MAX_RING_PAGES: Final = 16384


def counts_of(raw: Sequence[int]) -> tuple[int, ...]:
    """Return an event's counters in the order of COUNTER_NAMES, given all eight as they are stored."""
    homeless = raw[HOMELESS]
    return (raw[ATTEMPTS] + homeless, *raw[1:TRACER_GONE], raw[TRACER_GONE] + homeless, raw[CUT])


def drops_of(counts: tuple[int, ...]) -> tuple[int, ...]:
    """Return the drops of an event's counts, in the order of DROP_REASONS."""
    return counts[RING_FULL : TRACER_GONE + 1]


def passed_of(counts: tuple[int, ...]) -> int:
    """Return how many attempts of an event's counts were neither dropped nor are in flight."""
    return counts[ATTEMPTS] - sum(drops_of(counts))


class Geometry(NamedTuple):
    """Where the parts of a session of `capacity` events lie, in bytes from its start."""

    capacity: int
    words: int
    answers: int
    counters: int
    text: int
    text_size: int
    size: int


class Header(NamedTuple):
    """The fixed facts at the start of a session file, in the order they are stored."""

    magic: bytes
    version: int
    size: int
    pid: int
    uid: int
    start_time: int
    pid_namespace: int
    nonce: bytes
    created_ns: int
    capacity: int
    words: int
    answers: int
    counters: int
    text: int
    text_size: int
    parent_pid: int
    flags: int
    reserved: int
    reserved2: int
    run: bytes
    comm: bytes
    cmdline: bytes


def geometry(capacity: int) -> Geometry:
    """Return the layout of a session that holds `capacity` events (a multiple of 16)."""
    words = HEADER_SIZE
    answers = words + 4 * capacity
    counters = answers + 4 * capacity
    text = counters + COUNTER_SIZE * capacity
    text_size = TEXT_PER_EVENT * capacity
    size = (text + text_size + 4095) & ~4095
    return Geometry(capacity, words, answers, counters, text, text_size, size)


def ring_data_offset(pages: int) -> int:
    """Return where the data pages of a ring of `pages` pages begin, page aligned."""
    return RING_TABLE + ((pages * RING_TABLE_ENTRY.size + 4095) & ~4095)


def ring_size(pages: int) -> int:
    """Return the bytes of a ring file of `pages` pages."""
    return ring_data_offset(pages) + pages * 4096


def pages_for(size: int) -> int:
    """Return the pages of the smallest ring that holds `size` bytes, or of the largest there is."""
    wanted = max((size + 4095) // 4096, MIN_RING_PAGES)
    return min(1 << (wanted - 1).bit_length(), MAX_RING_PAGES)


def session_nonce(name: str) -> str:
    """Return the nonce (hex) in the name of a session file."""
    return name.removesuffix(SESSION_SUFFIX).partition("-")[2]


def ring_name(session_name: str, generation: int) -> str:
    """Return the name of a session's ring file, relative to the runtime directory."""
    stem = session_name.removesuffix(SESSION_SUFFIX)
    return f"{RINGS}/{stem}.{generation}"
