"""Putting runs of records, each in time order, into one time order: the heart of every merge and every report.

A run is one page. Runs are handed over in the order of a time not later than their first record, so that only
those that overlap are open at once. They come back as slices of one run, where no other has anything in
between, and otherwise as sorted lists of single records.
"""

from bisect import bisect_left
from collections.abc import Generator, Iterable, Iterator
from heapq import heapify, heappop, heappush, nsmallest
from itertools import repeat
from typing import Generic, NamedTuple, Protocol, TypeVar

MAX_OPEN = 8192
"""Runs open at once; beyond it (noise, or thousands of programs on one CPU) those that end first are let go."""
AT_ONCE = 256
"""Runs sorted together, so that memory stays small however many are open."""
_MANY = 12
_WAIT = 15
"""Where so many runs are mixed, so many more are taken in before the next lot is sorted: it costs less together."""
_CPU_SHIFT = 40


class Run(Protocol):
    """One page: `since` is a time not later than its first record; `times` and `starts` are those of its records."""

    since: int
    cpu: int
    times: list[int]
    starts: list[int]


AnyRun = TypeVar("AnyRun", bound=Run)


class Slice(NamedTuple, Generic[AnyRun]):
    """Records `first` to `stop` of a run are next in time."""

    run: AnyRun
    first: int
    stop: int


Mixed = list[tuple[int, int, int, AnyRun]]
"""Records of several runs, next in time: (time, rank of the run, start of the record, run)."""

_Open = list[tuple[int, int, AnyRun, int]]
"""A heap of open runs: (time of the next record, rank, run, number of the next record)."""


def interleave(runs: Iterable[AnyRun]) -> Iterator[Slice[AnyRun] | Mixed[AnyRun]]:
    """Yield all records in time order. `runs` come in the order of their `since`.

    Where times are equal the lower CPU comes first, as in stock trace-cmd, then the run that came first.
    """
    heap: _Open[AnyRun] = []
    wait = 0
    for order, run in enumerate(runs):
        if wait:
            wait -= 1
        else:
            wait = _WAIT if (yield from _drain(heap, run.since)) >= _MANY else 0
        if run.times:
            heappush(heap, (run.times[0], run.cpu << _CPU_SHIFT | order, run, 0))
        if len(heap) > MAX_OPEN:
            yield _let_go(heap)
    yield from _drain(heap, None)


def _drain(heap: _Open[AnyRun], limit: int | None) -> Generator[Slice[AnyRun] | Mixed[AnyRun], None, int]:
    """Yield what is earlier than `limit` (None: everything), and return of how many runs at most it came at once."""
    most = 0
    while heap and (limit is None or heap[0][0] < limit):
        until = limit
        if len(heap) > AT_ONCE:
            bound = nsmallest(AT_ONCE, heap)[-1][0] + 1
            until = bound if limit is None else min(bound, limit)
        slices = []
        rest = []
        while heap and (until is None or heap[0][0] < until):
            _, rank, run, first = heappop(heap)
            stop = len(run.times) if until is None else bisect_left(run.times, until, first)
            slices.append((rank, Slice(run, first, stop)))
            if stop < len(run.times):
                rest.append((run.times[stop], rank, run, stop))
        for entry in rest:
            heappush(heap, entry)
        most = max(most, len(slices))
        yield slices[0][1] if len(slices) == 1 else _sorted(slices)
    return most


def _sorted(slices: list[tuple[int, Slice[AnyRun]]]) -> Mixed[AnyRun]:
    mixed: Mixed[AnyRun] = []
    for rank, (run, first, stop) in slices:
        mixed.extend(zip(run.times[first:stop], repeat(rank), run.starts[first:stop], repeat(run), strict=False))
    mixed.sort()
    return mixed


def _let_go(heap: _Open[AnyRun]) -> Mixed[AnyRun]:
    """Take the runs that end first out of the heap, and return what is left of them."""
    going = nsmallest(AT_ONCE, heap, key=lambda entry: entry[2].times[-1])
    ranks = {rank for _, rank, _, _ in going}
    heap[:] = [entry for entry in heap if entry[1] not in ranks]
    heapify(heap)
    return _sorted([(rank, Slice(run, first, len(run.times))) for _, rank, run, first in going])
