"""The recording stream: what a tracer hands to a recorder, and what stands in a raw recording file (FILE.part).

16 bytes of start, then frames, each a whole number of 8-byte words, so that a file cut anywhere is read up to
its last whole frame. docs/formats/recording.md draws every byte. Packing gives bytes; reading asks the
caller for bytes at an offset, so that files of any size are read with little memory.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from struct import Struct
from types import MappingProxyType
from typing import Final, NamedTuple

from ..abi.ring_buffer import PAGE_DATA_SIZE, PAGE_HEADER_SIZE, PAGE_SIZE
from ..errors import Malformed

MAGIC: Final = b"UEVTREC1"
VERSION: Final = 1
START: Final = Struct("<8sII")
FRAME: Final = Struct("<IHHII")
"""size of the whole frame (a multiple of 8), type, flags (0), stream, payload bytes before the padding."""
PART: Final = Struct("<IHHQQII")
"""ring generation, cpu, flags, seq, ts (ns), offset, length; `length` bytes of page data follow."""
_PART_FRAME: Final = Struct("<IHHIIIHHQQII")
RUN: Final = Struct("<IIQ")
"""ring generation, pages, seq of the first; a table entry for each follows, then the whole pages."""
_RUN_ENTRY: Final = Struct("<QII")
"""records before the page, cpu, flags: as in the ring's page table (docs/formats/session.md)."""
_RUN_PAGE: Final = _RUN_ENTRY.size + PAGE_SIZE
_PAGE_HEAD: Final = Struct("<QQ")

HEADER: Final = 1
STREAM: Final = 2
EVENT: Final = 3
PAGE_PART: Final = 4
LEDGER: Final = 5
THREADS: Final = 6
END: Final = 7
NOTE: Final = 8
PAGE_RUN: Final = 9
HOST: Final = 10
CLOCK: Final = 11
BATCH: Final = 12
FLEET: Final = 13
RULE: Final = 14

PART_CONTINUES: Final = 1
"""Flag of a part: the first of its page that was recorded, but not the first of the page."""
PART_CPUS: Final = 2
"""Flag of a part: bytes 2-3 of each record's common header hold the CPU it was written on, and are to be zeroed."""
RUN_CPUS: Final = 1
"""Flag of a page in a run: what PART_CPUS says of a part."""

MAX_FRAME_SIZE: Final = 1 << 26
MAX_FACTS_SIZE: Final = 1 << 23
_CHUNK: Final = 1 << 18
_NO_FACTS: Final[Mapping[str, object]] = MappingProxyType({})


def pack_start() -> bytes:
    """Return the 16 bytes a recording stream begins with."""
    return START.pack(MAGIC, VERSION, 0)


def pack_frame(kind: int, stream: int, payload: bytes) -> bytes:
    """Return one frame, padded with zeros to a multiple of 8 bytes."""
    used = len(payload)
    padding = -used & 7
    return FRAME.pack(FRAME.size + used + padding, kind, 0, stream, used) + payload + bytes(padding)


def _pack_json(kind: int, stream: int, facts: Mapping[str, object]) -> bytes:
    return pack_frame(kind, stream, json.dumps(facts, separators=(",", ":")).encode())


def pack_header(facts: Mapping[str, object]) -> bytes:
    """Return the HEADER frame: clock, mono_ns and real_ns of one moment, host, release, cpus, command, tracer_pid."""
    return _pack_json(HEADER, 0, {"version": VERSION, "clock": "mono", **facts})


def pack_stream(stream: int, facts: Mapping[str, object]) -> bytes:
    """Return the STREAM frame that opens session number `stream`: pid, start_time, comm, cmdline, nonce."""
    return _pack_json(STREAM, stream, facts)


def pack_event(stream: int, facts: Mapping[str, object]) -> bytes:
    """Return an EVENT frame: id, name, system, fields, enabled, error, for the records of one stream."""
    return _pack_json(EVENT, stream, facts)


def pack_part(
    stream: int, generation: int, cpu: int, seq: int, ts_ns: int, offset: int, data: bytes, *, flags: int = 0
) -> bytes:
    """Return a PART frame: `data` stands at `offset` of the data of page number `seq` of a ring."""
    return pack_frame(PAGE_PART, stream, PART.pack(generation, cpu, flags, seq, ts_ns, offset, len(data)) + data)


