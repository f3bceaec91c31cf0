"""Records as the bytes of another format, by a program for each event: what every exporter is made of.

A program is a tuple of steps ``(code, field, number, literal)``, run for each record of its event; docs of the codes
below. `Transcoder` is the C one where the extension is there, and else `PureTranscoder`, which says what both do.
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..abi.ring_buffer import RECORD_HEADER
from ..buffer.merge import PureBatch
from ..buffer.native import native
from ..buffer.page import body_start, record_end
from ..buffer.run import PureRun
from ..fields.payload import FLOAT, INTEGER, Reading
from .decoder import Decoder
from .model import Value

Step = tuple[int, int, int, bytes]
Program = tuple[tuple[Step, ...], tuple[Reading, ...], Decoder]

LITERAL: Final = 0
"""Bytes as they are."""
WHO: Final = 1
"""The bytes by which the caller calls the writer."""
TIME_VARINT: Final = 2
TIME_U64: Final = 3
TIME_DECIMAL: Final = 4
CPU_U32: Final = 5
CPU_DECIMAL: Final = 6
BEGIN: Final = 7
"""The size of what follows up to its END comes here: a varint, or `number` 4: a u32."""
END: Final = 8
PADDED_BODY: Final = 9
"""The record's own bytes behind their size (u32), padded so that both are whole 8-byte words; the size counts it."""
SIZE_U16: Final = 10
"""`number` plus the size of PADDED_BODY, as a u16; where it does not fit, the record is left out and counted."""
VARINT: Final = 11
"""An integer as protobuf's varint: negative ones in 64 bits."""
RAW: Final = 12
"""A number's bytes as recorded."""
PLAIN: Final = 13
"""Text as UTF-8, bytes as they are."""
HEX: Final = 14
DECIMAL: Final = 15
"""A number as people write it."""
JSON: Final = 16
"""A value as JSON: ``{"hex": ...}`` for bytes, null for one that is not there."""
IF_PRESENT: Final = 17
"""Unless the record holds the field, the next `number` steps are passed over."""
IF_ABSENT: Final = 18
IF_HIGH: Final = 19
"""Unless it is an integer of 2^63 or more, the next `number` steps are passed over."""
IF_LOW: Final = 20
"""Unless it is a smaller one."""

_U64 = (1 << 64) - 1
_PIECE_SIZE = 72
"""What a piece counts as waiting, whatever is in it: pages full of gaps must be taken, too."""
_HEAD = Struct(RECORD_HEADER)


def literal(data: bytes | str) -> Step:
    """Return the step that puts these bytes, or this text as UTF-8."""
    return LITERAL, 0, 0, data.encode() if isinstance(data, str) else data


def step(code: int, field: int = 0, number: int = 0) -> Step:
    """Return a step without bytes of its own."""
    return code, field, number, b""


def sized(*steps: Step, width: int = 0) -> tuple[Step, ...]:
    """Return steps with the size of what they put before it."""
    return step(BEGIN, number=width), *steps, step(END)


