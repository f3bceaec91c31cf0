"""A page, walked and ready to be merged, encoded or decoded: the unit in which traces are read.

`Run` is the C one where the extension is there, and else `PureRun`, which says what both do.
"""

from itertools import compress
from struct import unpack
from typing import TYPE_CHECKING, Any, Final

from ..abi.ring_buffer import RECORD_HEADER_SIZE
from ..errors import Malformed
from .native import native
from .page import body_start, missed, page_data, walk

Heads = dict[bytes, tuple[int, int, int]]
"""By the 8 bytes that records begin with: how many there are, the time of the first and of the last."""

ANY: Final = -1
"""Event."""

CPU_IN_HEAD: Final = slice(2, 4)
"""Where a record's own CPU stands in those 8 bytes, in pages flagged so."""


class PureRun:
    """One page's records, of one event `only` or of all. `since` is a time not later than the first of them; `tag` is
    the caller's own.

    `problem` is empty, or says what stopped the walk; what came before it holds. `is_whole`: the records are all
    that the page holds, and nothing else stands between them. `has_gap` may be set: pages before it are missing, with
    `missed` records where that is known, else 0.
    """

    def __init__(self, data: bytes, since: int, cpu: int = 0, tag: Any = None, only: int = ANY) -> None:
        found = walk(data, since)
        self.data = data
        self.since = since
        self.cpu = cpu
        self.tag = tag
        self.times = found.times
        self.starts = found.starts
        self.is_plain = found.is_plain
        self.has_long = found.has_long
        self.problem = found.problem
        self.is_whole = found.is_plain and not found.problem
        self.has_gap = False
        self.missed = 0
        if only != ANY:
            self._keep([int.from_bytes(head[:2], "little") == only for head in self._heads()])

    def _keep(self, keep: list[bool]) -> None:
        if not all(keep):
            self.times, self.starts = list(compress(self.times, keep)), list(compress(self.starts, keep))
            self.is_plain = self.is_whole = False

    def __len__(self) -> int:
        """How many records there are."""
        return len(self.times)

    def _heads(self) -> list[bytes]:
        data = self.data
        if self.has_long:
            return [data[body : body + RECORD_HEADER_SIZE] for body in (body_start(data, at) for at in self.starts)]
        return [data[start + 4 : start + 12] for start in self.starts]

    def heads(self) -> Heads:
        """Count the records by what they begin with."""
        found: Heads = {}
        for head, time in zip(self._heads(), self.times, strict=True):
            known = found.get(head)
            found[head] = (known[0] + 1, known[1], time) if known else (1, time, time)
        return found

    def select(
        self,
        *,
        cpu: int | None = None,
        dropped: bytes = b"",
        renamed: bytes = b"",
        cpus: bytes | None = None,
        threads: bytes = b"",
        drift: float = 0.0,
    ) -> "PureRun":
        """Return a run, of `cpu`, without the event ids `dropped` and with others for `renamed` (pairs old, new).

        `cpus` says that each record's header holds the CPU it was written on: those written on one of `cpus` are
        chosen, and what stands in their headers becomes 0. All three are u16, packed. `threads` are pairs of thread
        ids, old and new, as u32; times are moved by `drift` ns for each ns since `since`.
        """
        heads = self._heads()
        keep = [True] * len(heads)
        if dropped:
            ids = _words(dropped)
            keep = [head[:2] not in ids for head in heads]
        if cpus is not None:
            on = _words(cpus)
            keep = [kept and head[CPU_IN_HEAD] in on for kept, head in zip(keep, heads, strict=True)]
        chosen = PureRun.__new__(PureRun)
        chosen.__dict__.update(self.__dict__)
        chosen.cpu = self.cpu if cpu is None else cpu
        chosen._keep(keep)
        if renamed or cpus is not None or threads:
            chosen.data = chosen._rewritten(renamed, threads, has_cpus=cpus is not None)
        if drift:
            since = chosen.since
            chosen.times = [time + int((time - since) * drift) for time in chosen.times]
            chosen.is_plain = chosen.is_whole = False  # what stands between the records no longer says their times
        return chosen

    def _rewritten(self, renamed: bytes, threads: bytes, *, has_cpus: bool) -> bytes:
        new_ids, new_tids = _pairs(renamed, 2), _pairs(threads, 4)
        data = bytearray(self.data)
        for start in self.starts:
            body = body_start(data, start)
            old = bytes(data[body : body + 2])
            data[body : body + 2] = new_ids.get(old, old)
            if has_cpus:
                data[body + 2 : body + 4] = bytes(2)
            tid = bytes(data[body + 4 : body + 8])
            data[body + 4 : body + 8] = new_tids.get(tid, tid)
        return bytes(data)


def _pairs(packed: bytes, size: int) -> dict[bytes, bytes]:
    """Read pairs of old and new; of several for one the first holds."""
    found: dict[bytes, bytes] = {}
    for at in range(0, len(packed) - 2 * size + 1, 2 * size):
        found.setdefault(packed[at : at + size], packed[at + size : at + 2 * size])
    return found


def _words(packed: bytes) -> set[bytes]:
    return {packed[at : at + 2] for at in range(0, len(packed), 2)}


def cpu_in(head: bytes) -> int:
    """Return the CPU that stands in a record's header."""
    return int(unpack("<H", head[CPU_IN_HEAD])[0])


def pure_runs_in(
    pages: bytes, page_size: int, cpu: int, only: int = ANY, tag: Any = None
) -> tuple[list[PureRun], list[tuple[int, str]]]:
    """Walk pages that lie behind each other, of one CPU; return them, and what is wrong with which.

    A page whose header is nonsense has no run; one whose records are as far as they hold.
    """
    runs, problems = [], []
    for number, at in enumerate(range(0, len(pages), page_size)):
        try:
            page = pages[at : at + page_size]
            since, data = page_data(page)
        except Malformed as malformed:
            problems.append((number, malformed.problem))
            continue
        run = PureRun(bytes(data), since, cpu, tag, only)
        lost = missed(page)
        run.has_gap, run.missed = bool(lost), max(lost, 0)
        runs.append(run)
        if run.problem:
            problems.append((number, run.problem))
    return runs, problems


if TYPE_CHECKING:
    Run = PureRun
    runs_in = pure_runs_in
else:
    Run = native.Run if native else PureRun
    runs_in = native.runs_in if native else pure_runs_in
