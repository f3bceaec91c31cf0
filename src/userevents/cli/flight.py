"""One run of `record --flight`: the programs' rings keep the newest, and nothing is written before a dump."""

import time

from ..control import InstanceControl
from ..control import Tracer as TracerControl
from ..errors import NoTracer
from .console import count, human_size
from .dumping import flights, tell_dump, write_dump
from .recording import Recording, Wish
from .tracing import Tracing

_TURN_S = 0.05
_LOOK_S = 1.0


class FlightRecording(Recording):
    """Records into memory alone, and writes what is there at the end. Raises as `Recording` does."""

    _may_be_apart = False  # 'userevents dump' has to find it

    def __init__(self, wish: Wish, path: str | None) -> None:
        super().__init__(wish, path)
        self._raw.discard()  # it could be written; so can the last dump
        self._name = ""

    def _record(self, tracing: Tracing, run: str) -> None:
        self._name = f"flight-{run[:6]}"
        tracer = TracerControl(tracing.access)
        instance = tracer.create_instance(self._name)
        try:
            instance.fly()
            self._set_up(instance, tracer, run)
            started = time.monotonic()
            self._start(tracing, run)
            self._watch(tracer)
            self._end(tracing, time.monotonic() - started)
        finally:
            _remove(instance)

    def _hello(self) -> str:
        return "flight recording; 'userevents dump' writes out what is held, Ctrl-C does and ends it"

    def _watch(self, tracer: TracerControl) -> None:
        """Wait until it is time to end, showing what is held."""
        deadline = None if self._wish.duration_s is None else time.monotonic() + self._wish.duration_s
        next_look = 0.0
        while not self._stopped and not self._has_ended():
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return
            self._look_for_unreachable()
            if now >= next_look or self._line.is_due:
                next_look = now + _LOOK_S
                held = flights(tracer)[self._name]
                if self._line.is_due:
                    self._line.show(self._held_text(held))
            self._turn(_TURN_S)

    def _turn(self, seconds: float) -> None:
        """Do what there is to do while it goes on, and let some time pass."""
        time.sleep(seconds)

    def _end(self, tracing: Tracing, seconds: float) -> None:
        """Write what is held."""
        self._line.clear()
        done = write_dump(tracing.access, self._name, self._wish.output, notes=self._notes, quiet=self._wish.quiet)
        if done is None:
            self._failed = True
        elif not self._wish.quiet:
            tell_dump(done, seconds)

    def _held_text(self, held: dict[str, int]) -> str:
        ended = f" ({held['dead']} ended)" if held["dead"] else ""
        return (
            f"{human_size(held['held'])} held of {count(held['programs'], 'program')}{ended}, "
            f"{count(held['committed'], 'event')} so far; userevents dump writes them out"
        )


def _remove(instance: InstanceControl) -> None:
    try:
        instance.remove()
    except NoTracer:
        pass  # it went with its tracer
