"""The window around an instant at which a flight rule held, taken from the tracer as it goes on."""

import os
import uuid

from ..errors import NoTracer
from .recorder import RawFile, StreamWriter
from .tracer import Tracer

_READ_SIZE = 1 << 20


class Window:
    """A window of the flight recording `name`, from a monotonic time to before another, on its way into `raw`.

    Raises `NoTracer`, `Refused`; then `raw` is discarded.
    """

    def __init__(self, tracer: Tracer, name: str, raw: RawFile, since_ns: int, until_ns: int) -> None:
        self.until_ns = until_ns
        self.is_over = False
        self.notes: list[str] = []
        self.raw = raw
        self.cut_by = ""
        """Why it ended early, if it did."""
        try:
            self._writer = StreamWriter(raw, lambda: raw, lambda file: None)
            self._instance = tracer.create_instance(f"window-{os.getpid()}-{uuid.uuid4().hex[:6]}")
            self._stream = self._instance.stream()
            self._instance.capture(name, since_ns, until_ns)
        except BaseException:
            raw.discard()
            raise

    def extend(self, until_ns: int) -> None:
        """Let it end later."""
        if until_ns > self.until_ns:
            self.until_ns = until_ns
            self._instance.extend(until_ns)

    def cut(self, until_ns: int, reason: str) -> None:
        """Let it end earlier, and say why."""
        self.cut_by = reason
        self.until_ns = until_ns
        self._instance.extend(until_ns)

    def take(self) -> None:
        """Write what the tracer has handed on by now."""
        if self.is_over:
            return
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
                self.cut_by = self.cut_by or reason
                self.is_over = True
        self.close()

    def close(self) -> None:
        """Let go of the tracer's side."""
        try:
            self._stream.close()
            self._instance.remove()
        except NoTracer:
            pass  # it went with its tracer
