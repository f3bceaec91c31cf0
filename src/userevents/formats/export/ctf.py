"""CTF 1.8: a directory with a stream for each CPU, for babeltrace2 and Trace Compass.

Source: Common Trace Format 1.8.3; what babeltrace2 2.0 makes of it stands in docs/formats/export.md.
"""

import os
from struct import Struct
from typing import Final

from ...fields.payload import FLOAT, INTEGER, Reading
from .. import facts
from .. import transcode as steps
from ..decoder import Decoder
from ..naming import Names
from ..output import OutputDirectory
from ..stock_text import stock_name
from ..transcode import Coding, Piece, Step, literal, sized, step
from .job import Job

_MAGIC: Final = 0xC1FC1FC1
_PACKET: Final = Struct("<I16sIQQQQQQI")
"""magic, UUID, stream class; then time of begin and end, bits of content and in all, number, discarded so far, CPU."""
_ID: Final = Struct("<I")

_HEAD: Final = """\
/* CTF 1.8 */

typealias integer {{ size = 8; align = 8; signed = false; }} := uint8_t;
typealias integer {{ size = 32; align = 8; signed = false; }} := uint32_t;
typealias integer {{ size = 32; align = 8; signed = true; }} := int32_t;
typealias integer {{ size = 64; align = 8; signed = false; }} := uint64_t;

trace {{
	major = 1;
	minor = 8;
	uuid = "{uuid}";
	byte_order = le;
	packet.header := struct {{ uint32_t magic; uint8_t uuid[16]; uint32_t stream_id; }};
}};

env {{
{env}}};

clock {{
	name = "{clock}";
	description = "{described}";
	freq = 1000000000;
{offset}}};

typealias integer {{ size = 64; align = 8; signed = false; map = clock.{clock}.value; }} := ns_t;

stream {{
	id = 0;
	packet.context := struct {{
		ns_t timestamp_begin;
		ns_t timestamp_end;
		uint64_t content_size;
		uint64_t packet_size;
		uint64_t packet_seq_num;
		uint64_t events_discarded;
		uint32_t cpu_id;
	}};
	event.header := struct {{ uint32_t id; ns_t timestamp; }};
	event.context := struct {{ int32_t _vpid; int32_t _vtid; string _procname; }};
}};
"""


class _Stream:
    """One CPU's packets so far."""

    def __init__(self, cpu: int) -> None:
        self.cpu = cpu
        self.packets = 0
        self.discarded = 0
        self.last_ns = 0


def write(job: Job, directory: OutputDirectory) -> None:
    """Write a stream for each CPU, and last the metadata, which names the events that came."""
    _Writer(job, directory).write()


