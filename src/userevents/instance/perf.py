"""perf's subscriptions to events: samples of the thread that a subscription watches, each with its own filter.

All subscriptions of an event together are one probe, so together they hold it once.

Source: user_events contract, write.md sections 3 and 5, lifecycle.md section 2.
"""

import errno
from collections import deque
from typing import NamedTuple

from ..abi.user_events import EVENT_STATUS_PERF, PERF_MAX_TRACE_SIZE
from ..engine import Group, UserEvent, Writer
from ..errors import Refused
from ..fields import validate
from ..fields.filter import CPUS_MAX, Filter, parse_filter
from ..fields.kernel_text import SPACES
from .body import record_body

_SIZE_FIELD = 4


class Sample(NamedTuple):
    """One PERF_SAMPLE_RAW: the record, zero padded so that with its 4-byte size it ends on 8 bytes."""

    data: bytes

    @property
    def payload(self) -> bytes:
        """What follows the record's own header."""
        return self.data[8:]


class Subscription:
    """One open perf event: what it listens to, whose writes it sees, and the samples nobody has taken yet."""

    def __init__(self, probe: "_Probe", tid: int, *, enabled: bool) -> None:
        self._probe = probe
        self.tid = tid
        self.enabled = enabled
        self.samples: deque[Sample] = deque()
        self._filter: Filter | None = None

    def set_filter(self, text: str) -> None:
        """Sample only what passes `text`; raises `Refused` as the ``filter`` file does, EEXIST where there is one."""
        if self._filter is not None:
            raise Refused(errno.EEXIST, "this subscription has a filter already; open another one")
        self._filter = parse_filter(text.strip(SPACES), self._probe.event.fields, cpus=self._probe.cpus)

    def close(self) -> None:
        """End it; the last one of an event lets go of the event."""
        self._probe.drop(self)

    def take(self, record: bytes, writer: Writer) -> None:
        """Keep a record that passes the filter."""
        if self._filter is not None and not self._filter.matches(record, cpu=writer.cpu, comm=writer.comm):
            return
        padding = -(len(record) + _SIZE_FIELD) & 7
        self.samples.append(Sample(record + bytes(padding)))


class _Probe:
    """perf on one event."""

    status_bit = EVENT_STATUS_PERF
    holder_name = "perf"

    def __init__(self, owner: "Perf", event: UserEvent, cpus: int) -> None:
        self._owner = owner
        self.event = event
        self.cpus = cpus
        self.subscriptions: list[Subscription] = []

    def record(self, event: UserEvent, payload: bytes, writer: Writer) -> bool:
        """Hand a written event to the subscriptions that watch its writer; False when it is not valid."""
        watching = [one for one in self.subscriptions if one.enabled and one.tid == writer.tid]
        record = record_body(event.id, writer.tid, payload)
        if not watching or len(record) + 7 & ~7 > PERF_MAX_TRACE_SIZE:
            return True
        if not validate(event.fields, record):
            return False
        for subscription in watching:
            subscription.take(record, writer)
        return True

    def drop(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)
            if not self.subscriptions:
                self._owner.forget(self)


class Perf:
    """Every perf subscription there is."""

    def __init__(self, group: Group, *, cpus: int = CPUS_MAX) -> None:
        self._group = group
        self._cpus = cpus
        self._probes: dict[UserEvent, _Probe] = {}

    def open(self, event_id: int, tid: int, *, enabled: bool = True) -> Subscription:
        """Subscribe to the event of that id, for what the thread `tid` writes; EINVAL if there is none."""
        event = self._group.events.by_id(event_id)
        if event is None:
            raise Refused(errno.EINVAL, f"there is no event with id {event_id}")
        probe = self._probes.get(event)
        if probe is None:
            probe = _Probe(self, event, self._cpus)
            event.attach(probe)
            self._probes[event] = probe
        subscription = Subscription(probe, tid, enabled=enabled)
        probe.subscriptions.append(subscription)
        return subscription

    def forget(self, probe: _Probe) -> None:
        """The last subscription of an event is closed."""
        del self._probes[probe.event]
        probe.event.detach(probe)
