"""Reading perf.data files with tracepoint samples, of perf record and ours: an index first, then a piece at a time.

Samples come per CPU in order of time, the CPUs' pieces one behind the other; so the file is cut into pieces, each known
by its earliest time, and pieces are opened in that order. Whatever the bytes say ends in a trace or in `Malformed`.
"""

from array import array
from collections.abc import Iterator
from struct import Struct, unpack_from
from typing import Final, NamedTuple

from ..buffer.run import ANY, Run
from ..errors import Malformed
from . import perfdata as layout
from .cursor import Cursor, ReadAt
from .tracedat_parts import Descriptions

MAX_ATTRS: Final = 65536
MAX_IDS: Final = 1 << 20
"""Of all attrs together: each may claim the same place of the file."""
MAX_NOTES: Final = 100
_PIECE: Final = 1 << 17
_FIXED: Final = (
    layout.SAMPLE_IDENTIFIER, layout.SAMPLE_IP, layout.SAMPLE_TID, layout.SAMPLE_TIME, layout.SAMPLE_ADDR,
    layout.SAMPLE_ID, layout.SAMPLE_STREAM_ID, layout.SAMPLE_CPU, layout.SAMPLE_PERIOD,
)  # fmt: skip
"""Parts of a sample of 8 bytes each, in their order."""
_AT_END: Final = (
    layout.SAMPLE_TID, layout.SAMPLE_TIME, layout.SAMPLE_ID, layout.SAMPLE_STREAM_ID, layout.SAMPLE_CPU,
    layout.SAMPLE_IDENTIFIER,
)  # fmt: skip
"""Parts of what stands at the end of records that are no samples."""
_NEEDED: Final = layout.SAMPLE_TID | layout.SAMPLE_TIME | layout.SAMPLE_RAW
_PAIR: Final = Struct("<II")
_U64: Final = Struct("<Q")
_RECORD: Final = layout.RECORD
_DELTA_MAX: Final = (1 << 27) - 1
_TIME_MAX: Final = 1 << 62


class Shape(NamedTuple):
    """Where the parts of a sample stand, from its first byte; -1: nowhere. `trailer`: the size of others' ends."""

    tid: int
    time: int
    cpu: int
    identifier: int
    fixed_end: int
    read_format: int
    has_callchain: bool
    has_raw: bool
    trailer: int
    trailer_cpu: int


def shape_of(sample_type: int, read_format: int) -> Shape:
    """Return where the parts of the samples of one kind stand."""
    places: dict[int, int] = {}
    at = 0
    for part in _FIXED:
        if sample_type & part:
            places[part] = at
            at += 8
    trailer = [part for part in _AT_END if sample_type & part]
    size = 8 * len(trailer)
    return Shape(
        tid=places.get(layout.SAMPLE_TID, -1),
        time=places.get(layout.SAMPLE_TIME, -1),
        cpu=places.get(layout.SAMPLE_CPU, -1),
        identifier=places.get(layout.SAMPLE_IDENTIFIER, places.get(layout.SAMPLE_ID, -1)),
        fixed_end=at,
        read_format=read_format if sample_type & layout.SAMPLE_READ else -1,
        has_callchain=bool(sample_type & layout.SAMPLE_CALLCHAIN),
        has_raw=bool(sample_type & layout.SAMPLE_RAW),
        trailer=size,
        trailer_cpu=8 * trailer.index(layout.SAMPLE_CPU) - size if layout.SAMPLE_CPU in trailer else 0,
    )


def _raw(data: bytes, at: int, end: int, shape: Shape) -> bytes:
    """Return the raw data of a sample with its body from `at` to `end`; empty if there is none that makes sense."""
    at += shape.fixed_end
    if shape.read_format >= 0:
        at += _read_size(data, at, end, shape.read_format)
    if shape.has_callchain:
        if at + 8 > end:
            return b""
        at += 8 + 8 * _U64.unpack_from(data, at)[0]
    if not shape.has_raw or at + 4 > end:
        return b""
    size = int.from_bytes(data[at : at + 4], "little")
    return data[at + 4 : at + 4 + size] if at + 4 + size <= end else b""


def _read_size(data: bytes, at: int, end: int, read_format: int) -> int:
    """Return the bytes that a counter's value takes: one of them, or a group's (PERF_FORMAT_GROUP, 1 << 3)."""
    times = (read_format & 1) + (read_format >> 1 & 1)
    each = 1 + (read_format >> 2 & 1) + (read_format >> 4 & 1)
    if not read_format & 8:
        return 8 * (times + each)
    number = _U64.unpack_from(data, at)[0] if at + 8 <= end else end
    return int(8 * (1 + times + number * each))


