"""Perfetto's .pftrace: records as generic ftrace events, in boot time; processes and threads; pairs as slices.

Source: perfetto/trace/*.proto (field numbers and clock ids), docs/formats/perfetto.md.
"""

from collections.abc import Iterator
from struct import pack
from typing import Final

from ...fields.payload import FLOAT, INTEGER
from .. import transcode as steps
from ..decoder import Decoder
from ..ledger import AFTER_WORDS
from ..model import Process, Value
from ..pairs import Matcher, PairChoice, Span
from ..transcode import Coding, Piece, Step, literal, message, sized, step, varint
from .job import Job, Sink

_FTRACE_SEQUENCE: Final = 1
_TRACK_SEQUENCE: Final = 2
_STATE_CLEARED: Final = 1
_SLICE_BEGIN, _SLICE_END, _INSTANT = 1, 2, 3
_FLIGHT_TRACK: Final = 1 << 40
_STATS_START, _STATS_END = 1, 2
_REALTIME, _MONOTONIC, _BOOTTIME = 1, 3, 6
_SLICE_GROUP: Final = 512
"""Slices written at once."""


def whole(number: int, value: int) -> bytes:
    """Return an integer as a field; a negative one in 64 bits."""
    return varint(number << 3) + varint(value)


def _text(number: int, text: str) -> bytes:
    return message(number, text.encode("utf-8", "backslashreplace"))


def _packet(*fields: bytes) -> bytes:
    return message(1, b"".join(fields))


def write(job: Job, sink: Sink) -> None:
    """Write clocks and processes, then the records CPU by CPU, then the slices of pairs, then what was lost."""
    sink.write(_clocks(job) + b"".join(_processes(job)) + _statistics(job, _STATS_START, {}))
    records: dict[int, int] = {}
    for piece in job.pieces(Coding(_steps, _who, _quote, job.boot_shift_ns, by_cpu=True)):
        sink.write(_bundle(piece))
        records[piece.cpu] = records.get(piece.cpu, 0) + piece.records
    sink.write(_statistics(job, _STATS_END, records))
    if job.pairs or job.trace.flight.instants:
        sink.write(_packet(whole(10, _TRACK_SEQUENCE), whole(13, _STATE_CLEARED)))
    sink.write(b"".join(_flight(job)))
    if job.pairs:
        for data in _slices(job):
            sink.write(data)


def _clocks(job: Job) -> bytes:
    """Return one moment in three clocks, where the trace knows it; without it dates are unknown to the engine."""
    if job.moment_ns is None:
        return b""
    mono, boot, real = job.moment_ns
    clocks = ((_REALTIME, real), (_MONOTONIC, mono), (_BOOTTIME, boot))
    snapshot = b"".join(message(1, whole(1, clock) + whole(2, at)) for clock, at in clocks)
    return _packet(message(6, snapshot + whole(2, _BOOTTIME)), whole(10, _FTRACE_SEQUENCE))


def _processes(job: Job) -> Iterator[bytes]:
    """Yield a process tree packet for each process, dated when it was first seen; else one of the known threads."""
    processes = sorted(job.trace.processes, key=lambda process: process.first_ns or 0)
    for process in processes:
        at = whole(8, (process.first_ns or 0) + job.boot_shift_ns)
        yield _packet(at, message(2, _process(process)), whole(10, _FTRACE_SEQUENCE))
    if not processes:
        threads = [message(2, whole(1, tid) + _text(2, comm) + whole(3, tid)) for tid, comm in job.trace.comms.items()]
        if threads:
            yield _packet(message(2, b"".join(threads)), whole(10, _FTRACE_SEQUENCE))


def _process(process: Process) -> bytes:
    """Return a process and its threads. The engine names a process by the first word of its command."""
    words = [process.title, *process.cmdline[1:]]
    cmdline = b"".join(_text(3, word) for word in words)
    threads = [whole(1, tid) + _text(2, comm) + whole(3, process.pid) for tid, comm in process.tids.items()]
    return message(1, whole(1, process.pid) + cmdline) + b"".join(message(2, thread) for thread in threads)


def _statistics(job: Job, phase: int, records: dict[int, int]) -> bytes:
    """Return the counts of lost records, none at the beginning; rings are no CPU's, so all stand with CPU 0."""
    ledger = job.ledger
    overrun = sum(map(ledger.total, AFTER_WORDS)) if ledger and phase == _STATS_END else 0
    dropped = sum(ledger.dropped.values()) if ledger and phase == _STATS_END else 0
    cpus = b"".join(
        message(
            2,
            whole(1, cpu)
            + whole(3, 0 if cpu else overrun)
            + whole(8, 0 if cpu else dropped)
            + whole(9, records.get(cpu, 0)),
        )
        for cpu in sorted({0, *records})
    )
    return _packet(message(34, whole(1, phase) + cpus), whole(10, _FTRACE_SEQUENCE))


def _bundle(piece: Piece) -> bytes:
    """Return the events of one CPU; `lost_events` says that some are missing before them."""
    lost = whole(3, 1) if piece.missed else b""
    return _packet(message(1, whole(1, piece.cpu) + lost + piece.data), whole(10, _FTRACE_SEQUENCE))


def _who(_pid: int | None, tid: int, _comm: str) -> bytes:
    return whole(2, tid & 0xFFFFFFFF)


def _quote(value: str | float) -> bytes:
    return str(value).encode()


