"""A writer of recordings for tests: sessions with events, records at chosen times and CPUs, in parts as wished."""

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from userevents.buffer import PageBuilder, page_data
from userevents.buffer import stream as wire
from userevents.fields import Field, fields_text, parse_declaration
from userevents.formats import Recording
from userevents.formats.finish import Finished, merge
from userevents.formats.model import Value

_CODES = {1: "bB", 2: "hH", 4: "iI", 8: "qQ"}
_NO_DROPS: Mapping[str, int] = {}


def encode(fields: Sequence[Field], values: Sequence[Value]) -> bytes:
    """Return the payload of `values`; dynamic data follows the fixed part in order, text with its NUL."""
    fixed, tail = b"", b""
    size = sum(field.size for field in fields)
    for field, value in zip(fields, values, strict=True):
        end = field.offset + field.size - 8
        if field.ctype.startswith(("__rel_loc", "__data_loc")):
            data = value.encode() + b"\0" if isinstance(value, str) else bytes(value)  # type: ignore[arg-type]
            start = size + len(tail)
            offset = start - end if field.ctype.startswith("__rel_loc") else start + 8
            fixed += struct.pack("<I", len(data) << 16 | offset)
            tail += data
        elif isinstance(value, float):
            fixed += struct.pack("<d", value)
        elif isinstance(value, int):
            fixed += struct.pack("<" + _CODES[field.size][not field.signed], value)
        else:
            data = value.encode() if isinstance(value, str) else bytes(value or b"")
            fixed += data.ljust(field.size, b"\0")
    return fixed + tail


class Session:
    """One traced process of a recording under construction."""

    def __init__(
        self, maker: "Maker", number: int, pid: int, comm: str, events: Mapping[int, str], cmdline: Sequence[str]
    ) -> None:
        self.maker = maker
        self.number = number
        self.pid = pid
        self.seq = 0
        self.generation = 1
        self.cpu = 0
        self.has_cpus = False
        """Whether each record says its CPU, as the native writer's do: then a page goes on when it changes."""
        self.counts: Counter[int] = Counter()
        self.fields: dict[int, tuple[Field, ...]] = {}
        self._builder = PageBuilder()
        facts = {"pid": pid, "start_time": 5, "comm": comm, "cmdline": cmdline, "nonce": "00" * 16}
        maker.frames.append(wire.pack_stream(number, facts))
        for event_id, declaration in events.items():
            self.declare(event_id, declaration)

    def declare(self, event_id: int, declaration: str, *, system: str = "user_events", enabled: bool = True) -> None:
        """Announce an event of this session."""
        name, fields = parse_declaration(declaration)
        self.fields[event_id] = fields
        facts = {"id": event_id, "name": name, "system": system, "fields": fields_text(fields)}
        self.maker.frames.append(wire.pack_event(self.number, {**facts, "enabled": enabled, "error": None}))

    def add(
        self, ts_ns: int, event_id: int, payload: bytes = b"", *, tid: int | None = None, cpu: int | None = None
    ) -> None:
        """Write one record; a change of the CPU closes the page."""
        if cpu is not None and cpu != self.cpu and (not self.has_cpus or not len(self._builder)):
            self.flush()
            self.cpu = cpu
        said = (self.cpu if cpu is None else cpu) if self.has_cpus else 0
        body = struct.pack("<HHi", event_id, said, self.pid if tid is None else tid) + payload
        if not self._builder.append(ts_ns, body):
            self.flush()
            assert self._builder.append(ts_ns, body)
        self.counts[event_id] += 1

    def add_values(
        self, ts_ns: int, event_id: int, *values: Value, tid: int | None = None, cpu: int | None = None
    ) -> None:
        """Write one record of these values."""
        self.add(ts_ns, event_id, encode(self.fields[event_id], values), tid=tid, cpu=cpu)

    def flush(self, cuts: Sequence[int] = ()) -> None:
        """Hand over the page so far, in one part or cut at these offsets of its data."""
        if not len(self._builder):
            return
        ts_ns, view = page_data(self._builder.take())
        data = bytes(view)
        edges = [0, *cuts, len(data)]
        for start, stop in pairwise(edges):
            self.part(ts_ns, start, data[start:stop])
        self.seq += 1

    def part(self, ts_ns: int, offset: int, data: bytes, *, flags: int = 0) -> None:
        """Append a PART frame of the current page."""
        flags |= wire.PART_CPUS if self.has_cpus else 0
        self.maker.frames.append(
            wire.pack_part(self.number, self.generation, self.cpu, self.seq, ts_ns, offset, data, flags=flags)
        )

    def close(
        self,
        *,
        drops: Mapping[int, Mapping[str, int]] | None = None,
        committed: int | None = None,
        alive: bool = False,
        threads: Mapping[int, str] | None = None,
        **counts: int,
    ) -> None:
        """Hand over what is left, the thread names and the ledger; attempts are what was written plus the drops."""
        self.flush()
        written = self.counts.total() if committed is None else committed
        events: dict[str, dict[str, int]] = {}
        for event_id in {*self.counts, *(drops or {})}:
            dropped = (drops or {}).get(event_id, _NO_DROPS)
            lost = sum(number for reason, number in dropped.items() if reason not in ("cut", "attempts"))
            events[str(event_id)] = {"attempts": self.counts[event_id] + lost, **dropped}
        ledger = {"events": events, "committed": written, "overwritten": 0, "missed": 0, "alive": alive, "exact": True}
        self.maker.frames.append(wire.pack_threads(self.number, {self.pid: "main", **(threads or {})}))
        self.maker.frames.append(wire.pack_ledger(self.number, ledger | counts))


class Maker:
    """A recording under construction."""

    def __init__(self, cpus: int = 2) -> None:
        facts = {"mono_ns": 1, "real_ns": 2, "host": "box", "release": "6.12", "cpus": cpus, "command": ["x"]}
        self.frames = [wire.pack_start(), wire.pack_header({**facts, "tracer_pid": 1})]
        self._sessions = 0

    def session(
        self, pid: int, comm: str = "prog", events: Mapping[int, str] | None = None, cmdline: Sequence[str] = ()
    ) -> Session:
        """Open another session; its command is its name with an option if none is given."""
        self._sessions += 1
        declared = {20: "tick u32 a"} if events is None else events
        return Session(self, self._sessions, pid, comm, declared, cmdline or [comm, "-x"])

    def data(self, *, end: bool = True) -> bytes:
        """Return the stream so far."""
        return b"".join(self.frames) + (wire.pack_end("done", 9) if end else b"")

    def recording(self) -> Recording:
        """Return the stream so far, ended and indexed."""
        return Recording.of(self.data())

    def trace(self, path: Path) -> Finished:
        """Finish the stream so far into a trace.dat."""
        return merge(self.recording(), str(path))
