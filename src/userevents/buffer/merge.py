"""Runs of records, each in time order, into one time order: the heart of every merge and every report.

A run is one page. Runs are handed over in the order of a time not later than their first record, so that only
those that overlap are open at once. `Merge` and `Batch` are the C ones where the extension is there.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush, heapreplace, nsmallest
from itertools import repeat
from typing import TYPE_CHECKING, Final, NamedTuple

from .native import native
from .run import PureRun, Run

MAX_OPEN = 8192
"""Runs open at once; beyond it (noise, or thousands of programs on one CPU) those that end first are let go."""
AT_ONCE = 256
"""Runs sorted together, so that memory stays small however many are open; so many are let go, too."""
_TOGETHER: Final = 16
"""So many runs are taken in before the next lot is sorted: it costs less together."""
_CPU_SHIFT: Final = 40


class Slice(NamedTuple):
    """Records `first` to `stop` of a run are next in time."""

    run: PureRun
    first: int
    stop: int


Mixed = list[tuple[int, int, int, PureRun]]
"""Records of several runs, next in time: (time, rank of the run, start of the record, run)."""

_Open = list[tuple[int, int, PureRun, int]]
"""A heap of open runs: (time of the next record, rank, run, number of the next record)."""
_Ranked = list[tuple[int, Slice]]


class PureBatch:
    """Records next in time: `parts` are slices of one run where no other has anything in between, or mixed."""

    def __init__(self, parts: list[Slice | Mixed]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        """How many records there are."""
        return sum(part.stop - part.first if isinstance(part, Slice) else len(part) for part in self.parts)

    def records(self) -> list[tuple[int, int, PureRun]]:
        """Return (time, start of the record in its page's data, run) of each record."""
        found = []
        for part in self.parts:
            if isinstance(part, Slice):
                run, first, stop = part
                found += list(zip(run.times[first:stop], run.starts[first:stop], repeat(run), strict=False))
            else:
                found += [(time, start, run) for time, _, start, run in part]
        return found


class PureMerge:
    """Puts runs into one time order. Where times are equal the lower CPU comes first, then the run pushed first."""

    def __init__(self) -> None:
        self._heap: _Open = []
        self._order = 0

    def __len__(self) -> int:
        """How many runs are open."""
        return len(self._heap)

    def push(self, run: PureRun) -> None:
        """Take in a run."""
        if run.times:
            heappush(self._heap, (run.times[0], run.cpu << _CPU_SHIFT | self._order, run, 0))
        self._order += 1

    def extend(self, runs: list[PureRun]) -> None:
        """Take in runs."""
        for run in runs:
            self.push(run)

    def drain(self, limit: int | None) -> PureBatch | None:
        """Return a batch of what is earlier than `limit` (None: of everything), None if nothing is."""
        heap = self._heap
        if not heap or (limit is not None and heap[0][0] >= limit):
            return None
        if len(heap) > AT_ONCE:
            bound = nsmallest(AT_ONCE, heap)[-1][0] + 1
            limit = bound if limit is None else min(bound, limit)
        slices: _Ranked = []
        rest = []
        while heap and (limit is None or heap[0][0] < limit):
            _, rank, run, first = heappop(heap)
            stop = len(run.times) if limit is None else bisect_left(run.times, limit, first)
            slices.append((rank, Slice(run, first, stop)))
            if stop < len(run.times):
                rest.append((run.times[stop], rank, run, stop))
        for entry in rest:
            heappush(heap, entry)
        return PureBatch(list(_parts(slices)))

    def let_go(self, number: int) -> PureBatch | None:
        """Take the `number` runs that end first out, and return what is left of them."""
        going = nsmallest(number, self._heap, key=lambda entry: (entry[2].times[-1], entry[0], entry[1]))
        ranks = {rank for _, rank, _, _ in going}
        self._heap[:] = [entry for entry in self._heap if entry[1] not in ranks]
        heapify(self._heap)
        slices = sorted((first, rank, Slice(run, first, len(run.times))) for _, rank, run, first in going)
        return PureBatch([_sorted([(rank, one) for _, rank, one in slices])]) if slices else None


def _parts(slices: _Ranked) -> Iterator[Slice | Mixed]:
    """Yield slices, in the order of their first records, by groups that overlap: alone as they are, else mixed."""
    group: _Ranked = []
    end = (-1, -1)
    for rank, one in slices:
        if group and (one.run.times[one.first], rank) > end:
            yield group[0][1] if len(group) == 1 else _sorted(group)
            group = []
        group.append((rank, one))
        end = max(end, (one.run.times[one.stop - 1], rank))
    if group:
        yield group[0][1] if len(group) == 1 else _sorted(group)


def _sorted(slices: _Ranked) -> Mixed:
    mixed: Mixed = []
    for rank, (run, first, stop) in slices:
        mixed.extend(zip(run.times[first:stop], repeat(rank), run.starts[first:stop], repeat(run), strict=False))
    mixed.sort()
    return mixed


if TYPE_CHECKING:
    Batch = PureBatch
    Merge = PureMerge
else:
    Batch = native.Batch if native else PureBatch
    Merge = native.Merge if native else PureMerge


def interleave(runs: Iterable[Run]) -> Iterator[Batch]:
    """Yield all records in time order, batch by batch. `runs` come in the order of their `since`."""
    merge = Merge()
    for number, run in enumerate(runs, 1):
        if number % _TOGETHER == 0:
            while (batch := merge.drain(run.since)) is not None:
                yield batch
        merge.push(run)
        if len(merge) > MAX_OPEN and (batch := merge.let_go(AT_ONCE)) is not None:
            yield batch
    while (batch := merge.drain(None)) is not None:
        yield batch


def interleave_lots(sources: Iterable[Iterable[list[Run]]]) -> Iterator[Batch]:
    """Yield all records in time order, batch by batch, of sources each of which has its runs in order, in lots.

    A source is asked for its next lot when no other is known to have earlier records, so that little is open at once.
    """
    merge = Merge()
    waiting = [(0, number, iter(source)) for number, source in enumerate(sources)]
    while waiting:
        _, number, source = waiting[0]
        lot = next(source, None)
        if lot is None:
            heappop(waiting)
        elif lot:
            merge.extend(lot)
            heapreplace(waiting, (lot[-1].since, number, source))
        if waiting and len(merge) > MAX_OPEN and (batch := merge.let_go(AT_ONCE)) is not None:
            yield batch
        while (batch := merge.drain(waiting[0][0] if waiting else None)) is not None:
            yield batch