def joined(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return a program with neighbouring literals made one, except where a step passes over some."""
    if any(code in (IF_PRESENT, IF_ABSENT, IF_HIGH, IF_LOW) for code, _, _, _ in steps):
        return tuple(steps)
    found: list[Step] = []
    for each in steps:
        if each[0] == LITERAL and found and found[-1][0] == LITERAL:
            found[-1] = literal(found[-1][3] + each[3])
        else:
            found.append(each)
    return tuple(found)


def varint(number: int) -> bytes:
    """Return protobuf's varint of a number; a negative one counts as 64 bits.

    >>> varint(300).hex(), len(varint(-1))
    ('ac02', 10)
    """
    number &= _U64
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def message(number: int, data: bytes) -> bytes:
    """Return a protobuf message, or text, as a field of another."""
    return varint(number << 3 | 2) + varint(len(data)) + data


class Piece(NamedTuple):
    """The bytes of records in time order. `missed` records are known to be lost before it; -1: some, 0: none.

    `ends`: where each record's bytes end, as u32 numbers, if that was asked for.
    """

    cpu: int
    records: int
    first_ns: int
    last_ns: int
    missed: int
    data: bytes
    ends: bytes = b""


@dataclass(slots=True)
class _Filling:
    cpu: int
    missed: int = 0
    records: int = 0
    first_ns: int = 0
    last_ns: int = 0
    data: bytearray = field(default_factory=bytearray)
    ends: "array[int]" = field(default_factory=lambda: array("I"))

    def done(self) -> Piece:
        return Piece(
            self.cpu, self.records, self.first_ns, self.last_ns, self.missed, bytes(self.data), self.ends.tobytes()
        )


Plan = Callable[[int], Program | None]
"""Of an event id: what to put for its records; None: they are left out."""
Who = Callable[[Any, int, int, int], tuple[bytes | None, bool]]
"""Of (tag of the run, cpu, tid, time): the bytes of WHO, None to leave the record out; whether that holds at any
time, so that it need not be asked again."""


@dataclass(frozen=True, slots=True)
class Coding:
    """How a format writes records: the steps for an event (None: left out), and what stands for a writer.

    `shift_ns` is added to every time; `quote` and `by_cpu` are as in `PureTranscoder`.
    """

    steps: Callable[[Decoder], Sequence[Step] | None]
    who: Callable[[int | None, int, str], bytes]
    """(pid, tid, name)"""
    quote: Callable[[str | float], bytes] = lambda value: str(value).encode()
    shift_ns: int = 0
    by_cpu: bool = False


class PureTranscoder:
    """Transcodes batches. `shift` is added to every time, `quote` gives the JSON of text and of odd floats.

    Pieces are cut where records were lost; `by_cpu`: there are pieces of each CPU; `with_ends`: they have `ends`.
    `left_out` records did not fit.
    """

    def __init__(
        self,
        plan: Plan,
        who: Who,
        quote: Callable[[str | float], bytes],
        shift: int = 0,
        by_cpu: bool = False,
        with_ends: bool = False,
    ) -> None:
        self._plan = plan
        self._who = who
        self._quote = quote
        self._shift = shift
        self._by_cpu = by_cpu
        self._with_ends = with_ends
        self._programs: dict[int, Program | None] = {}
        self._known: dict[tuple[int, int, int], bytes | None] = {}
        self._pieces: list[_Filling] = []
        self._current: dict[int, _Filling] = {}
        self._pending = 0
        self.left_out = 0

    def add(self, batch: PureBatch) -> int:
        """Take in a batch; return how many bytes wait to be taken."""
        for time, start, run in batch.records():
            self._add(run, start, time)
        return self._pending

    def take(self) -> list[Piece]:
        """Return what is done, and begin anew."""
        pieces = [
            Piece(
                each.cpu, each.records, each.first_ns, each.last_ns, each.missed, bytes(each.data), each.ends.tobytes()
            )
            for each in self._pieces
            if each.records or each.missed
        ]
        self._pieces, self._current, self._pending = [], {}, 0
        return pieces

    def _add(self, run: PureRun, start: int, time: int) -> None:
        if run.has_gap and start == run.starts[0]:
            self._piece(run, run.missed or -1)
        body = run.data[body_start(run.data, start) : record_end(run.data, start)]
        event_id, _, _, tid = _HEAD.unpack_from(body)
        if event_id not in self._programs:
            self._programs[event_id] = self._plan(event_id)
        program = self._programs[event_id]
        if program is None:
            return
        time += self._shift
        who = self._writer(run, tid, time)
        if who is None:
            return
        piece = self._piece(run, 0)
        data = self._run(program, _Context(body, time, run.cpu, who))
        if data is None:
            self.left_out += 1
            return
        piece.first_ns = piece.first_ns if piece.records else time
        piece.last_ns = time
        piece.records += 1
        piece.data += data
        if self._with_ends:
            piece.ends.append(len(piece.data))
        self._pending += len(data)

    def _piece(self, run: PureRun, missed: int) -> _Filling:
        key = run.cpu if self._by_cpu else 0
        if missed or key not in self._current:
            self._current[key] = _Filling(run.cpu, missed)
            self._pieces.append(self._current[key])
            self._pending += _PIECE_SIZE
        return self._current[key]

    def _writer(self, run: PureRun, tid: int, time: int) -> bytes | None:
        key = (id(run.tag), run.cpu, tid)
        if key in self._known:
            return self._known[key]
        who, holds = self._who(run.tag, run.cpu, tid, time)
        if holds:
            self._known[key] = who
        return who

    def _run(self, program: Program, context: "_Context") -> bytearray | None:
        steps, readings, decoder = program
        values = decoder.row(context.body)
        data = bytearray()
        open_: list[tuple[int, int]] = []
        at = 0
        while at < len(steps):
            code, number, argument, text = steps[at]
            at += 1
            if code == LITERAL:
                data += text
            elif code == BEGIN:
                open_.append((len(data), argument))
            elif code == END:
                begin, width = open_.pop()
                size = len(data) - begin
                data[begin:begin] = size.to_bytes(4, "little") if width else varint(size)
            elif code < VARINT:
                piece = _PLAIN[code](context, argument)
                if piece is None:
                    return None
                data += piece
            elif code >= IF_PRESENT:
                at += argument if _is_skipped(code, values[number]) else 0
            else:
                data += self._value(code, readings[number], values[number])
        return data

    def _value(self, code: int, reading: Reading, value: Value) -> bytes:
        if code == JSON:
            return self._json(value)
        if value is None:
            return b"0" if code == DECIMAL else bytes(reading[2] - reading[1] if code == RAW else code == VARINT)
        if code == VARINT:
            assert isinstance(value, int)
            return varint(value)
        if code == DECIMAL:
            return self._json(value)
        if code == RAW:
            return _raw(reading, value)
        data = value if isinstance(value, bytes) else str(value).encode()
        return data.hex().encode() if code == HEX else data

    def _json(self, value: Value) -> bytes:
        if value is None:
            return b"null"
        if isinstance(value, int):
            return b"%d" % value
        if isinstance(value, float) and value - value == 0:
            return repr(value).encode()
        return b'{"hex":"%b"}' % value.hex().encode() if isinstance(value, bytes) else self._quote(value)


class _Context(NamedTuple):
    """What a program knows of a record beside its fields."""

    body: bytes
    time: int
    cpu: int
    who: bytes


def _padded_size(context: _Context) -> int:
    return (4 + len(context.body) + 7) // 8 * 8


def _padded_body(context: _Context, _argument: int) -> bytes:
    whole = _padded_size(context)
    return (whole - 4).to_bytes(4, "little") + context.body.ljust(whole - 4, b"\0")


def _size_u16(context: _Context, argument: int) -> bytes | None:
    size = argument + _padded_size(context)
    return size.to_bytes(2, "little") if size < 1 << 16 else None


_PLAIN: Final[dict[int, Callable[[_Context, int], bytes | None]]] = {
    WHO: lambda context, _: context.who,
    TIME_VARINT: lambda context, _: varint(context.time),
    TIME_U64: lambda context, _: (context.time & _U64).to_bytes(8, "little"),
    TIME_DECIMAL: lambda context, _: b"%d" % context.time,
    CPU_U32: lambda context, _: context.cpu.to_bytes(4, "little"),
    CPU_DECIMAL: lambda context, _: b"%d" % context.cpu,
    PADDED_BODY: _padded_body,
    SIZE_U16: _size_u16,
}


def _is_skipped(code: int, value: Value) -> bool:
    if code in (IF_HIGH, IF_LOW):
        return not isinstance(value, int) or (value >> 63 > 0) == (code == IF_LOW)
    return (value is None) == (code == IF_PRESENT)


def _raw(reading: Reading, value: Value) -> bytes:
    kind, start, end, signed = reading
    if kind == FLOAT:
        return Struct("<d").pack(value)
    assert kind == INTEGER
    assert isinstance(value, int)
    return value.to_bytes(end - start, "little", signed=signed)


if TYPE_CHECKING:
    Transcoder = PureTranscoder
else:
    Transcoder = native.Transcoder if native else PureTranscoder
