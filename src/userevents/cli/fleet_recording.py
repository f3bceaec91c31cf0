"""One run of `fleet record` or `fleet dump`: the broker, the raw file, and the trace that comes of it."""

import asyncio
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

from ..buffer import stream as wire
from ..control.recorder import RawFile
from ..errors import Malformed, Unusable
from ..formats.hosts import spoken_of
from .console import LiveLine, count, fail, human_size, say, warn
from .finish import finish
from .fleeting import Credentials, no_room, tell_unknown, with_broker

if TYPE_CHECKING:
    from ..fleet.broker import Broker
    from ..fleet.collect import Collector
    from ..fleet.merged import Merged
    from ..formats.finish import Finished


class Wish(NamedTuple):
    """What was asked for on the command line."""

    hosts: str
    patterns: tuple[str, ...]
    output: str
    duration_s: float | None = None
    max_size: int | None = None
    resume: bool = False
    quiet: bool = False
    is_live: bool = True
    """False: what the broker has kept."""


class FleetRecording:
    """Records once. What goes wrong before it began is said and ends the process with exit code 1."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._line = LiveLine(enabled=not wish.quiet)
        self._stopped = False
        self._full = False
        self._lacking: list[str] = []
        """What to say of hosts whose recordings did not begin or end."""
        self._said: set[str] = set()
        """Hosts of which it was said that they are recorded."""
        self._has_warned = False
        """Whether it was said that there are more hosts than a trace takes."""
        self.finished: Finished | None = None

    def run(self, servers: str, credentials: Credentials) -> int:
        """Record until the time or size is up or a signal comes; return the exit code."""
        try:
            self._raw = RawFile(self._wish.output, go_on=self._wish.resume)
        except Unusable as error:
            fail(str(error))
        if self._raw.left_behind:
            warn(f"a killed recorder's file was kept: userevents recover '{self._raw.left_behind}'")
        was_there = self._raw.size > 0
        try:
            merged = with_broker(servers, credentials, self._collect)
        except BaseException:
            self._line.clear()
            if was_there or self._raw.size > wire.START.size:
                self._raw.close()
            else:
                self._raw.discard()
            raise
        self._line.clear()
        self.finished = finish(self._raw, quiet=self._wish.quiet)
        self._tell_end(merged)
        return 1 if self._full or self.finished is None else 0

    async def _collect(self, broker: "Broker") -> "Merged":
        from ..fleet.collect import Collector, collect_until
        from ..fleet.merged import FileSink

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop)
        wish = self._wish
        collector = Collector(broker, FileSink(self._write), wish.hosts, wish.patterns, is_live=wish.is_live)
        await collector.begin(self._begin(collector.merged))
        if not wish.quiet and wish.is_live:
            say("asking the hosts to begin; Ctrl-C ends the recording")
            await tell_unknown(broker, wish.patterns, wish.hosts)
        deadline = None if wish.duration_s is None else time.monotonic() + wish.duration_s

        def is_over() -> bool:
            is_late = deadline is not None and time.monotonic() >= deadline
            return is_late or self._stopped or self._full or self._is_large()

        await collect_until(collector, is_over, lambda: self._look_around(collector))
        self._lacking = [
            *(f"{who}: no recording began in time: nothing of it is here" for who in spoken_of(collector.absent())),
            *(f"{who}: no end came in time: counts are the last that came" for who in spoken_of(collector.unended())),
        ]
        self._end()
        return collector.merged

    def _begin(self, merged: "Merged") -> int | None:
        """Begin the raw file, or go on with it; return behind which message of the stream."""
        from ..fleet.resume import resume
        from ..host.frames import recording_header

        header: dict[str, object] = {**recording_header(), "command": []}
        if self._wish.patterns:
            header["patterns"] = list(self._wish.patterns)
        if not self._raw.size:
            self._raw.write(wire.pack_start() + wire.pack_header(header))
            return None
        try:
            found = resume(self._raw.fd, self._raw.path, merged, header)
        except Malformed as error:
            raise Unusable(f"{error}: it cannot be gone on with") from None
        self._raw.cut(found.size)
        if not self._wish.quiet:
            say(f"going on with {human_size(found.size)} of {count(len(merged.numbers), 'host')} in '{self._raw.path}'")
        return found.stored or None

    def _write(self, data: bytes) -> None:
        """Keep what came; on a full disk say so, and end."""
        if self._full:
            return
        try:
            self._raw.write(data)
        except OSError as error:
            self._line.clear()
            warn(f"{error.strerror}: recording ends here; what was recorded is kept")
            self._full = True

    def _end(self) -> None:
        notes = b"".join(map(wire.pack_note, self._lacking))
        self._write(wire.pack_batch(0, {}) + notes + wire.pack_end("done", time.monotonic_ns()))

    def _is_large(self) -> bool:
        limit = self._wish.max_size
        if not limit or self._raw.size < limit or self._stopped:
            return False
        self._line.clear()
        warn(f"{human_size(limit)} are recorded (--max-size): recording ends here")
        self._stopped = True
        return True

    def _stop(self) -> None:
        self._stopped = True

    def _look_around(self, collector: "Collector") -> None:
        if collector.merged.left_out and not self._has_warned:
            self._has_warned = True
            self._line.clear()
            warn(no_room(collector.merged.left_out, "a trace"))
        begun = collector.begun()
        if self._wish.is_live and not self._wish.quiet and collector.hosts - self._said <= begun - self._said != set():
            self._line.clear()
            say(f"recording {count(len(begun), 'host')}")
            self._said |= begun
        if not self._line.is_due:
            return
        merged = collector.merged
        hosts = count(len(merged.numbers), "host")
        missing = f"{merged.missing:,} batches MISSING" if merged.missing else "nothing missing"
        there = f"{len(collector.hosts):,} there"
        self._line.show(f"{merged.records:,} events of {hosts} ({there})  {human_size(self._raw.size)}  {missing}")

    def _tell_end(self, merged: "Merged") -> None:
        if merged.left_out:
            warn(no_room(merged.left_out, "the trace"))
        for sentence in self._lacking:
            warn(sentence)
        if not merged.numbers:
            warn(
                f"no host that matches '{self._wish.hosts}' sent anything ('userevents fleet list --hosts' shows them)"
            )
        if merged.odd:
            warn(f"{count(merged.odd, 'message')} in the stream are none of userevents")
        if self._wish.quiet or self.finished is None:
            return
        done, ledger = self.finished, self.finished.ledger
        what = f"{count(done.records, 'event')} of {count(len(merged.numbers), 'host')}: {done.path}"
        if lost := ledger.total("lost"):
            warn(f"{what}; {count(lost, 'event')} LOST (userevents report --summary {done.path} says why)")
        else:
            say(f"{what}; nothing lost")