class PerfData(Descriptions):
    """An opened perf.data file; `cmdlines` are the names of threads. Raises `Malformed` for what cannot be read."""

    def __init__(self, read_at: ReadAt, size: int, name: str) -> None:
        super().__init__(name)
        self._read_at = read_at
        self.size = size
        self.notes: list[str] = []
        self.clock = "perf"
        self.header: dict[str, object] = {}
        self.lost = 0
        self.pids: dict[int, int] = {}
        self._ids = 0
        self._shapes: dict[int, Shape | None] = {}
        self._shape: Shape | None = None
        self._piece_start = array("Q")
        self._piece_size = array("Q")
        self._piece_since = array("Q")
        cursor = Cursor(read_at, 0, size, name)
        head = cursor.take(layout.HEADER.size, "its header") if size >= layout.HEADER.size else b""
        if not head or unpack_from("<Q", head, 8)[0] != layout.HEADER.size:
            raise Malformed(
                name, "is no perf.data file in file mode (one that was written to a pipe cannot be read)", 8
            )
        (_, _, attr_size, attrs_at, attrs_size, data_at, data_size, _, _, *features) = layout.HEADER.unpack(head)
        self._read_attrs(self._part(attrs_at, attrs_size, "its attrs"), attr_size)
        if data_at > size or data_size > size - data_at:
            self.notes.append(f"the file is cut: its data ends at byte {data_at + data_size}, the file at {size}")
            data_size = max(size - data_at, 0)
        self._read_features(data_at + data_size, sum(word << 64 * at for at, word in enumerate(features)))
        self.data_size = data_size
        self._index(data_at, data_at + data_size)

    def _part(self, at: int, size: int, what: str) -> Cursor:
        if at > self.size or size > self.size - at:
            raise Malformed(self.name, f"is cut: {what} claims bytes {at} to {at + size} of {self.size}", at)
        return Cursor(self._read_at, at, at + size, self.name)

    def _read_attrs(self, cursor: Cursor, entry: int) -> None:
        """Read what kinds of samples there are, and by which ids they go."""
        if not 64 + 16 <= entry <= 4096:
            raise Malformed(self.name, f"claims attrs of {entry} bytes", 16)
        number = (cursor.end - cursor.at) // entry
        if number > MAX_ATTRS:
            raise Malformed(self.name, f"claims {number} attrs, more than {MAX_ATTRS}", cursor.at)
        kinds = set()
        for _ in range(number):
            at = cursor.at
            attr = cursor.take(entry, "an attr")
            kind, _, _, _, sample_type, read_format, flags = unpack_from("<IIQQQQQ", attr)
            is_tracepoint = kind == layout.TYPE_TRACEPOINT
            if is_tracepoint and sample_type & _NEEDED != _NEEDED:
                raise Malformed(
                    self.name, f"has tracepoint samples without thread, time or data ({sample_type:#x})", at
                )
            kinds.add((sample_type, read_format))
            ids_at, ids_size = unpack_from("<QQ", attr, entry - 16)
            self._read_ids(
                self._part(ids_at, ids_size, "the ids of an attr"),
                shape_of(sample_type, read_format) if is_tracepoint else None,
            )
            if is_tracepoint and flags & layout.FLAG_CLOCKID and entry >= 96 + 16:
                self.clock = layout.CLOCKS.get(unpack_from("<i", attr, 92)[0], self.clock)
        if len(kinds) == 1:
            self._shape = shape_of(*kinds.pop())
        elif any(shape and shape.identifier != 0 for shape in self._shapes.values()):
            raise Malformed(self.name, "has samples of several kinds that do not say which they are", cursor.end)
        if not number:
            raise Malformed(self.name, "holds no events: it has no attrs", cursor.at)

    def _read_ids(self, cursor: Cursor, shape: Shape | None) -> None:
        count = (cursor.end - cursor.at) // 8
        self._ids += count
        if self._ids > MAX_IDS:
            raise Malformed(self.name, f"claims {self._ids} ids or more, more than {MAX_IDS}", cursor.at)
        for (number,) in _U64.iter_unpack(cursor.take(8 * count, "the ids of an attr")):
            self._shapes[number] = shape

    def _read_features(self, table: int, bits: int) -> None:
        """Read what the file says of the machine, and the events' formats."""
        numbers = [bit for bit in range(256) if bits >> bit & 1]
        if table + 16 * len(numbers) > self.size:
            raise Malformed(self.name, f"is cut: its table of features at byte {table} is not all there", table)
        cursor = Cursor(self._read_at, table, self.size, self.name)
        for bit in numbers:
            at, size = cursor.u64("a feature"), cursor.u64("a feature")
            if bit == layout.FEATURE_TRACING_DATA:
                self._read_tracing_data(self._part(at, size, "the events' formats"))
            elif bit in _FEATURES and at + size <= self.size and size < 1 << 20:
                key, form = _FEATURES[bit]
                body = self._read_at(at, size)
                self.header.update({key: form(body)} if key else _clock_data(body))
        if not self.formats:
            raise Malformed(self.name, "holds no tracepoints: record some with perf record -e SYSTEM:EVENT", table)

    def _read_tracing_data(self, cursor: Cursor) -> None:
        cursor.expect(b"\x17\x08\x44tracing", "the events' formats")
        version = cursor.name_text("the version of the events' formats")
        endian, long_size = cursor.take(2, "its byte order")
        if endian or long_size != 8:
            raise Malformed(
                self.name,
                f"comes from another kind of machine (byte order {endian}, {long_size}-byte long)",
                cursor.at - 2,
            )
        cursor.u32("its page size")
        self._read_headers(cursor)
        self._read_ftrace(cursor)
        self._read_events(cursor)
        cursor.skip(cursor.u32("the size of kallsyms"), "kallsyms")
        cursor.skip(cursor.u32("the size of the printk formats"), "the printk formats")
        if version >= "0.6" and cursor.end - cursor.at >= 8:
            self._read_cmdlines(cursor)

    # The data: an index of pieces, then each when its time has come.

    def _index(self, at: int, end: int) -> None:
        """Cut the data into pieces, and note each one's earliest time."""
        while at < end:
            data = self._read_at(at, min(_PIECE + (1 << 16), end - at))
            place, since = 0, _TIME_MAX
            while place < _PIECE:
                if place + _RECORD.size > len(data):
                    break
                kind, _, size = _RECORD.unpack_from(data, place)
                if size < _RECORD.size or place + size > len(data):
                    self._note(f"the data makes no sense at byte {at + place}: what follows is not in the trace")
                    end = at + place
                    break
                if kind == layout.RECORD_SAMPLE:
                    since = min(since, self._time_of(data, place + _RECORD.size, place + size))
                else:
                    self._read_other(kind, data, place, place + size)
                place += size
            if since < _TIME_MAX:
                self._piece_start.append(at)
                self._piece_size.append(place)
                self._piece_since.append(since)
            if not place:
                break
            at += place

    def _time_of(self, data: bytes, at: int, end: int) -> int:
        shape = self._shape_of(data, at, end)
        if shape is None or at + shape.fixed_end > end:
            return _TIME_MAX
        return int(_U64.unpack_from(data, at + shape.time)[0])

    def _shape_of(self, data: bytes, at: int, end: int) -> Shape | None:
        """Return the shape of a sample; None for one of no tracepoint."""
        shape = self._shape
        if shape is not None and (shape.identifier < 0 or not self._shapes):
            return shape
        place = at + (shape.identifier if shape else 0)
        if place + 8 > end:
            return None
        return self._shapes.get(_U64.unpack_from(data, place)[0])

    def _read_other(self, kind: int, data: bytes, at: int, end: int) -> None:
        """Take the names of threads and the counts of what was lost from records that are no samples."""
        if kind == layout.RECORD_COMM and end - at >= _RECORD.size + 9:
            _, tid = _PAIR.unpack_from(data, at + _RECORD.size)
            name = data[at + _RECORD.size + 8 : end].partition(b"\0")[0]
            if len(self.cmdlines) < 1 << 20:
                self.cmdlines[tid] = name.decode("utf-8", "backslashreplace")
        elif kind == layout.RECORD_LOST and end - at >= _RECORD.size + 16:
            self.lost += _U64.unpack_from(data, at + _RECORD.size + 8)[0]
        elif kind == layout.RECORD_LOST_SAMPLES and end - at >= _RECORD.size + 8:
            self.lost += _U64.unpack_from(data, at + _RECORD.size)[0]
        elif kind == layout.RECORD_COMPRESSED:
            self._note("it has compressed records, which are not read: record without -z")

    def _note(self, text: str) -> None:
        if text not in self.notes and len(self.notes) < MAX_NOTES:
            self.notes.append(text)

    def runs(self, only: int = ANY) -> Iterator[Run]:
        """Yield the samples in runs, each of one CPU, in the order of their earliest times."""
        for number in sorted(range(len(self._piece_since)), key=self._piece_since.__getitem__):
            start, size = self._piece_start[number], self._piece_size[number]
            data = self._read_at(start, size)
            if len(data) != size:
                raise Malformed(self.name, "became shorter while it was read", start)
            found = _Piece(self, data)
            yield from sorted(found.runs(self._piece_since[number], only), key=lambda run: run.cpu)


