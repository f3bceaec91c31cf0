"""What a simulated host's tracer would hand over: a program that writes a record now and then, and windows of it.

The agent's own publisher (fleet/publish.py) reads it and sends it, so all that goes over the network is what a real
host sends. Waiting takes no thread, of which a process with hundreds of hosts has too few.
"""

import asyncio
import os
import tempfile
import time
from struct import pack
from types import SimpleNamespace

from userevents.buffer import PageBuilder, page_data
from userevents.buffer import stream as wire
from userevents.fleet.waiting import until

BEAT = "beat"
_ID = 20
_IDLE_S = 30.0
_QUICK_S = 0.1
"""A read that may wait for less is one that has a message to send."""
_IN_A_WINDOW = 10


class Feed:
    """One host's recording stream: an open file for the agent, and its instance."""

    def __init__(self, name: str, pid: int) -> None:
        self.pid = pid
        self._name = name
        self._ready = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._pages = 0
        self._data = bytearray(self.beginning())

    def beginning(self) -> bytes:
        """What a recording begins with."""
        header = {"mono_ns": time.monotonic_ns(), "real_ns": time.time_ns(), "host": self._name, "cpus": 2}
        program = {"pid": self.pid, "start_time": 5, "comm": "beats", "cmdline": ["beats"], "nonce": "00" * 16}
        event = {"id": _ID, "name": BEAT, "system": "user_events", "fields": "u32 n", "enabled": True, "error": None}
        return wire.pack_start() + wire.pack_header(header) + wire.pack_stream(1, program) + wire.pack_event(1, event)

    def page(self, ts_ns: int, seq: int) -> bytes:
        """A page with one record."""
        builder = PageBuilder()
        builder.append(ts_ns, pack("<HHiI", _ID, 0, self.pid, seq))
        since_ns, data = page_data(builder.take())
        return wire.pack_part(1, 1, 0, seq, since_ns, 0, bytes(data))

    def ending(self, records: int) -> bytes:
        """What a recording with so many records ends with."""
        counts = {"events": {str(_ID): {"attempts": records}}, "committed": records, "alive": True, "exact": True}
        return wire.pack_ledger(1, counts) + wire.pack_end("done", time.monotonic_ns())

    def write(self) -> None:
        """The program writes a record."""
        self._data += self.page(time.monotonic_ns(), self._pages)
        self._pages += 1
        self._ready.set()

    def stream(self) -> "Feed":
        """Open it."""
        return self

    def rotate(self) -> None:
        """Begin a new recording; called in another thread."""
        self._loop.call_soon_threadsafe(self._rotate)

    def finish(self) -> None:
        """The process is killed instead."""

    def _rotate(self) -> None:
        self._data += self.ending(self._pages) + self.beginning()
        self._pages = 0
        self._ready.set()

    async def read(self, wait_s: float) -> bytes | None:
        """Return what is there, after a while at the latest."""
        if not self._data:
            await until(self._ready, wait_s if wait_s < _QUICK_S else _IDLE_S)
        self._ready.clear()
        data = bytes(self._data)
        self._data.clear()
        return data or None

    def close(self) -> None:
        """Nothing is to be closed."""

    def window(self, until_ns: int) -> SimpleNamespace:
        """Return a window with some records before a time, in a file, as flying.py has them."""
        file, path = tempfile.mkstemp(prefix="userevents-window-", dir="/dev/shm")
        pages = [self.page(until_ns - (_IN_A_WINDOW - seq) * 1_000_000, seq) for seq in range(_IN_A_WINDOW)]
        os.write(file, b"".join([self.beginning(), *pages, self.ending(_IN_A_WINDOW)]))
        os.close(file)
        raw = SimpleNamespace(path=path, discard=lambda: os.unlink(path))
        return SimpleNamespace(raw=raw, until_ns=until_ns, cut_by="", notes=[], is_over=False)
