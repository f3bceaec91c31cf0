"""The window around an instant at which a flight rule held: taken from the tracer as it goes on, then one trace."""

import os
import uuid
from typing import NamedTuple

from ..buffer import stream
from ..control import Tracer
from ..control.recorder import RawFile, StreamWriter
from ..control.rule_watch import Held
from ..errors import NoTracer
from ..formats import open_trace
from ..formats.finish import Finished
from ..formats.flight import MAX_INSTANTS, Flight
from .console import warn
from .finish import finish
from .reach import shown

_READ_SIZE = 1 << 20


class Done(NamedTuple):
    """A finished window."""

    finished: Finished
    flight: Flight

    @property
    def lost(self) -> int:
        """Records of the window that are not in it, as far as that is known."""
        ledger = self.finished.ledger
        return sum(ledger.dropped.values()) + ledger.total("missed")

    def as_json(self) -> dict[str, object]:
        """What there is to tell of it, for machines."""
        ledger = self.finished.ledger
        facts = self.flight.as_json()
        return {
            "file": self.finished.path,
            **facts,
            "complete": bool(facts["complete"]) and not self.lost and not ledger.total("overwritten"),
            "programs": len(ledger.processes),
            "records": self.finished.records,
            "lost": self.lost,
            "overwritten": ledger.total("overwritten"),
            "balanced": ledger.is_balanced,
            "notes": self.finished.notes,
        }


class Window:
    """A window of the flight recording `name`, from a monotonic time to before another, on its way into `path`.

    Raises `Unusable` where the file cannot be written, `NoTracer`, `Refused`.
    """

    def __init__(self, tracer: Tracer, name: str, path: str, since_ns: int, until_ns: int) -> None:
        self.until_ns = until_ns
        self.first_ns = 0
        """When the first rule held."""
        self.is_over = False
        self.notes: list[str] = []
        self._held: list[Held] = []
        self._more = 0
        self._cut = ""
        self._raw = RawFile(path)
        try:
            self._writer = StreamWriter(self._raw, lambda: self._raw, lambda file: None)
            self._instance = tracer.create_instance(f"window-{os.getpid()}-{uuid.uuid4().hex[:6]}")
            self._stream = self._instance.stream()
            self._instance.capture(name, since_ns, until_ns)
        except BaseException:
            self._raw.discard()
            raise

    def add(self, held: Held) -> None:
        """A rule held within the window."""
        self.first_ns = self.first_ns or held.ts_ns
        self._more += held.more
        if len(self._held) < MAX_INSTANTS - 1:
            self._held.append(held)
        else:
            self._more += 1

    def extend(self, until_ns: int) -> None:
        """Let it end later."""
        if until_ns >= self.until_ns:
            self.until_ns = until_ns + 1
            self._instance.extend(self.until_ns)

    def cut(self, until_ns: int, reason: str) -> None:
        """Let it end earlier, and say why."""
        self._cut = reason
        self.until_ns = until_ns
        self._instance.extend(until_ns)

    def take(self) -> None:
        """Write what the tracer has handed on by now."""
        while not self.is_over:
            try:
                data = self._stream.read(_READ_SIZE, timeout=0)
                if data is None:
                    return
                if data:
                    self._writer.write(data)
                self.is_over = not data
            except (NoTracer, OSError) as error:
                reason = "the tracer went away" if isinstance(error, NoTracer) else "it cannot be written"
                self.notes.append(f"{reason}: {error}")
                self._cut = self._cut or reason
                self.is_over = True
        try:
            self._stream.close()
            self._instance.remove()
        except NoTracer:
            pass

    def finish(self) -> Done | None:
        """Write down which rules held, and make a trace of it; None if that failed, which is said."""
        try:
            for held in self._held:
                self._raw.write(stream.pack_rule(_facts(held)))
            if self._more or self._cut:
                self._raw.write(stream.pack_rule({"more": self._more, "cut": self._cut}))
            for note in self.notes:
                self._raw.write(stream.pack_note(note))
        except OSError as error:
            warn(f"'{self._raw.path}' is incomplete: {error.strerror}")
        done = finish(self._raw, quiet=True)
        if done is None:
            return None
        with open_trace(done.path) as trace:
            return Done(done, trace.flight)


def _facts(held: Held) -> dict[str, object]:
    return {
        "rule": shown(held.rule.text),
        "mono_ns": held.ts_ns,
        "what": held.what,
        "pid": held.pid,
        "comm": held.comm,
    }
