"""Whether the order of records of several hosts is certain: their clocks are only known to within something.

Two records of different hosts are in doubt where their times are closer than both uncertainties together.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from .hosts import Host
from .model import PIDS_A_HOST, Record

_UNKNOWN_NS: Final = 1_000_000_000
"""How far the dates of two hosts are taken to be apart at most, where their clocks were not compared."""


class Placed(NamedTuple):
    """A record of a trace of several hosts. `in_doubt`: it may have come before one of another host shown above it."""

    record: Record
    host: Host | None
    in_doubt: bool


def uncertainty_ns(host: Host) -> int:
    """Return how far a host's times may be wrong, whatever is known of it."""
    return _UNKNOWN_NS if host.uncertainty_ns is None else host.uncertainty_ns


def host_of(pid: int | None, hosts: dict[int, Host]) -> Host | None:
    """Return the host of a process, by its pid in a trace of several."""
    return None if pid is None else hosts.get(pid // PIDS_A_HOST)


def placed(records: Iterable[Record], hosts: Iterable[Host]) -> Iterator[Placed]:
    """Yield records that come in order of time with their hosts, and say whose place is in doubt."""
    by_number = {host.number: host for host in hosts}
    known_ns = {number: uncertainty_ns(host) for number, host in by_number.items()}
    last: dict[int, int] = {}
    for record in records:
        host = host_of(record.pid, by_number)
        if host is None:
            yield Placed(record, None, False)
            continue
        since_ns = record.ts_ns - known_ns[host.number]
        in_doubt = any(number != host.number and since_ns < ts_ns + known_ns[number] for number, ts_ns in last.items())
        last[host.number] = record.ts_ns
        yield Placed(record, host, in_doubt)