def pack_run(stream: int, generation: int, seq: int, table: bytes | memoryview, pages: bytes | memoryview) -> bytes:
    """Return a PAGE_RUN frame: whole pages of a ring, the first of them number `seq`, as they lie there."""
    used = RUN.size + len(table) + len(pages)
    head = FRAME.pack(FRAME.size + used, PAGE_RUN, 0, stream, used)
    return b"".join((head, RUN.pack(generation, len(pages) // PAGE_SIZE, seq), table, pages))


def pack_ledger(stream: int, facts: Mapping[str, object]) -> bytes:
    """Return a LEDGER frame: what one stream counted within this recording so far."""
    return _pack_json(LEDGER, stream, facts)


def pack_threads(stream: int, names: Mapping[int, str]) -> bytes:
    """Return a THREADS frame: the names of a stream's threads, by thread id."""
    return _pack_json(THREADS, stream, {str(tid): name for tid, name in names.items()})


def pack_end(reason: str, mono_ns: int, facts: Mapping[str, object] = _NO_FACTS) -> bytes:
    """Return the END frame, the last of a recording that was ended; `facts` are those of a window (since_ns, ...)."""
    return _pack_json(END, 0, {"reason": reason, "mono_ns": mono_ns, **facts})


def pack_rule(facts: Mapping[str, object]) -> bytes:
    """Return a RULE frame: a flight rule that held: rule, mono_ns, what, pid, comm, count."""
    return _pack_json(RULE, 0, facts)


def pack_note(text: str) -> bytes:
    """Return a NOTE frame: a warning for the person who reads the trace."""
    return _pack_json(NOTE, 0, {"text": text})


def pack_host(scope: int, facts: Mapping[str, object]) -> bytes:
    """Return the HOST frame that opens number `scope`, one run of a host's agent: name, number, incarnation."""
    return _pack_json(HOST, scope, facts)


def pack_clock(scope: int, here_ns: int, there_ns: int, uncertainty_ns: int) -> bytes:
    """Return a CLOCK frame: at `here_ns` of the recording's clock a host's showed `there_ns`, give or take."""
    return _pack_json(CLOCK, scope, {"here_ns": here_ns, "there_ns": there_ns, "uncertainty_ns": uncertainty_ns})


def pack_batch(scope: int, facts: Mapping[str, object]) -> bytes:
    """Return a BATCH frame: the frames up to the next one are a host's own; seq, and what is missing before them."""
    return _pack_json(BATCH, scope, facts)


def pack_fleet(stream: int, records: Mapping[int, int]) -> bytes:
    """Return a FLEET frame: how many of a session's records, by event id, its host had to drop here."""
    return _pack_json(FLEET, stream, {"records": {str(event): count for event, count in records.items()}})


class Frame(NamedTuple):
    """One frame other than a PART: `used` payload bytes stand at `start` of the stream."""

    kind: int
    stream: int
    start: int
    used: int


class Part(NamedTuple):
    """One PART frame, or one page of a run: `length` bytes of page data stand at `start` of the recording stream."""

    stream: int
    generation: int
    cpu: int
    flags: int
    seq: int
    ts: int
    offset: int
    length: int
    start: int


class FrameReader:
    """Reads the frames of a recording stream, from the first to the last whole one.

    `read_at(offset, size)` gives bytes of the stream (fewer only at its end) and `size` is its length. A
    stream that is none, or of another version, raises `Malformed` at once. A stream that is cut or damaged
    later ends the iteration: `problem` then says what stands there, and `read_to` how far it was read.
    """

    def __init__(self, read_at: Callable[[int, int], bytes], size: int, name: str = "recording") -> None:
        self._read_at = read_at
        self.size = size
        self.name = name
        self.problem = ""
        self.read_to = START.size
        start = read_at(0, START.size)
        if len(start) < START.size:
            raise Malformed(name, f"has {len(start)} bytes; a recording begins with {START.size}", len(start))
        magic, version, _ = START.unpack(start)
        if magic != MAGIC:
            raise Malformed(name, f"begins with {magic!r}, a recording with {MAGIC!r}", 0)
        if version != VERSION:
            raise Malformed(
                name, f"is a recording of version {version}, and this userevents reads version {VERSION}", 8
            )

    @classmethod
    def of(cls, data: bytes, name: str = "recording") -> "FrameReader":
        """Read a whole stream that is in memory."""
        return cls(lambda offset, size: data[offset : offset + size], len(data), name)

    def __iter__(self) -> Iterator[Frame | Part]:
        """Yield each frame in turn; the bytes of a PART's data are not read."""
        base, chunk, need = 0, b"", _PART_FRAME.size
        at = START.size
        while at < self.size:
            self.read_to = at
            here = at - base
            if here + need > len(chunk):
                base, here, chunk = at, 0, self._read_at(at, _CHUNK)
            frame, size = self._frame(chunk, here, at)
            if frame is None:
                return
            if isinstance(frame, Frame) and frame.kind == PAGE_RUN:
                yield from self._pages(frame)
            else:
                yield frame
            at += size
        self.read_to = at

    def _frame(self, chunk: bytes, here: int, at: int) -> tuple[Frame | Part | None, int]:
        """Return the frame at `here` of a chunk (`at` of the stream) and its size, or None and set `problem`."""
        if here + FRAME.size > len(chunk):
            self.problem = f"is cut inside a frame's head at byte {at}"
            return None, 0
        size, kind, _flags, stream, used = FRAME.unpack_from(chunk, here)
        if size & 7 or used > size - FRAME.size or not FRAME.size <= size <= MAX_FRAME_SIZE:
            self.problem = f"has no frame at byte {at} (size {size}, {used} used)"
            return None, 0
        if at + size > self.size:
            self.problem = f"is cut inside a frame at byte {at} ({self.size - at} of {size} bytes)"
            return None, 0
        if kind != PAGE_PART:
            return Frame(kind, stream, at + FRAME.size, used), size
        if used >= PART.size and here + _PART_FRAME.size <= len(chunk):
            *_, generation, cpu, flags, seq, ts, offset, length = _PART_FRAME.unpack_from(chunk, here)
            if length == used - PART.size and offset + length <= PAGE_DATA_SIZE and not (offset | length) & 3:
                start = at + _PART_FRAME.size
                return Part(stream, generation, cpu, flags, seq, ts, offset, length, start), size
        self.problem = f"has a damaged page part at byte {at}"
        return None, 0

    def _pages(self, frame: Frame) -> Iterator[Part]:
        """Yield the pages of a run as parts; one that claims nonsense has no length."""
        payload = self.payload(frame)
        generation, count, seq = RUN.unpack_from(payload) if len(payload) >= RUN.size else (0, 0, 0)
        if len(payload) != RUN.size + count * _RUN_PAGE:
            yield Part(frame.stream, generation, 0, 0, seq, 0, 0, 0, frame.start)
            return
        first = RUN.size + count * _RUN_ENTRY.size
        for number in range(count):
            _, cpu, flags = _RUN_ENTRY.unpack_from(payload, RUN.size + number * _RUN_ENTRY.size)
            at = first + number * PAGE_SIZE
            ts, length = _PAGE_HEAD.unpack_from(payload, at)
            if not length:
                continue
            if length > PAGE_DATA_SIZE or length & 3:
                length = 0
            start = frame.start + at + PAGE_HEADER_SIZE
            part_flags = PART_CPUS if flags & RUN_CPUS else 0
            yield Part(frame.stream, generation, min(cpu, 0xFFFF), part_flags, seq + number, ts, 0, length, start)

    def payload(self, frame: Frame) -> bytes:
        """Return a frame's payload."""
        return self._read_at(frame.start, frame.used)

    def facts(self, frame: Frame) -> dict[str, object] | None:
        """Return a frame's JSON object, or None if its payload is none, or too long for one."""
        if frame.used > MAX_FACTS_SIZE:
            return None
        try:
            facts = json.loads(self.payload(frame))
        except (ValueError, RecursionError):
            return None
        return facts if isinstance(facts, dict) else None
