"""All flight recordings of a tracer: the dumps and windows asked of them, and the programs that died under them."""

import time
from collections.abc import Callable, Iterable
from functools import partial

from ..buffer import stream
from ..errors import Malformed
from ..instance import Instance, Request
from .capture import Capture
from .flight import FlightView
from .native_view import NativeFlight
from .program import TracedProgram
from .views import Views

_BACKLOG = 64 << 20
"""Bytes of a dump that wait for their reader before the next program's records are copied."""
_DUMP_LIMIT = 1 << 30
_DEAD_SIZE = 64 << 20
_DEAD_COUNT = 200
_WORDS_SIZE = 16 << 20
"""Bytes kept of what there is to tell of programs whose records were given up, for each recording."""


class _Dump:
    """A dump on its way into a stream: which programs it still lacks."""

    def __init__(
        self, target: Instance, source: Instance, since_ns: int, views: Iterable[FlightView | NativeFlight]
    ) -> None:
        self.target = target
        self.source = source
        self.since_ns = since_ns
        self.views = list(views)


class Flights:
    """What flight recordings hold. The views are the `Programs`' own."""

    def __init__(self, log: Callable[[str, str], None]) -> None:
        self._log = log
        self._dumps: list[_Dump] = []
        self._captures: list[Capture] = []
        self.share = 0.0
        """How much of a ring the last turn copied for a window, at most."""
        self._dead: dict[TracedProgram, int] = {}
        self._words: dict[Instance, list[tuple[int, bytes]]] = {}
        self._silent: dict[Instance, int] = {}

    def start(self, request: Request, target: Instance, source: Instance | None, views: Views) -> None:
        """Put into the stream of `target` what the flight recording `source` holds, as fast as it is read.

        A dump is of what it holds now; a capture goes on until `target.until_ns`.
        """
        target.stream.limit = _DUMP_LIMIT
        if source is None or not source.is_flight:
            target.stream.push(stream.pack_note("there is no such flight recording"), None, 0)
            self._dumps.append(_Dump(target, target, 0, ()))
            return
        is_window = request.verb == "capture"
        self._tell_words(target, source, request.number if is_window else 0)
        if is_window:
            self._captures.append(Capture(target, source, request.number, partial(views.flying, source)))
        else:
            self._dumps.append(_Dump(target, source, request.number, views.flying(source)))

    def _tell_words(self, target: Instance, source: Instance, since_ns: int) -> None:
        """Hand out what there is to tell of programs whose records were given up since then."""
        if source in self._words:
            for given_up_ns, words in self._words[source]:
                if given_up_ns >= since_ns:
                    target.stream.push(words, None, 0)
            if self._silent.get(source):
                note = f"{self._silent[source]} more programs died and were given up: their counts are not kept"
                target.stream.push(stream.pack_note(note), None, 0)

    def feed(self) -> bool:
        """Go on with the dumps and windows; False if there was nothing to do. `share` tells of these how much."""
        self.share = max((capture.feed() for capture in self._captures), default=0.0)
        moved = self.share > 0
        if any(capture.is_over for capture in self._captures):
            self._captures = [capture for capture in self._captures if not capture.is_over]
            moved = True
        for dump in list(self._dumps):
            queue = dump.target.stream
            while dump.views and queue.size < _BACKLOG and not queue.closed:
                moved = True
                self._copy(dump, dump.views.pop(0))
            if not dump.views or queue.closed:
                self._dumps.remove(dump)
                queue.push(stream.pack_end("dumped", time.monotonic_ns()), None, 0)
                queue.finish()
                moved = True
        return moved

    def _copy(self, dump: _Dump, view: FlightView | NativeFlight) -> None:
        try:
            view.dump(dump.target.stream, dump.since_ns)
        except (Malformed, OSError) as error:
            self._log("warning", str(error))
            dump.target.stream.push(stream.pack_note(f"pid {view.program.pid}: {error}"), None, 0)

    def keep(self, program: TracedProgram, views: Views) -> None:
        """Keep a dead program's rings for later dumps, and give up those that died first where it gets too much."""
        if program not in self._dead:
            self._dead[program] = program.rest()
        while len(self._dead) > _DEAD_COUNT or (len(self._dead) > 1 and sum(self._dead.values()) > _DEAD_SIZE):
            oldest = next(iter(self._dead))
            del self._dead[oldest]
            for view in views.flying_over(oldest):
                self._give_up(view)
            views[oldest].clear()

    def _give_up(self, view: FlightView) -> None:
        """Remember what a program counted: dumps tell all its records as overwritten."""
        for capture in self._captures:
            if capture.source is view.instance:
                capture.give_up(view)
        words = self._words.setdefault(view.instance, [])
        try:
            last = view.last_words()
        except (Malformed, OSError):
            last = b""
        if last and sum(len(each) for _, each in words) + len(last) < _WORDS_SIZE:
            words.append((time.monotonic_ns(), last))
        else:
            self._silent[view.instance] = self._silent.get(view.instance, 0) + 1
        for dump in self._dumps:
            if view in dump.views:
                dump.views.remove(view)
                dump.target.stream.push(last, None, 0)

    def forget(self, program: TracedProgram) -> None:
        """The program is known no more."""
        self._dead.pop(program, None)

    def forget_instance(self, instance: Instance) -> None:
        """The recording is removed."""
        self._words.pop(instance, None)
        self._silent.pop(instance, None)
        for dump in self._dumps:
            if dump.source is instance:
                dump.views.clear()
        for capture in self._captures:
            if capture.source is instance:
                capture.end()
