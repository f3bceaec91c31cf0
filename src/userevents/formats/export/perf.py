"""perf.data of tracepoint samples, for `perf script` and `perf report`: one sample a record, its bytes as recorded.

Source: perf.data-file-format (linux tools/perf/Documentation) and perf_event_open(2); docs/formats/export.md.
"""

from collections.abc import Iterator
from struct import Struct, pack
from typing import Final

from ...abi.ring_buffer import PAGE_SIZE
from .. import facts
from .. import perfdata as layout
from .. import transcode as steps
from ..decoder import Decoder
from ..naming import Names
from ..output import OutputFile
from ..stock_text import cmdlines, headers, sized, stock_format, stock_name
from ..transcode import Coding, Piece, Step, literal, step
from .job import Job

_LOST: Final = Struct("<IHHQQ")
_TRAILER: Final = Struct("<IIQIIQ")
_COMM: Final = Struct("<IHHII")
_ATTR: Final = Struct("<IIQQQQQ")
_STRING: Final = 64
_CLOCK_IDS: Final = {name: number for number, name in layout.CLOCKS.items()}


def write(job: Job, output: OutputFile) -> None:
    """Write the head, the samples in time order, and last the features, among them the events' formats."""
    _Writer(job, output).write()


class _Writer:
    """One perf.data under construction."""

    def __init__(self, job: Job, output: OutputFile) -> None:
        self._job = job
        self._output = output
        self._at = 0
        self._first_ns: int | None = None
        self._lost = 0
        self._events = job.trace.events
        self._ids = {event_id: number for number, event_id in enumerate(sorted(self._events), 1)}

    def _put(self, data: bytes) -> None:
        self._output.write(data)
        self._at += len(data)

    def write(self) -> None:
        self._put(bytes(layout.HEADER.size))
        ids_at = self._at
        self._put(b"".join(pack("<Q", number) for number in self._ids.values()))
        attrs_at = self._at
        for event_id, number in self._ids.items():
            self._put(self._attr(event_id) + pack("<QQ", ids_at + 8 * (number - 1), 8))
        data_at = self._at
        self._write_data()
        size = self._at - data_at
        features = self._features()
        self._put_features(features)
        bits = sum(1 << bit for bit, _ in features)
        head = layout.HEADER.pack(
            layout.MAGIC, layout.HEADER.size, layout.ATTR_SIZE + 16, attrs_at, data_at - attrs_at, data_at, size, 0, 0,
            bits, 0, 0, 0,
        )  # fmt: skip
        self._output.write_at(0, head)

    def _attr(self, event_id: int) -> bytes:
        """Return what perf_event_open would have been asked for, the trace's clock included where it has a number."""
        clock = _CLOCK_IDS.get(self._job.trace.clock)
        flags = layout.ATTR_FLAGS | (0 if clock is None else layout.FLAG_CLOCKID)
        head = _ATTR.pack(
            layout.TYPE_TRACEPOINT, layout.ATTR_SIZE, event_id, 1, layout.SAMPLE_TYPE, layout.READ_FORMAT_ID, flags
        )
        return (head.ljust(92, b"\0") + pack("<i", clock or 0)).ljust(layout.ATTR_SIZE, b"\0")

    def _write_data(self) -> None:
        """Write a name for each thread, dated before its first sample can come; then the samples."""
        pieces = self._job.pieces(Coding(self._steps, _who))
        last_ns = 0
        for number, piece in enumerate(pieces):
            if not number:
                self._put(b"".join(self._comms(piece.first_ns)))
            self._put_lost(piece)
            self._put(piece.data)
            last_ns = piece.last_ns if piece.records else last_ns
        rest = self._job.lost - self._lost
        if rest > 0:
            self._put(_lost(rest, last_ns, 0))

    def _put_lost(self, piece: Piece) -> None:
        if piece.missed:
            number = max(piece.missed, 1)
            self._lost += number
            self._put(_lost(number, piece.first_ns, piece.cpu))

    def _comms(self, first_ns: int) -> Iterator[bytes]:
        trace = self._job.trace
        known = False
        for process in sorted(trace.processes, key=lambda process: process.first_ns or 0):
            for tid, comm in process.tids.items():
                known = True
                yield _comm(process.pid, tid, comm, max(min(process.first_ns or first_ns, first_ns) - 1, 0))
        if not known:
            for tid, comm in trace.comms.items():
                yield _comm(tid, tid, comm, max(first_ns - 1, 0))

    def _steps(self, decoder: Decoder) -> list[Step] | None:
        number = self._ids.get(decoder.event.id)
        if number is None:
            self._job.notes.append(
                f"records of event id {decoder.event.id}, which the trace does not describe, are left out"
            )
            return None
        return [
            literal(pack("<IH", layout.RECORD_SAMPLE, layout.MISC_USER)),
            step(steps.SIZE_U16, number=8 + 48),
            literal(pack("<QQ", number, 0)),
            step(steps.WHO),
            step(steps.TIME_U64),
            step(steps.CPU_U32),
            literal(pack("<IQ", 0, 1)),
            step(steps.PADDED_BODY),
        ]

    def _features(self) -> list[tuple[int, bytes]]:
        header = self._job.trace.header
        moment = self._job.moment_ns
        clock = b"" if moment is None else pack("<IIQQ", 1, _CLOCK_IDS["mono"], moment[2], moment[0])
        cpus = max(facts.whole(header, "cpus", 1), 1) & 0xFFFFFFFF
        features = [
            (layout.FEATURE_TRACING_DATA, self._tracing_data()),
            (layout.FEATURE_HOSTNAME, _string(facts.text(header, "host", "unknown"))),
            (layout.FEATURE_OSRELEASE, _string(facts.text(header, "release", "unknown"))),
            (layout.FEATURE_ARCH, _string(facts.text(header, "machine", "unknown"))),
            (layout.FEATURE_NRCPUS, pack("<II", cpus, cpus)),
            (layout.FEATURE_EVENT_DESC, self._event_descriptions()),
        ]
        return [*features, (layout.FEATURE_CLOCK_DATA, clock)] if clock else features

    def _put_features(self, features: list[tuple[int, bytes]]) -> None:
        at = self._at + 16 * len(features)
        for _, body in features:
            self._put(pack("<QQ", at, len(body)))
            at += len(body)
        for _, body in features:
            self._put(body)

    def _names(self) -> dict[int, tuple[str, str]]:
        """Return system and name of each event, each name a word of its own that stock tools can read."""
        names: dict[int, tuple[str, str]] = {}
        taken: dict[str, Names] = {}
        for event_id in self._ids:
            event = self._events[event_id]
            system = stock_name(event.system)
            names[event_id] = system, stock_name(event.name, taken.setdefault(system, Names()))
        return names

    def _tracing_data(self) -> bytes:
        """Return what describes the events: the beginning of a trace.dat of version 6, called 0.6 here."""
        systems: dict[str, list[str]] = {}
        for event_id, (system, name) in self._names().items():
            text = self._job.trace.format_text(event_id) or stock_format(name, event_id, self._events[event_id].fields)
            systems.setdefault(system, []).append(text)
        pieces = [b"\x17\x08\x44tracing", b"0.6\0", pack("<BBI", 0, 8, PAGE_SIZE)]
        pieces += [headers(), pack("<II", 0, len(systems))]
        for system, texts in systems.items():
            pieces += [system.encode() + b"\0", pack("<I", len(texts)), *map(sized, texts)]
        comms = ((tid, comm) for process in self._job.trace.processes for tid, comm in process.tids.items())
        return b"".join([*pieces, pack("<II", 0, 0), cmdlines(comms)])

    def _event_descriptions(self) -> bytes:
        pieces = [pack("<II", len(self._ids), layout.ATTR_SIZE)]
        for event_id, (system, name) in self._names().items():
            pieces.append(self._attr(event_id) + pack("<I", 1) + _string(f"{system}:{name}"))
            pieces.append(pack("<Q", self._ids[event_id]))
        return b"".join(pieces)


def _who(pid: int | None, tid: int, _comm: str) -> bytes:
    return pack("<II", (tid if pid is None else pid) & 0xFFFFFFFF, tid & 0xFFFFFFFF)


def _comm(pid: int, tid: int, comm: str, time: int) -> bytes:
    name = comm.encode("utf-8", "replace")[:15] + b"\0"
    name = name.ljust((len(name) + 7) // 8 * 8, b"\0")
    size = _COMM.size + len(name) + _TRAILER.size
    ids = (pid & 0xFFFFFFFF, tid & 0xFFFFFFFF)
    return _COMM.pack(layout.RECORD_COMM, 0, size, *ids) + name + _TRAILER.pack(*ids, time, 0, 0, 0)


def _lost(number: int, time: int, cpu: int) -> bytes:
    head = _LOST.pack(layout.RECORD_LOST, 0, _LOST.size + _TRAILER.size, 1, number)
    return head + _TRAILER.pack(0xFFFFFFFF, 0xFFFFFFFF, time, cpu, 0, 1)


def _string(text: str) -> bytes:
    data = text.encode("utf-8", "replace") + b"\0"
    size = (len(data) + _STRING - 1) // _STRING * _STRING
    return pack("<I", size) + data.ljust(size, b"\0")
