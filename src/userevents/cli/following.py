"""Records of live events, decoded and in order of time: what `tail` prints and `top` shows below."""

import time
from collections.abc import Iterable
from struct import Struct
from typing import Final

from ..abi.ring_buffer import RECORD_HEADER, RECORD_HEADER_SIZE
from ..buffer import page_data
from ..buffer.page import body_start, record_end
from ..buffer.run import Run
from ..control.live import Arrived, Live, thread_owner
from ..errors import Malformed
from ..formats import Record
from ..formats.decoder import Decoder
from ..formats.model import make_event

_HEAD: Final = Struct(RECORD_HEADER)
_UNKNOWN: Final = "<...>"
_KNOWN_S: Final = 1.0
"""How long it is remembered whose thread one is: it may call itself something else, and ids are given again."""


class Following:
    """Gives the records of live events, a moment late so that those of several CPUs come in order of time."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._decoders: dict[int, Decoder] = {}
        self._threads: dict[int, tuple[int | None, str]] = {}
        self._asked_s = time.monotonic()
        """Since when what is remembered of threads was asked."""
        self._held: list[Record] = []

    def look(self) -> int:
        """Take up events that are new; return how many."""
        found = self._live.look()
        for name, layout in found:
            event = make_event(layout.id, name.system, name.name, layout.fields)
            self._decoders[layout.id] = Decoder(event, layout.id)
        return len(found)

    def take(self) -> list[Record]:
        """Return the records that came, but for the newest ones, which may still have to wait for an earlier one.

        A record is written on one CPU while another's page is being read. So what one reading gave is given out when
        the next one is there, with what in that is not later than any of it.
        """
        fresh = self._decoded(self._live.read())
        if not fresh:
            ready, self._held = self._held, []
            return ready
        bound = self._held[-1].ts_ns if self._held else None
        both = sorted([*self._held, *fresh], key=lambda record: record.ts_ns)
        if bound is None:
            self._held = both
            return []
        cut = next((at for at, record in enumerate(both) if record.ts_ns > bound), len(both))
        self._held = both[cut:]
        return both[:cut]

    def _decoded(self, arrived: Iterable[Arrived]) -> list[Record]:
        found = []
        if (now := time.monotonic()) - self._asked_s > _KNOWN_S:
            self._threads.clear()
            self._asked_s = now
        for cpu, page in arrived:
            try:
                since, view = page_data(page)
            except Malformed:
                continue
            run = Run(bytes(view), since, cpu)
            for ts_ns, start in zip(run.times, run.starts, strict=True):
                body = run.data[body_start(run.data, start) : record_end(run.data, start)]
                if len(body) >= RECORD_HEADER_SIZE:
                    found.append(self._record(ts_ns, cpu, body))
        return found

    def _record(self, ts_ns: int, cpu: int, body: bytes) -> Record:
        event_id, _, _, tid = _HEAD.unpack_from(body)
        decoder = self._decoders.get(event_id)
        if decoder is None:
            decoder = self._decoders[event_id] = Decoder(None, event_id)
        pid, comm = self._threads.get(tid) or self._thread(tid)
        return Record(ts_ns, cpu, tid, pid, comm, decoder.event, decoder.values(body))

    def _thread(self, tid: int) -> tuple[int | None, str]:
        """Find out whose thread it is: of /proc while it lives, of the tracer afterwards."""
        found = thread_owner(tid) or (None, self._live.names().get(tid, _UNKNOWN))
        self._threads[tid] = found
        return found
