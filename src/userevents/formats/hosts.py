"""The hosts of a recording that was brought together from several: whose frames come next, and what they mean here.

Such a recording holds each host's own frames as they came, in batches, under a scope: one run of one host's agent.
Sessions get numbers of their own, a host's CPUs follow those of the hosts before it, its times are moved to the
recording's clock, and its processes and threads have a block of numbers of their own: as large a power of ten as gives
each host one of 31 bits. Up to 213 hosts that is `model.PIDS_A_HOST`, in which any pid stands as it is; in the smaller
blocks of more hosts only the last digits of a large pid do, and the next number where another thread has these.

Source: docs/formats/recording.md, docs/formats/fleet.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from . import facts
from .host_clock import HostClock, Sample
from .model import PIDS_A_HOST

MAX_HOSTS: Final = 21_473
"""Hosts in one trace: a thread's id has 31 bits, and each host a hundred thousand of them."""
MAX_SCOPES: Final = 1 << 16
MAX_TRACE_CPUS: Final = 1 << 16
"""CPUs of all hosts; those beyond are the last one in the trace."""
_NUMBERS: Final = 1 << 31
_MOVED_MAX: Final = 50_000
"""Threads of one host that are told apart in a block smaller than pids are large; more are noise."""
_TRIES: Final = 64
"""So many numbers are tried: no two pids of one host have the same last digits more than a few times."""
_APART: Final = 3
"""So many hosts are spoken of one by one."""
_STORED: Final = (
    "number", "name", "cpus", "first_cpu", "first_pid", "offset_ns", "drift_ppm", "uncertainty_ns", "missing",
    "missing_records", "ended", "release",
)  # fmt: skip


def block_size(hosts: int) -> int:
    """Return how many numbers each of so many hosts has for its processes and threads.

    >>> block_size(213), block_size(1000), block_size(MAX_HOSTS)
    (10000000, 1000000, 100000)
    """
    size = PIDS_A_HOST
    while (hosts + 1) * size > _NUMBERS:
        size //= 10
    return size


@dataclass(slots=True)
class Host:
    """One host of a trace. `first_cpu` and `first_pid` are added to its CPUs, and to what its processes are called.

    `offset_ns` is what its clock lacks to the trace's, in the middle of what was compared. `uncertainty_ns` is how far
    its times may be wrong; None: the clocks were never compared. `missing` counts the batches that never came,
    `missing_records` the records in them.
    """

    number: int
    name: str
    cpus: int = 1
    first_cpu: int = 0
    first_pid: int = 0
    offset_ns: int = 0
    drift_ppm: float = 0.0
    uncertainty_ns: int | None = None
    missing: int = 0
    missing_records: int = 0
    ended: bool = True
    release: str = ""
    _pids: dict[int, int] = field(default_factory=dict, repr=False, compare=False)
    """By number in its block, the pid or tid that has it, where a block is smaller than pids are large."""

    def number_of(self, pid: int) -> int:
        """Return what a process or thread of this host is called in the trace."""
        pid &= 0xFFFFFFFF
        size = self.first_pid // max(self.number, 1) or PIDS_A_HOST
        place = pid % size
        if size < PIDS_A_HOST and len(self._pids) < _MOVED_MAX:
            for free in range(place, place + _TRIES):
                if self._pids.setdefault(free % size, pid) == pid:
                    return self.first_pid + free % size
        return self.first_pid + place

    def pid_of(self, number: int) -> int:
        """Return what this host calls a process or thread of the trace."""
        place = number - self.first_pid
        return self._pids.get(place, place)

    def cpu_of(self, cpu: int) -> int:
        """Return which CPU of the trace one of this host is."""
        return min(self.first_cpu + cpu, MAX_TRACE_CPUS - 1)


