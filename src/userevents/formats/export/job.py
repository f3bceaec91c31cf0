"""What every exporter is given: the trace, what of it is asked for, its clocks, and what it lost."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ...buffer.merge import Batch
from .. import facts
from ..choice import ALL, Choice
from ..ledger import Ledger, to_json
from ..pairs import Pair
from ..trace import Trace
from ..transcode import Coding, Piece

Progress = Callable[[int, int], None]
"""Called with how much of the trace's pages is done, and how much there is, in bytes."""

_MONOTONIC = "mono"


class Sink(Protocol):
    """Where the bytes of an export go."""

    def write(self, data: bytes) -> object:
        """Append bytes."""


@dataclass(frozen=True)
class Endpoint:
    """A collector: where it listens, HTTP headers for it, and attributes of the resource."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    resource: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Job:
    """One export of an opened trace. `records` and `size` count what was written; `notes` are warnings about it."""

    trace: Trace
    choice: Choice = ALL
    pairs: tuple[Pair, ...] = ()
    progress: Progress | None = None
    records: int = 0
    size: int = 0
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # The ledger first: of a raw recording, processes and their threads are known in full only after it.
        self.ledger: Ledger | None = self.trace.ledger
        self.losses = self.trace.losses()
        header = self.trace.header
        self._mono = facts.time(header, "mono_ns") if self.trace.clock == _MONOTONIC else 0
        self._real = facts.time(header, "real_ns")
        self._boot = facts.time(header, "boot_ns")

    def counted(self, sink: Sink) -> Sink:
        """Return a sink that counts in `size` what goes into another."""
        return _Counted(self, sink)

    @property
    def lost(self) -> int:
        """Records that happened and are not in the trace, as far as its ledger knows."""
        return self.ledger.total("lost") if self.ledger else 0

    @property
    def moment_ns(self) -> tuple[int, int, int] | None:
        """One moment in monotonic, boot and real time, None where the trace does not say; boot time may be guessed."""
        if not self._mono or not self._real:
            return None
        return self._mono, self._boot or self._mono, self._real

    @property
    def boot_shift_ns(self) -> int:
        """What turns the trace's times into boot time."""
        return self.moment_ns[1] - self.moment_ns[0] if self.moment_ns else 0

    @property
    def real_shift_ns(self) -> int | None:
        """What turns the trace's times into ns since 1970, None where the trace does not say."""
        return self.moment_ns[2] - self.moment_ns[0] if self.moment_ns else None

    def pieces(self, coding: Coding) -> Iterator[Piece]:
        """Yield all records asked for as bytes, counting them."""
        for pieces in self.trace.pieces(coding, self.choice, self.progress):
            for piece in pieces:
                self.records += piece.records
                yield piece

    def watched(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield batches, telling how far they have come."""
        for batch in batches:
            yield batch
            if self.progress:
                self.progress(*self.trace.progress)

    def metadata(self) -> dict[str, object]:
        """Return what is to be said of the trace as a whole, for JSON: where it is from, and what was lost."""
        return {
            "source": self.trace.kind,
            "clock": self.trace.clock,
            "header": self.trace.header,
            "losses": self.losses,
            "ledger": to_json(self.ledger) if self.ledger else None,
            "notes": self.trace.notes,
        }


class _Counted:
    """A sink before another."""

    def __init__(self, job: Job, sink: Sink) -> None:
        self._job = job
        self._sink = sink

    def write(self, data: bytes) -> None:
        self._job.size += len(data)
        self._sink.write(data)