class _Writer:
    """One CTF trace under construction."""

    def __init__(self, job: Job, directory: OutputDirectory) -> None:
        self._job = job
        self._directory = directory
        self._uuid = os.urandom(16)
        self._streams: dict[int, _Stream] = {}
        self._events: dict[int, str] = {}

    def write(self) -> None:
        for piece in self._job.pieces(Coding(self._steps, _who, by_cpu=True)):
            self._put_piece(piece)
        self._put_rest()
        self._put("metadata", self._metadata().encode())

    def _put(self, name: str, data: bytes) -> None:
        self._directory.append(name, data)
        self._job.size += len(data)

    def _put_piece(self, piece: Piece) -> None:
        stream = self._stream(piece.cpu, piece.first_ns)
        stream.discarded += max(piece.missed, 1) if piece.missed else 0
        self._put_packet(stream, piece.first_ns, piece.last_ns, piece.data)

    def _stream(self, cpu: int, first_ns: int) -> _Stream:
        """Return a CPU's stream. It begins with an empty packet: readers tell only of losses between two packets."""
        if cpu not in self._streams:
            stream = self._streams[cpu] = _Stream(cpu)
            self._put_packet(stream, first_ns, first_ns, b"")
        return self._streams[cpu]

    def _put_rest(self) -> None:
        """Tell, at the end of the first stream, of losses that the ledger knows and no place in the trace."""
        rest = self._job.lost - sum(stream.discarded for stream in self._streams.values())
        if rest > 0:
            stream = self._stream(min(self._streams, default=0), 0)
            stream.discarded += rest
            last_ns = max(each.last_ns for each in self._streams.values())
            self._put_packet(stream, last_ns, last_ns, b"")

    def _put_packet(self, stream: _Stream, first_ns: int, last_ns: int, data: bytes) -> None:
        first_ns = max(first_ns, stream.last_ns, 0)
        stream.last_ns = max(last_ns, first_ns)
        bits = 8 * (_PACKET.size + len(data))
        head = _PACKET.pack(
            _MAGIC, self._uuid, 0, first_ns, stream.last_ns, bits, bits, stream.packets, stream.discarded, stream.cpu
        )
        stream.packets += 1
        self._put(f"stream_{stream.cpu}", head + data)

    def _steps(self, decoder: Decoder) -> list[Step]:
        event = decoder.event
        found = [literal(_ID.pack(event.id)), step(steps.TIME_U64), step(steps.WHO)]
        declared = []
        names = Names()
        for number, (key, reading) in enumerate(zip(event.keys, decoder.readings, strict=True)):
            put, text = _field(number, stock_name(key, names), reading, names)
            found += put
            declared += text
        fields = "".join(f"\t\t{line};\n" for line in declared)
        name = _quoted(f"{event.system}:{event.name}")
        self._events[event.id] = (
            f"\nevent {{\n\tid = {event.id};\n\tname = {name};\n\tstream_id = 0;\n"
            f"\tfields := struct {{\n{fields}\t}};\n}};\n"
        )
        return found

    def _metadata(self) -> str:
        header, uuid = self._job.trace.header, self._uuid.hex()
        env = {
            "hostname": facts.text(header, "host", "unknown"),
            "tracer_name": "userevents",
            "losses": "; ".join(self._job.losses),
        }
        offset = ""
        shift = self._job.real_shift_ns
        if shift is not None and shift >= 0:
            offset = f"\toffset_s = {shift // 10**9};\n\toffset = {shift % 10**9};\n"
        clock = stock_name(self._job.trace.clock)
        head = _HEAD.format(
            uuid=f"{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}",
            env="".join(f"\t{key} = {_quoted(value)};\n" for key, value in env.items()),
            clock="monotonic" if clock == "mono" else clock,
            described=f"the trace's clock, {clock}",
            offset=offset,
        )
        return head + "".join(self._events.values())


def _who(pid: int | None, tid: int, comm: str) -> bytes:
    ids = Struct("<Ii").pack((tid if pid is None else pid) & 0xFFFFFFFF, tid)
    return ids + comm.replace("\0", "").encode("utf-8", "backslashreplace") + b"\0"


def _field(number: int, name: str, reading: Reading, names: Names) -> tuple[list[Step], list[str]]:
    """Return how a field is put, and its declaration: an underscore more than its name, as readers take one away."""
    kind, start, end, signed = reading
    if kind == INTEGER:
        ctype = f"integer {{ size = {8 * (end - start)}; align = 8; signed = {str(signed).lower()}; }}"
        return [step(steps.RAW, number)], [f"{ctype} _{name}"]
    if kind == FLOAT:
        ctype = "floating_point { exp_dig = 11; mant_dig = 53; align = 8; }"
        return [step(steps.RAW, number)], [f"{ctype} _{name}"]
    if kind & 1:
        return [step(steps.PLAIN, number), literal(b"\0")], [f"string {{ encoding = UTF8; }} _{name}"]
    put = sized(step(steps.PLAIN, number), width=4)
    length = names.take(f"{name}_length")
    return [*put], [f"uint32_t _{length}", f"uint8_t _{name}[_{length}]"]


def _quoted(text: str) -> str:
    """Return text as a string of the metadata; what is not printable there becomes a question mark."""
    return (
        '"'
        + "".join(
            "\\" + letter if letter in '"\\' else letter if letter.isprintable() else "?" for letter in text
        ).replace("\u2028", "?")
        + '"'
    )
