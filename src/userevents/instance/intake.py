"""The way of one event's records into the instances that take them, where another process wrote the records.

A record meets here what it would meet had it been written through the tree (`Instance.record`): triggers, the pid
list, the filter, the rings, at the time at which it was written. Where an instance does nothing but keep it, its
bytes go into the rings as they are.
"""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from ..abi.ring_buffer import RECORD_HEADER_SIZE
from ..engine import UserEvent, Writer
from ..fields import checks, min_payload, passes
from .instance import Instance
from .recorder import Rings

_COUNTER: Final = "counter"
"""The clock that counts records, so that each has to ask it."""

Reading = Callable[[int], int]
"""Gives what a trace clock showed at a moment (CLOCK_MONOTONIC, ns)."""


class Moments(Protocol):
    """The host's clocks, which can be held at the moment at which a record was written."""

    def hold(self, moment_ns: int | None) -> None:
        """Let every clock show that moment from now on; None lets them go on."""

    def reading(self, clock: str) -> Reading | None:
        """How a clock showed moments of the last while; None where it shows the moments themselves."""


class Author(Protocol):
    """The process that wrote the records."""

    def writer(self, tid: int, cpu: int) -> Writer:
        """One of its threads, on a CPU."""


class Intake:
    """One event's way into `instances`, as they stand now; good until a client changes one of them.

    What triggers change between two records is followed.
    """

    def __init__(self, event: UserEvent, instances: Iterable[Instance], moments: Moments) -> None:
        self._event = event
        self._min_size: Final = RECORD_HEADER_SIZE + min_payload(event.fields)
        self._checks: Final = checks(event.fields)
        self._moments = moments
        self._rings: list[tuple[Rings, Reading | None, bool]] = []
        """Those of instances that keep every record as it is, how their clock goes, whether they overwrite."""
        self._noting: list[Instance] = []
        self._others: list[Instance] = []
        self._last_tid = -1
        for instance in instances:
            self._add(instance)

    def _add(self, instance: Instance) -> None:
        recorder = instance.recorder
        if instance.judges(self._event) or recorder.clock == _COUNTER:
            self._others.append(instance)
        elif instance.rings is not None and self._event in instance.enabled:
            self._rings.append((instance.rings, self._moments.reading(recorder.clock), recorder.overwrite))
            self._noting.append(instance)

    def take(self, ts_ns: int, cpu: int, tid: int, body: bytes, author: Author) -> bool:
        """Take one record written at the moment `ts_ns`; False if it is not valid.

        `body` is its header and its payload, as stored: rounded up.
        """
        if len(body) < self._min_size or tid <= 0:
            return False
        valid = True
        if self._others:
            self._moments.hold(ts_ns)
            writer, payload = author.writer(tid, cpu), body[RECORD_HEADER_SIZE:]
            outcomes = [instance.record(self._event, payload, writer) for instance in self._others]
            valid = all(outcomes)
        if not self._rings:
            return valid
        if self._checks and not passes(self._checks, body):
            return False
        for rings, reading, overwrite in self._rings:
            rings[cpu].write(ts_ns if reading is None else reading(ts_ns), body, overwrite=overwrite)
        if tid != self._last_tid:
            self._last_tid = tid
            writer = author.writer(tid, cpu)
            for instance in self._noting:
                instance.note(writer)
        return valid