class _Piece:
    """One piece of the data: its samples by CPU."""

    def __init__(self, file: PerfData, data: bytes) -> None:
        self._file = file
        self._data = data
        self._by_cpu: dict[int, list[tuple[int, bytes]]] = {}
        self._missed: dict[int, int] = {}
        self._done: list[tuple[int, int, list[tuple[int, bytes]]]] = []
        at = 0
        while at + _RECORD.size <= len(data):
            kind, _, size = _RECORD.unpack_from(data, at)
            if kind == layout.RECORD_SAMPLE:
                self._add(at + _RECORD.size, at + size)
            elif kind == layout.RECORD_LOST:
                self._cut(at, at + size)
            at += size

    def _add(self, at: int, end: int) -> None:
        file, data = self._file, self._data
        shape = file._shape_of(data, at, end)
        if shape is None:
            return
        raw = _raw(data, at, end, shape)
        if len(raw) < 8:
            if len(raw) or shape.has_raw:
                file._note("some samples have no data, or too little: they are left out")
            return
        time = _U64.unpack_from(data, at + shape.time)[0]
        pid, tid = _PAIR.unpack_from(data, at + shape.tid)
        if len(file.pids) < 1 << 20:
            file.pids[tid] = pid
        cpu = _PAIR.unpack_from(data, at + shape.cpu)[0] if shape.cpu >= 0 else 0
        if cpu >= layout.MAX_CPUS or time >= _TIME_MAX:
            file._note("some samples have a CPU or a time out of range: they are left out")
            return
        self._by_cpu.setdefault(cpu, []).append((time, raw))

    def _cut(self, at: int, end: int) -> None:
        """Begin a new run where samples were lost, if the record says on which CPU."""
        shape = self._file._shape or next((each for each in self._file._shapes.values() if each), None)
        if shape is None or not shape.trailer_cpu or end - at < _RECORD.size + 16 + shape.trailer:
            return
        cpu = _PAIR.unpack_from(self._data, end + shape.trailer_cpu)[0]
        if cpu in self._by_cpu:
            self._done.append((cpu, self._missed.pop(cpu, 0), self._by_cpu.pop(cpu)))
        if cpu < layout.MAX_CPUS:
            lost = _U64.unpack_from(self._data, at + _RECORD.size + 8)[0]
            self._missed[cpu] = min(self._missed.get(cpu, 0) + max(lost, 1), _TIME_MAX)

    def runs(self, since: int, only: int) -> Iterator[Run]:
        for cpu, missed, samples in [
            *self._done, *((cpu, self._missed.get(cpu, 0), samples) for cpu, samples in self._by_cpu.items())
        ]:  # fmt: skip
            run = Run(_encoded(samples, since), since, cpu, None, only)
            run.has_gap, run.missed = bool(missed), missed
            yield run


