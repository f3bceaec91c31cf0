"""Whether the order of records of several hosts is certain: their clocks are only known to within something.

Two records of different hosts are in doubt where their times are closer than both uncertainties together.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from .hosts import Host, pids_a_host
from .model import Record

_NEVER: Final = -(1 << 64)
_UNKNOWN_NS: Final = 1_000_000_000
"""How far the dates of two hosts are taken to be apart at most, where their clocks were not compared."""


class Placed(NamedTuple):
    """A record of a trace of several hosts. `in_doubt`: it may have come before one of another host shown above it."""

    record: Record
    host: Host | None
    in_doubt: bool

    @property
    def name(self) -> str | None:
        """The host's."""
        return None if self.host is None else self.host.name

    @property
    def host_pid(self) -> int | None:
        """What the record's host calls its process."""
        return None if self.host is None or self.record.pid is None else self.host.pid_of(self.record.pid)

    @property
    def at_home(self) -> Record:
        """The record with its pid and tid as its host calls them."""
        if self.host is None:
            return self.record
        return self.record._replace(pid=self.host_pid, tid=self.host.pid_of(self.record.tid))


def uncertainty_ns(host: Host) -> int:
    """Return how far a host's times may be wrong, whatever is known of it."""
    return _UNKNOWN_NS if host.uncertainty_ns is None else host.uncertainty_ns


@dataclass(slots=True)
class Shown:
    """Until when a record may have happened that was shown: the latest of all hosts, and of any but its host."""

    until_ns: int = _NEVER
    host: int = 0
    other_ns: int = _NEVER

    def take(self, host: int, ts_ns: int, known_ns: int) -> bool:
        """A host's record is shown next; returns whether it may have come before one of another host."""
        in_doubt = ts_ns - known_ns < (self.other_ns if host == self.host else self.until_ns)
        until_ns = ts_ns + known_ns
        if host == self.host:
            self.until_ns = max(self.until_ns, until_ns)
        elif until_ns > self.until_ns:
            self.until_ns, self.host, self.other_ns = until_ns, host, self.until_ns
        else:
            self.other_ns = max(self.other_ns, until_ns)
        return in_doubt


def placed(records: Iterable[Record], hosts: Iterable[Host], shown: Shown | None = None) -> Iterator[Placed]:
    """Yield records that come in order of time with their hosts, and say whose place is in doubt.

    `shown` goes from trace to trace where those are shown one after the other.
    """
    by_number = {host.number: host for host in hosts}
    block = pids_a_host(by_number.values())
    known_ns = {number: uncertainty_ns(host) for number, host in by_number.items()}
    shown = shown or Shown()
    for record in records:
        host = None if record.pid is None else by_number.get(record.pid // block)
        if host is None:
            yield Placed(record, None, False)
            continue
        yield Placed(record, host, shown.take(host.number, record.ts_ns, known_ns[host.number]))