def _steps(decoder: Decoder) -> list[Step]:
    """Return one FtraceEvent: time, thread, and the generic event with a field for each value that is there."""
    event = decoder.event
    fields: list[Step] = [literal(_text(1, event.name))]
    for number, (key, (kind, _, _, signed)) in enumerate(zip(event.keys, decoder.readings, strict=True)):
        if kind == INTEGER:
            value = [literal(b"\x20" if signed else b"\x28"), step(steps.VARINT, number)]
        elif kind == FLOAT:
            value = [literal(b"\x1a"), *sized(step(steps.DECIMAL, number))]
        else:
            value = [literal(b"\x1a"), *sized(step(steps.PLAIN if kind & 1 else steps.HEX, number))]
        put = [literal(b"\x12"), *sized(literal(_text(1, key)), *value)]
        fields += [step(steps.IF_PRESENT, number, len(put)), *put]
    generic = [literal(varint(327 << 3 | 2)), *sized(*fields)]
    inner = (literal(b"\x08"), step(steps.TIME_VARINT), step(steps.WHO), *generic)
    return [literal(b"\x12"), *sized(*inner)]


# The flight rules that held: a track of their own, with the window as a slice and an instant for each time.


def _flight(job: Job) -> Iterator[bytes]:
    flight, shift_ns = job.trace.flight, job.boot_shift_ns
    if not flight.instants:
        return
    track = whole(11, _FLIGHT_TRACK)
    name = whole(1, _FLIGHT_TRACK) + _text(2, "flight rules")
    yield _packet(message(60, name), whole(10, _TRACK_SEQUENCE))
    rules = ", ".join(dict.fromkeys(instant.rule for instant in flight.instants))
    ends = ((_SLICE_BEGIN, flight.since_ns, _text(23, f"window of {rules}")), (_SLICE_END, flight.until_ns, b""))
    for kind, at, named in ends if flight.until_ns else ():
        yield _packet(whole(8, at + shift_ns), message(11, whole(9, kind) + track + named), whole(10, _TRACK_SEQUENCE))
    for instant in flight.instants:
        said: dict[str, Value] = {"what": instant.what, "pid": instant.pid, "comm": instant.comm, "host": instant.host}
        annotations = b"".join(message(4, _text(10, key) + _annotation(value)) for key, value in said.items() if value)
        event = whole(9, _INSTANT) + track + _text(23, instant.rule) + _text(22, "userevents") + annotations
        yield _packet(whole(8, instant.ts_ns + shift_ns), message(11, event), whole(10, _TRACK_SEQUENCE))


# Slices: the spans of pairs, each begin and end an event on a track of its lane.


def _slices(job: Job) -> Iterator[bytes]:
    matcher = Matcher(job.pairs)
    tracks: dict[tuple[object, ...], int] = {}
    waiting: list[bytes] = []
    for span in matcher.spans(job.trace.rows(PairChoice(job.pairs, job.choice))):
        waiting += _slice(span, tracks, job.boot_shift_ns)
        if len(waiting) > _SLICE_GROUP:
            yield b"".join(waiting)
            waiting = []
    yield b"".join(waiting)
    for pair, tally in matcher.tallies.items():
        if tally.begins_alone or tally.ends_alone:
            job.notes.append(
                f"{pair.begin}:{pair.end}: {tally.spans} slices; {tally.begins_alone} begins and "
                f"{tally.ends_alone} ends found no partner"
            )


def _slice(span: Span, tracks: dict[tuple[object, ...], int], shift_ns: int) -> Iterator[bytes]:
    _, _, tid, who, _, _ = span.begin
    pid = who[0]
    owner = {"process": pid, "thread": tid}.get(span.pair.scope)
    key = (span.pair, owner, span.lane)
    if key not in tracks:
        tracks[key] = len(tracks) + 1
        yield _track(tracks[key], span, pid)
    track = whole(11, tracks[key])
    named = _text(23, span.pair.name) + _text(22, "userevents")
    for kind, (at, _, _, _, decoder, values), name in (
        (_SLICE_BEGIN, span.begin, named),
        (_SLICE_END, span.end, b""),
    ):
        annotations = b"".join(
            message(4, _text(10, f"{_side(kind)}.{each}") + _annotation(value))
            for each, value in zip(decoder.event.keys, values, strict=True)
            if value is not None
        )
        event = message(11, whole(9, kind) + track + name + annotations)
        yield _packet(whole(8, at + shift_ns), event, whole(10, _TRACK_SEQUENCE))


def _side(kind: int) -> str:
    return "begin" if kind == _SLICE_BEGIN else "end"


def _track(number: int, span: Span, pid: int | None) -> bytes:
    """Return the descriptor of a lane's track: under its process where that is known."""
    name = span.pair.name if span.lane == 0 else f"{span.pair.name} {span.lane}"
    lane = whole(1, number) + _text(2, name)
    if pid is None or span.pair.scope == "trace":
        return _packet(message(60, lane), whole(10, _TRACK_SEQUENCE))
    owner = 1 << 32 | pid
    process = _packet(message(60, whole(1, owner) + message(3, whole(1, pid))), whole(10, _TRACK_SEQUENCE))
    return process + _packet(message(60, lane + whole(5, owner)), whole(10, _TRACK_SEQUENCE))


def _annotation(value: Value) -> bytes:
    if isinstance(value, int):
        return whole(4, value) if value < 0 else whole(3, value)
    if isinstance(value, float):
        return varint(5 << 3 | 1) + pack("<d", value)
    return _text(6, value.hex() if isinstance(value, bytes) else str(value))