@dataclass(slots=True)
class Scope:
    """One run of one host's agent: its sessions by their numbers there, and what its batches told."""

    host: Host
    incarnation: str
    streams: dict[int, int] = field(default_factory=dict)
    nonces: dict[int, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    header: dict[str, object] = field(default_factory=dict)
    clock: HostClock = field(default_factory=lambda: HostClock([]))
    ended: bool = False
    missing_records: int = 0
    last_seq: int = 0


class Hosts:
    """All hosts of one recording, and the scope that holds at the place that is being read."""

    def __init__(self) -> None:
        self.by_name: dict[str, Host] = {}
        self.scopes: dict[int, Scope] = {}
        self.current: Scope | None = None
        """Whose frames are being read; None for frames of the recording itself."""
        self.is_skipping = False
        """Whether the frames being read are nobody's: of a batch that came before, or of a host that is not known."""

    def __bool__(self) -> bool:
        return bool(self.by_name)

    @property
    def cpus(self) -> int:
        """How many CPUs all hosts have, as far as a trace tells them apart."""
        return min(sum(host.cpus for host in self.by_name.values()), MAX_TRACE_CPUS)

    def open(self, number: int, found: dict[str, object]) -> str:
        """Take in a HOST frame; return what is wrong with it."""
        name, place = facts.text(found, "name", "?"), facts.whole(found, "number")
        if number in self.scopes or len(self.scopes) >= MAX_SCOPES:
            return f"host '{name}' is opened twice, or is one of more than {MAX_SCOPES}"
        host = self.by_name.get(name)
        if host is None:
            if not 0 < place <= MAX_HOSTS or any(known.number == place for known in self.by_name.values()):
                return f"host '{name}' has the number {place}: a trace takes {MAX_HOSTS} hosts, each its own"
            host = self.by_name[name] = Host(place, name)
        self.scopes[number] = Scope(host, facts.text(found, "incarnation"))
        return ""

    def begin_batch(self, number: int, found: dict[str, object]) -> None:
        """Take in a BATCH frame: what follows is of this scope, up to the next; number 0 is the recording itself."""
        self.current = scope = self.scopes.get(number)
        seq, missing = facts.count(found, "seq"), facts.count(found, "missing")
        self.is_skipping = number != 0 and (scope is None or seq <= scope.last_seq)
        if self.is_skipping or scope is None:
            self.current = None
            return
        scope.last_seq = seq
        scope.host.missing += missing
        records = facts.count(found, "missing_records")
        scope.missing_records += records
        scope.host.missing_records += records

    def add_sample(self, number: int, found: dict[str, object]) -> None:
        """Take in a CLOCK frame."""
        here, there = facts.time_or_none(found, "here_ns"), facts.time_or_none(found, "there_ns")
        scope = self.scopes.get(number)
        if scope is not None and here is not None and there is not None:
            scope.samples.append(Sample(here, there, facts.count(found, "uncertainty_ns")))

    def begin_recording(self, scope: Scope, header: dict[str, object]) -> None:
        """Take in a host's own HEADER."""
        scope.header = scope.header or header
        scope.ended = False
        cpus = facts.whole(header, "cpus", 1)
        scope.host.cpus = max(scope.host.cpus, cpus if 0 < cpus <= 4096 else 1)
        scope.host.release = facts.text(header, "release")

    def settle(self, header: dict[str, object]) -> None:
        """Give each host its CPUs and its block of pids, and each scope its clock; `header` is the recording's own."""
        first_cpu, last = 0, max(host.number for host in self.by_name.values())
        size = block_size(min(max(last, facts.count(header, "hosts")), MAX_HOSTS))
        for host in sorted(self.by_name.values(), key=lambda host: host.number):
            host.first_cpu, host.first_pid = min(first_cpu, MAX_TRACE_CPUS - 1), host.number * size
            first_cpu += host.cpus
        for scope in self.scopes.values():
            scope.clock = HostClock(scope.samples, _guess(scope.header, header))
            if not scope.header:
                continue
            host, samples = scope.host, scope.clock.samples
            host.ended = host.ended and scope.ended
            middle = samples[len(samples) // 2].there_ns if samples else facts.time(scope.header, "mono_ns")
            host.offset_ns = scope.clock.at(middle).shift_ns
            host.drift_ppm = round(scope.clock.drift * 1e6, 3)
            host.uncertainty_ns = scope.clock.uncertainty_ns

    def notes(self) -> list[str]:
        """Say what whoever reads the trace must know of its hosts."""
        hosts = sorted(self.by_name.values(), key=lambda host: host.number)
        unknown = [host.name for host in hosts if host.uncertainty_ns is None]
        cut = [host.name for host in hosts if not host.ended]
        lacking = [host for host in hosts if host.missing]
        found = [f"{who}: the clock was not compared; times go by what the date said" for who in spoken_of(unknown)]
        for some in [lacking] if len(lacking) > _APART else [[host] for host in lacking]:
            records = sum(host.missing_records for host in some)
            batches = f"{sum(host.missing for host in some):,} batches never came"
            (who,) = spoken_of([host.name for host in some])
            found.append(f"{who}: {batches}, {records:,} records" if records else f"{who}: {batches}")
        return found + [f"{who}: the recording has no end; counts are the last that came" for who in spoken_of(cut)]


def spoken_of(names: Sequence[str]) -> list[str]:
    """Return what to call some hosts: each by itself, and many of them together.

    >>> spoken_of(["a", "b"]), spoken_of(["a", "b", "c", "d"])
    (["host 'a'", "host 'b'"], ['4 hosts (a, b, c, ...)'])
    """
    if len(names) <= _APART:
        return [f"host '{name}'" for name in names]
    return [f"{len(names):,} hosts ({', '.join(names[:_APART])}, ...)"]


def _guess(there: dict[str, object], here: dict[str, object]) -> int:
    """Return what to add to a host's times going by the two dates alone."""
    ahead = facts.time(there, "real_ns") - facts.time(there, "mono_ns")
    return ahead - (facts.time(here, "real_ns") - facts.time(here, "mono_ns"))


def pids_a_host(hosts: Iterable[Host]) -> int:
    """Return how many numbers each of the hosts of a trace has for its processes and threads."""
    sizes = (host.first_pid // host.number for host in hosts if 0 < host.number <= host.first_pid)
    return min(sizes, default=PIDS_A_HOST)


def to_json(host: Host) -> dict[str, object]:
    """Return a host as it is stored in a trace file; `moved` are the pids of numbers that do not say them."""
    moved = {str(place): pid for place, pid in host._pids.items() if place != pid}
    return {name: getattr(host, name) for name in _STORED} | ({"moved": moved} if moved else {})


def from_json(stored: dict[str, object]) -> Host:
    """Read a stored host; what is nonsense in it is as nothing."""
    host = Host(facts.count(stored, "number"), facts.text(stored, "name", "?"))
    for name in ("cpus", "first_cpu", "first_pid", "missing", "missing_records"):
        setattr(host, name, facts.count(stored, name))
    host.first_pid = host.first_pid or host.number * PIDS_A_HOST  # files of before do not say it
    moved = facts.mapping(stored, "moved")
    host._pids = {
        place: facts.count(moved, key) for key in moved if (place := facts.id_of(key, PIDS_A_HOST)) is not None
    }
    host.offset_ns = facts.whole(stored, "offset_ns")
    drift = stored.get("drift_ppm")
    host.drift_ppm = float(drift) if isinstance(drift, int | float) else 0.0
    host.uncertainty_ns = facts.time_or_none(stored, "uncertainty_ns")
    host.ended = stored.get("ended") is True
    host.release = facts.text(stored, "release")
    return host
