"""Batches of records as Python rows, or as lines of text.

`Rows` is the C one where the extension is there, and else `PureRows`, which says what both do.
"""

from collections.abc import Callable, Iterator
from struct import Struct
from typing import TYPE_CHECKING, Any

from ..abi.ring_buffer import RECORD_HEADER
from ..buffer.merge import PureBatch
from ..buffer.native import native
from ..buffer.page import body_start, record_end
from ..buffer.run import PureRun
from ..fields.payload import Reading
from .decoder import Decoder
from .model import Value
from .text import show_time, show_value

Row = tuple[int, int, int, Any, Decoder, tuple[Value, ...]]
"""time (ns), cpu, tid, who wrote it, what decodes its event, its values in the order of the event's fields."""
Plan = Callable[[int], tuple[Decoder, str, tuple[Reading, ...]] | None]
"""Of an event id: its decoder, the template of its lines, how its values are read. None: its records are left out."""
Who = Callable[[Any, int, int, int], tuple[Any, bool]]
"""Of (tag of the run, cpu, tid, time): what to call the writer, None to leave the record out; whether that holds
at any time, so that it need not be asked again."""

_HEAD = Struct(RECORD_HEADER)


class PureRows:
    """Decodes batches. Each event is asked for once, each thread once as far as the answer holds.

    `shift` is added to every time. Lines are a template filled with who and the time (`time_first`: the other way
    round) and the values as text, escaped.
    """

    def __init__(
        self, plan: Plan, who: Who, escape: Callable[[str], str], shift: int = 0, time_first: bool = False
    ) -> None:
        self._plan = plan
        self._who = who
        self._shift = shift
        self._time_first = time_first
        self._plans: dict[int, tuple[Decoder, str, tuple[Reading, ...]] | None] = {}
        self._known: dict[tuple[int, int, int], Any] = {}

    def records(self, batch: PureBatch) -> list[Row]:
        """Return the rows of a batch."""
        return [
            (time, cpu, tid, who, decoder, tuple(values))
            for time, cpu, tid, who, decoder, _, values in self._all(batch)
        ]

    def lines(self, batch: PureBatch) -> list[str]:
        """Return a line for each record of a batch; blanks may be left at its end."""
        return [
            template % (*self._head(time, who), *map(show_value, values))
            for time, _, _, who, _, template, values in self._all(batch)
        ]

    def _head(self, time: int, who: str) -> tuple[str, str]:
        return (show_time(time), who) if self._time_first else (who, show_time(time))

    def _all(self, batch: PureBatch) -> Iterator[tuple[int, int, int, Any, Decoder, str, Any]]:
        plans, unpack_head = self._plans, _HEAD.unpack_from
        for time, start, run in batch.records():
            data = run.data
            body = data[body_start(data, start) : record_end(data, start)]
            event_id, _, _, tid = unpack_head(body)
            if event_id not in plans:
                plans[event_id] = self._plan(event_id)
            plan = plans[event_id]
            if plan is None:
                continue
            time += self._shift
            who = self._writer(run, tid, time)
            if who is not None:
                yield time, run.cpu, tid, who, plan[0], plan[1], plan[0].row(body)

    def _writer(self, run: PureRun, tid: int, time: int) -> Any:
        key = (id(run.tag), run.cpu, tid)
        if key in self._known:
            return self._known[key]
        who, holds = self._who(run.tag, run.cpu, tid, time)
        if holds:
            self._known[key] = who
        return who


if TYPE_CHECKING:
    Rows = PureRows
else:
    Rows = native.Rows if native else PureRows
