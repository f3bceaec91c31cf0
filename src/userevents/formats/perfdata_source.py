"""A perf.data file as a trace: its tracepoint samples."""

from collections.abc import Iterator, Mapping

from ..buffer.merge import Batch, interleave
from ..buffer.run import ANY, Run
from .flight import NO_FLIGHT
from .hosts import Host
from .ledger import Ledger
from .model import Event, Process
from .perfdata_reader import PerfData
from .sources import events_of

_UNKNOWN_COMM = "<...>"
_IDLE_COMM = "swapper"


class PerfSource:
    """A perf.data file; threads are of the processes that their samples name."""

    kind = "perf.data"
    shift_ns = 0

    def __init__(self, file: PerfData) -> None:
        self._file = file
        self.clock = file.clock
        self.header = file.header
        self.notes = file.notes
        self.flight = NO_FLIGHT
        self.processes: list[Process] = []
        self.hosts: list[Host] = []
        self.comms: Mapping[int, str] = file.cmdlines
        self.data_size = file.data_size
        self.done_size = 0
        self.format_texts: Mapping[int, str]
        self.events: dict[int, Event]
        self.events, self.format_texts = events_of(file.formats, self.notes)

    def runs(self) -> Iterator[Run]:
        """Yield the samples of each piece and CPU, in the order of the pieces' times."""
        return self._runs(ANY)

    def _runs(self, only: int) -> Iterator[Run]:
        self.done_size = 0
        for run in self._file.runs(only):
            self.done_size = min(self.done_size + 2 * len(run.data), self.data_size)
            yield run

    def batches(self, only: int = ANY) -> Iterator[Batch]:
        """Yield all records in time order, of one event `only` or of all."""
        return interleave(self._runs(only))

    def ledger(self) -> Ledger | None:
        """There is none."""
        return None

    def losses(self) -> list[str]:
        """Say what the file's own records of losses come to."""
        return [f"{self._file.lost:,} records were lost, as perf counted"] if self._file.lost else []

    def who(self, _tag: object, tid: int, _ts_ns: int) -> tuple[int | None, str, bool]:
        """Return the process that a thread's samples name, the thread's last name, and that this holds at any time."""
        comm = self._file.cmdlines.get(tid, _UNKNOWN_COMM) if tid else _IDLE_COMM
        return self._file.pids.get(tid), comm, True
