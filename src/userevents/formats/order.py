"""Whether the order of records of several hosts is certain: their clocks are only known to within something.

Two records of different hosts are in doubt where their times are closer than both uncertainties together.
"""

from collections.abc import Iterable, Iterator
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


def placed(records: Iterable[Record], hosts: Iterable[Host]) -> Iterator[Placed]:
    """Yield records that come in order of time with their hosts, and say whose place is in doubt."""
    by_number = {host.number: host for host in hosts}
    block = pids_a_host(by_number.values())
    known_ns = {number: uncertainty_ns(host) for number, host in by_number.items()}
    # Until when a record may have happened that was shown: the latest of all hosts, and of any but its host.
    until_ns, of, other_ns = _NEVER, 0, _NEVER
    for record in records:
        host = None if record.pid is None else by_number.get(record.pid // block)
        if host is None:
            yield Placed(record, None, False)
            continue
        known = known_ns[host.number]
        yield Placed(record, host, record.ts_ns - known < (other_ns if host.number == of else until_ns))
        if host.number == of:
            until_ns = record.ts_ns + known
        elif record.ts_ns + known > until_ns:
            until_ns, of, other_ns = record.ts_ns + known, host.number, until_ns
        else:
            other_ns = max(other_ns, record.ts_ns + known)
