"""What a private tracer has recorded, decoded: records as objects, and the counts of what was lost."""

from collections.abc import Iterator
from struct import Struct
from typing import Any

from ..abi.ring_buffer import RECORD_HEADER
from ..buffer.page import body_start, record_end, walk
from ..fields.filter import Filter, parse_filter
from ..formats import Recording
from ..formats.decoder import Decoder
from ..formats.ledger import REASONS
from ..formats.model import make_event
from ..formats.recording import Stream

_HEAD = Struct(RECORD_HEADER)
_CPU_SHIFT = 16

Filters = list[tuple[str, str]]
"""Event name and kernel filter expression: records of that event which do not pass are left out."""


class Record:
    """One event that happened; its fields are attributes (and ``record["name"]``, where the name means another thing).

    `event` is its name, `fields` all its values by name; `time_ns` is CLOCK_MONOTONIC, `pid` and `tid` wrote it,
    on `cpu` (in pure Python: the CPU on which its page was begun), and `comm` is the thread's name.
    """

    __slots__ = ("comm", "cpu", "event", "fields", "pid", "tid", "time_ns")

    def __init__(
        self, event: str, fields: dict[str, Any], *, time_ns: int, pid: int, tid: int, cpu: int, comm: str
    ) -> None:
        self.event = event
        self.fields = fields
        self.time_ns = time_ns
        self.pid = pid
        self.tid = tid
        self.cpu = cpu
        self.comm = comm

    def __getattr__(self, name: str) -> Any:
        if name in type(self).__slots__:
            raise AttributeError(name)  # not there yet: it is being copied
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(
                f"event '{self.event}' has no field '{name}'; it has: {', '.join(self.fields) or 'none'}"
            ) from None

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def has(self, wanted: dict[str, object]) -> bool:
        """Whether each of these fields is there and equals the value."""
        return all(name in self.fields and self.fields[name] == value for name, value in wanted.items())

    def __repr__(self) -> str:
        return f"{self.event}({', '.join(f'{name}={value!r}' for name, value in self.fields.items())})"

    def line(self) -> str:
        """One line for people: time in seconds, process, event."""
        return f"{self.time_ns / 1e9:.6f} {self.comm}-{self.pid}: {self!r}"


def decoded(recording: Recording, filters: Filters) -> list[Record]:
    """Return every record in order of time. Raises `FilterError` for a filter that does not fit its event."""
    found: list[Record] = []
    readers: dict[tuple[int, int], _Reader | None] = {}
    for page in recording.pages_by_time():
        stream = recording.streams[recording.page_stream[page]]
        data = recording.page_data(page)
        walked = walk(data, recording.page_ts[page])
        has_cpus = bool(recording.page_has_cpus[page])
        for start, time_ns in zip(walked.starts, walked.times, strict=True):
            body = data[body_start(data, start) : record_end(data, start)]
            key = stream.number, _HEAD.unpack_from(body)[0]
            if key not in readers:
                readers[key] = _reader(stream, key[1], filters)
            reader = readers[key]
            if reader is not None:
                page_cpu = None if has_cpus else recording.page_cpu[page]
                found += reader.records(body, time_ns, page_cpu)
    return sorted(found, key=lambda record: record.time_ns)


def _reader(stream: Stream, event_id: int, filters: Filters) -> "_Reader | None":
    return _Reader(stream, event_id, filters) if event_id in stream.enabled else None


class _Reader:
    """Reads the records of one event in one session."""

    def __init__(self, stream: Stream, event_id: int, filters: Filters) -> None:
        declared = stream.events[event_id]
        self._stream = stream
        self._event = make_event(event_id, declared.system, declared.name, declared.fields)
        self._decoder = Decoder(self._event, event_id)
        self._filters: list[Filter] = [
            parse_filter(text, declared.fields) for name, text in filters if name == self._event.name
        ]

    def records(self, body: bytes, time_ns: int, page_cpu: int | None) -> Iterator[Record]:
        """Yield the record, unless a filter leaves it out."""
        head = int.from_bytes(body[:4], "little")
        tid = _HEAD.unpack_from(body)[3]
        cpu = head >> _CPU_SHIFT if page_cpu is None else page_cpu
        process = self._stream.process
        comm = process.tids.get(tid, process.comm)
        if not self._filters or any(each.matches(body, cpu=cpu, comm=comm) for each in self._filters):
            values = self._decoder.values(body)
            yield Record(self._event.name, values, time_ns=time_ns, pid=process.pid, tid=tid, cpu=cpu, comm=comm)


def lost(recording: Recording) -> int:
    """Return how many events were lost: dropped for any reason, overwritten, or missed by the reader."""
    total = 0
    for stream in recording.streams.values():
        counts = stream.counts or {}
        events = counts.get("events")
        each = events.values() if isinstance(events, dict) else ()
        total += sum(int(event.get(reason, 0)) for event in each for reason in REASONS)
        total += sum(number for key in ("overwritten", "missed") if isinstance(number := counts.get(key, 0), int))
    return total
