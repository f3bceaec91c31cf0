"""Bring the kernel's tracing back to how it was when the machine started."""

import contextlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.kernel.results import Step, to_bytes
from tools.kernel.guest.files import MAX_SYSCTL, event_names, place, read_text, write_file

_SYSTEMS: Final = ("user_events", "user_events_multi", "synthetic")
_MODES: Final = {".": 0o700, "user_events_data": 0o640, "user_events_status": 0o440, "dynamic_events": 0o640}
_COUNT: Final = re.compile(r":(count=\d+|unlimited)")
_PATIENCE_S: Final = 2.0


def reset(done: Sequence[Step]) -> str | None:
    """Undo what a scenario of these steps left behind; return what would not go, None when all is as at first.

    Its processes are gone already.
    """
    for path, mode in _MODES.items():
        os.chmod(place(path), mode)
    for instance in os.listdir(place("instances")):
        with contextlib.suppress(OSError):
            os.rmdir(place(f"instances/{instance}"))
    _try_write("events/enable", b"0")
    for step in reversed(done):
        if step["op"] == "write_file" and step["path"].endswith("/trigger") and step.get("data"):
            _try_write(step["path"], b"!" + to_bytes(step["data"]).lstrip(b"!"))
    leftovers = _remove_events()
    Path(place(MAX_SYSCTL)).write_text("32768", encoding="ascii")
    _try_write("tracing_on", b"1")
    for cleared in ("trace", "error_log"):
        _try_write(cleared, b"", truncate=True)
    # When an event that had been enabled goes, its trace is cleared at the next removal through dynamic_events, which
    # may be another event's and much later: have that done now.
    _try_write("dynamic_events", b"-:zz_none", append=True)
    _try_write("trace_options", b"nofields")
    _try_write("set_event_pid", b"", truncate=True)
    return leftovers


def _remove_events() -> str | None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        for system in _SYSTEMS:
            for event in _events(system):
                if os.path.isdir(place(f"events/{system}/{event}")):
                    _quieten(f"events/{system}/{event}")
        status, dynamic = read_text("user_events_status"), read_text("dynamic_events")
        if "Active: 0" in status and not dynamic:
            return None
        if time.monotonic() > deadline:
            return f"{status}{dynamic}"
        _try_write("dynamic_events", None, truncate=True)
        time.sleep(0.005)


def _events(system: str) -> list[str]:
    try:
        return os.listdir(place(f"events/{system}"))
    except OSError:  # a name that upsets the file system itself
        return event_names()


def _quieten(directory: str) -> None:
    """Take an event's triggers and filter away: each trigger by its own text, with and without its count."""
    with contextlib.suppress(OSError):
        for line in reversed(read_text(f"{directory}/trigger").splitlines()):
            if line and not line.startswith("#"):
                command = line.split(" [")[0]
                for text in (command, _COUNT.sub("", command)):
                    _try_write(f"{directory}/trigger", b"!" + text.encode("latin-1"))
    _try_write(f"{directory}/filter", b"0")


def _try_write(path: str, data: bytes | None, *, truncate: bool = False, append: bool = False) -> None:
    with contextlib.suppress(OSError):
        write_file(path, data, truncate=truncate, append=append)