def _encoded(samples: list[tuple[int, bytes]], since: int) -> bytes:
    """Return samples as the data of a ring buffer's page, however long, which is what all else reads."""
    samples.sort(key=lambda sample: sample[0])
    pieces = []
    for time, raw in samples:
        delta = time - since
        since = time
        if delta > _DELTA_MAX:
            pieces.append(_PAIR.pack((delta & _DELTA_MAX) << 5 | 30, (delta >> 27) & 0xFFFFFFFF))
            delta = 0
        size = len(raw) + 3 & ~3
        if size <= 112:
            pieces += (((delta << 5) | size >> 2).to_bytes(4, "little"), raw.ljust(size, b"\0"))
        else:
            pieces += (_PAIR.pack(delta << 5, size + 4), raw.ljust(size, b"\0"))
    return b"".join(pieces)


def _text(body: bytes) -> str:
    return body[4:].partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _clock_data(body: bytes) -> dict[str, object]:
    """Return one moment in the trace's clock and in real time (HEADER_CLOCK_DATA)."""
    if len(body) < 24:
        return {}
    _, _, real_ns, clock_ns = unpack_from("<IIQQ", body)
    return {"real_ns": real_ns, "mono_ns": clock_ns} if clock_ns and real_ns else {}


_FEATURES: Final = {
    layout.FEATURE_HOSTNAME: ("host", _text),
    layout.FEATURE_OSRELEASE: ("release", _text),
    layout.FEATURE_ARCH: ("machine", _text),
    layout.FEATURE_NRCPUS: ("cpus", lambda body: int.from_bytes(body[4:8], "little")),
    layout.FEATURE_CLOCK_DATA: ("", _text),
}
