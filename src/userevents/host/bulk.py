"""Records of a socket, many at a time: each taken as if it had been written through the tree at the time it carries.

Most go the short way: into rings (an `Intake`) and recordings, without a call for each. Whoever wrote has been told
long ago that all went well, so that what is refused here is only counted.
"""

import errno
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Final, NamedTuple

from ..abi.ring_buffer import MAX_BODY_SIZE
from ..engine import Group, OpenFile, UserEvent, Writer
from ..errors import Refused
from ..fields import min_payload
from ..instance import Instance, Intake, lose_records
from ..instance.body import record_body
from . import process
from .clocks import TraceClocks
from .natives import Natives

_INDEX_SIZE: Final = 4


class Written(NamedTuple):
    """One event's records of one process, in order: sizes as written (the index included), payloads, times."""

    sizes: Sequence[int]
    payloads: Sequence[bytes]
    times_ns: Sequence[int]


class _Route(NamedTuple):
    """Where an event's records go as things stand."""

    intake: Intake | None
    views: tuple[Instance, ...]
    least: int
    has_others: bool


class BulkWriter:
    """Writes into `instances`. The caller holds the loop's lock."""

    def __init__(
        self, group: Group, instances: Mapping[str, Instance], clocks: TraceClocks, natives: Natives | None = None
    ) -> None:
        self.lost: Counter[str] = Counter()
        """Writes that the program took for good ones and that were refused, by errno."""
        self._group = group
        self._instances = instances
        self._clocks = clocks
        self._natives = natives
        self._routes: dict[UserEvent, _Route] = {}
        self._names: dict[int, str] = {}

    def begin(self) -> None:
        """Something may have been changed since the last records: find their ways anew."""
        self._routes.clear()

    def write(self, table: object, index: int, pid: int, written: Written) -> None:
        """Take records that were written to the open file `table` for its event `index`."""
        assert isinstance(table, OpenFile)
        if not 0 <= index < len(table.events):
            self._lose(errno.ENOENT if index >= 0 else errno.EINVAL, len(written.sizes))
            return
        event = table.events[index]
        if not event.probes:
            self._lose(errno.EBADF, len(written.sizes))
            return
        route = self._route(event)
        if route.has_others or min(written.sizes) < route.least:
            self._write_each(table, index, pid, written)
            return
        for instance in route.views:
            assert self._natives is not None
            self._natives.take_many(instance, event, self.writer(pid), written.times_ns, written.payloads)
        if route.intake is not None:
            take, cpu = route.intake.take, 0
            bodies = map(record_body, repeat(event.id), repeat(pid), written.payloads)
            try:
                for time_ns, body in zip(written.times_ns, bodies, strict=False):
                    if len(body) <= MAX_BODY_SIZE and not take(time_ns, cpu, pid, body + bytes(-len(body) % 4), self):
                        self._lose(errno.EFAULT, 1)
            finally:
                self._clocks.hold(None)

    def give_up(self, table: object, index: int, pid: int, count: int) -> None:
        """Records that came faster than they could be taken in: they are lost, and counted."""
        assert isinstance(table, OpenFile)
        self.lost["ring full"] += count
        if not 0 <= index < len(table.events):
            return
        lose_records(table.events[index], self.writer(pid), count)

    def _write_each(self, table: OpenFile, index: int, pid: int, written: Written) -> None:
        """The long way: one write after the other, each at its time."""
        head, writer = index.to_bytes(_INDEX_SIZE, "little", signed=True), self._of(pid)
        try:
            for size, payload, time_ns in zip(written.sizes, written.payloads, written.times_ns, strict=True):
                self._clocks.hold(time_ns)
                whole = payload + bytes(max(size - _INDEX_SIZE - len(payload), 0))
                try:
                    self._group.write(table, (head + whole)[:size], size, writer)
                except Refused as refused:
                    self._lose(refused.errno or errno.EIO, 1)
        finally:
            self._clocks.hold(None)

    def _of(self, pid: int) -> Writer:
        return Writer(pid, pid, self.name(pid), 0)

    def writer(self, tid: int, cpu: int = 0) -> Writer:
        """Who wrote: the process. Which of its threads, and on which CPU, a socket does not tell."""
        return Writer(tid, tid, self.name(tid), cpu)

    def name(self, pid: int) -> str:
        """A process's name, remembered for as long as its records may still come."""
        found = self._names.get(pid)
        if found is None:
            found = self._names[pid] = process.comm(pid)
        return found

    def meet(self, pid: int) -> None:
        """A process may write from now on; learn what there is to know of it while it lives."""
        self._names[pid] = process.comm(pid)
        if self._natives is not None:
            self._natives.meet(pid)

    def _lose(self, number: int, count: int) -> None:
        self.lost[errno.errorcode.get(number, str(number))] += count

    def _route(self, event: UserEvent) -> _Route:
        found = self._routes.get(event)
        if found is None:
            found = self._routes[event] = self._find_route(event)
        return found

    def _find_route(self, event: UserEvent) -> _Route:
        listening = [instance for instance in self._instances.values() if instance.attached(event)]
        views = tuple(each for each in listening if each.tap is not None and each.streams(event))
        ringed = [each for each in listening if each not in views or each.feeds(event)]
        intake = Intake(event, ringed, self._clocks) if ringed else None
        least = _INDEX_SIZE + min_payload(event.fields)
        return _Route(intake, views, least, len(event.probes) > len(listening))
