"""How many records there were when: by process, event and CPU, in bins of equal length.

No record is decoded. A page whose records of one kind lie in one bin is counted at once.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final, NamedTuple

from ...abi.ring_buffer import RECORD_HEADER, RECORD_HEADER_SIZE
from ...buffer.page import body_start
from ...buffer.run import Run
from ..decoder import Decoder
from ..model import Event, Process
from ..sources import Source
from ..summary import times_of

_HEAD: Final = Struct(RECORD_HEADER)
_TOLD_EVERY: Final = 1 << 10

Bins = dict[int, int]
"""Records by the number of the bin; only bins that have any."""


class Bounds(NamedTuple):
    """What time is divided into: `bins` bins of `width_ns` from `start_ns` on."""

    start_ns: int
    width_ns: int
    bins: int

    @classmethod
    def over(cls, first_ns: int, last_ns: int, bins: int) -> "Bounds":
        """Return at most `bins` bins over all times from the first to the last.

        >>> Bounds.over(100, 199, 10)
        Bounds(start_ns=100, width_ns=10, bins=10)
        """
        span = last_ns - first_ns + 1
        width = max(-(-span // bins), 1)
        return cls(first_ns, width, -(-span // width))

    def of(self, ts_ns: int) -> int:
        """Return the number of the bin a time is in; what lies outside counts to the first or last."""
        return min(max((ts_ns - self.start_ns) // self.width_ns, 0), self.bins - 1)


class Density:
    """The counts of a whole trace."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.by_event: dict[tuple[int, str, int], Bins] = {}
        """By (PID, or thread where that is not known; name; id of the event)."""
        self.by_cpu: dict[int, Bins] = {}
        self.records = 0


class _Kind:
    """Where the records of one head, in the pages of one process, are counted; None: that depends on the time."""

    __slots__ = ("bins", "event", "tid")

    def __init__(self, tid: int, event: Event, bins: Bins | None) -> None:
        self.tid = tid
        self.event = event
        self.bins = bins


def density(source: Source, bounds: Bounds, told: Callable[[], None] = lambda: None) -> Density:
    """Count all records of a trace; `told` is called now and then."""
    found, shift = Density(bounds), source.shift_ns
    kinds: dict[tuple[int, bytes], _Kind] = {}

    def bins_of(tag: Process | None, event: Event, tid: int, ts_ns: int) -> tuple[Bins, bool]:
        pid, comm, holds = source.who(tag, tid, ts_ns)
        return found.by_event.setdefault((tid if pid is None else pid, comm, event.id), {}), holds

    def kind_of(run: Run, head: bytes, ts_ns: int) -> _Kind:
        event_id, _, _, tid = _HEAD.unpack(head)
        event = Decoder(source.events.get(event_id), event_id).event
        bins, holds = bins_of(run.tag, event, tid, ts_ns)
        kind = kinds[id(run.tag), head] = _Kind(tid, event, bins if holds else None)
        return kind

    for number, run in enumerate(source.runs()):
        if number % _TOLD_EVERY == 0:
            told()
        cpu = found.by_cpu.setdefault(run.cpu, {})
        for at, head, count, first_ns in _pieces(run, bounds, shift):
            kind = kinds.get((id(run.tag), head)) or kind_of(run, head, first_ns)
            found.records += count
            cpu[at] = cpu.get(at, 0) + count
            bins = kind.bins
            if bins is not None:
                bins[at] = bins.get(at, 0) + count
                continue
            for time in times_of(run, head):
                if bounds.of(time + shift) == at:
                    one = bins_of(run.tag, kind.event, kind.tid, time + shift)[0]
                    one[at] = one.get(at, 0) + 1
    return found


def _pieces(run: Run, bounds: Bounds, shift: int) -> Iterator[tuple[int, bytes, int, int]]:
    """Yield (bin, head, records, time of one of them) of a page: where it lies in one bin, without looking inside."""
    heads = run.heads()
    if not heads:
        return
    first, last = min(first for _, first, _ in heads.values()), max(last for _, _, last in heads.values())
    if bounds.of(first + shift) == bounds.of(last + shift):
        at = bounds.of(first + shift)
        for head, (count, first_ns, _) in heads.items():
            yield at, head, count, first_ns + shift
        return
    data, times = run.data, run.times
    bodies = [body_start(data, start) for start in run.starts] if run.has_long else [start + 4 for start in run.starts]
    each = [data[body : body + RECORD_HEADER_SIZE] for body in bodies]
    begin = 0
    while begin < len(times):
        at = bounds.of(times[begin] + shift)
        end = bisect_left(times, bounds.start_ns + (at + 1) * bounds.width_ns - shift, begin)
        end = len(times) if at == bounds.bins - 1 else max(end, begin + 1)
        for head, count in Counter(each[begin:end]).items():
            yield at, head, count, times[begin] + shift
        begin = end
