"""Merged records into pages again, for one CPU: pages that overlap no other are copied, the others built anew.

`Encoder` is the C one where the extension is there; both put the same records into the same pages.
"""

from typing import TYPE_CHECKING, Final

from ..abi.ring_buffer import PAGE_DATA_SIZE
from .merge import Mixed, PureBatch, Slice
from .native import native
from .page import PageBuilder, Walk, whole_page
from .run import PureRun

_WORTH_COPYING: Final = PAGE_DATA_SIZE // 2


class PureEncoder:
    """Takes batches in time order and gives pages back. `late` records came out of order: they got the time before."""

    def __init__(self) -> None:
        self._builder = PageBuilder()
        self._missed = 0
        self._pages: list[bytes] = []
        self.records = 0
        self.copied = 0
        self.built = 0
        self.first_ns = 0

    @property
    def last_ns(self) -> int:
        """The time of the last record."""
        return self._builder.last_ns

    @property
    def late(self) -> int:
        """How many records came out of order."""
        return self._builder.late

    def add(self, batch: PureBatch) -> list[bytes]:
        """Take in a batch; return the pages that are full."""
        for part in batch.parts:
            if isinstance(part, Slice):
                self.first_ns = self.first_ns if self.records else part.run.times[part.first]
                self.records += part.stop - part.first
                self._put_slice(part)
            else:
                self.first_ns = self.first_ns if self.records else part[0][0]
                self.records += len(part)
                self._put_mixed(part)
        return self._taken()

    def finish(self) -> list[bytes]:
        """Return the page under construction, if there is one."""
        self._flush()
        return self._taken()

    def _taken(self) -> list[bytes]:
        pages, self._pages = self._pages, []
        return pages

    def _put_slice(self, part: Slice) -> None:
        run, first, stop = part
        if run.has_gap and first == 0:
            self._mark_gap()
        if first == 0 and stop == len(run.times) and self._may_copy(run):
            self._copy(run)
            return
        found = _walk_of(run)
        while (first := self._builder.append_walked(run.data, found, first, stop)) < stop:
            self._flush()

    def _put_mixed(self, batch: Mixed) -> None:
        """Put single records of several pages; where some page begins after a gap, a new page begins too."""
        first = 0
        for number, (_, _, start, run) in enumerate(batch):
            if run.has_gap and start == run.starts[0]:
                self._build(batch, first, number)
                self._mark_gap()
                first = number
        self._build(batch, first, len(batch))

    def _build(self, batch: Mixed, first: int, stop: int) -> None:
        while (first := self._builder.append_mixed(batch, first, stop)) < stop:
            self._flush()

    def _mark_gap(self) -> None:
        self._flush()
        self._missed = -1

    def _may_copy(self, run: PureRun) -> bool:
        """Whether a page may stay as it is: nothing to leave out, full enough, and not late."""
        fits = _WORTH_COPYING <= len(run.data) <= PAGE_DATA_SIZE
        return run.is_whole and fits and run.times[0] >= self._builder.last_ns

    def _copy(self, run: PureRun) -> None:
        self._flush()
        self._pages.append(whole_page(run.data, _walk_of(run), missed=self._missed))
        self._builder.last_ns = run.times[-1]
        self._missed = 0
        self.copied += 1

    def _flush(self) -> None:
        """Give out the page under construction, if there is anything in it."""
        if len(self._builder):
            self._pages.append(self._builder.take(missed=self._missed))
            self._missed = 0
            self.built += 1


def _walk_of(run: PureRun) -> Walk:
    return Walk(run.times, run.starts, run.is_plain, run.has_long, run.problem)


if TYPE_CHECKING:
    Encoder = PureEncoder
else:
    Encoder = native.Encoder if native else PureEncoder
