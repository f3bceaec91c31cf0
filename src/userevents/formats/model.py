"""What any readable trace is made of: events, processes, records. Plain values, shared by readers and reports."""

import os
from dataclasses import dataclass, field
from typing import NamedTuple

from ..fields import Field
from .naming import Names

PIDS_A_HOST = 10_000_000
"""A process 1234 of host 2 is 20001234 in a trace of up to 213 hosts (hosts.py). No Linux has a pid above 4194304."""
Value = int | str | bytes | float | None
"""A decoded field; None where the record does not hold it."""


def readable(kernel_text: str) -> str:
    """Turn kernel text, one character a byte, into the text that its bytes are as UTF-8.

    >>> readable("caf\\xc3\\xa9"), readable("\\xff")
    ('café', '\\\\xff')
    """
    return (
        kernel_text
        if kernel_text.isascii()
        else kernel_text.encode("latin-1", "replace").decode("utf-8", "backslashreplace")
    )


class Event(NamedTuple):
    """An event as the trace has it. `keys` are the names its values go by: readable, and each only once."""

    id: int
    system: str
    name: str
    fields: tuple[Field, ...]
    keys: tuple[str, ...]


def make_event(event_id: int, system: str, name: str, fields: tuple[Field, ...]) -> Event:
    """Return the event of these declared fields, its texts readable and its value keys unique."""
    names = Names()
    keys = tuple(names.take(readable(each.name)) for each in fields)
    return Event(event_id, readable(system), readable(name), fields, keys)


class Record(NamedTuple):
    """One event that happened. `pid` is None where the file does not say which process `tid` belonged to."""

    ts_ns: int
    cpu: int
    tid: int
    pid: int | None
    comm: str
    event: Event
    values: dict[str, Value]


@dataclass(slots=True)
class Process:
    """A traced process: one session. `first_ns` and `last_ns` are the times of its first and last record.

    In a trace of several hosts `host` is where it ran; `pid` and `tids` are then told apart by the host's number, and
    `host_pid` is what that host calls it (formats/hosts.py), None elsewhere.
    """

    pid: int
    comm: str
    cmdline: list[str] = field(default_factory=list)
    start_time: int = 0
    tids: dict[int, str] = field(default_factory=dict)
    first_ns: int | None = None
    last_ns: int | None = None
    host: str = ""
    host_pid: int | None = None

    @property
    def title(self) -> str:
        """What people call the process: its command without directories and options, or its name.

        >>> Process(1, "python", ["/usr/bin/python3", "-X", "dev", "-m", "http.server", "8000"]).title
        'python3 -m http.server'
        >>> Process(1, "python", ["python", "-u", "/srv/shop/app.py", "--debug"]).title
        'python app.py'
        """
        if not self.cmdline or not self.cmdline[0]:
            return self.comm
        return f"{self.host}:{self._command()}" if self.host else self._command()

    def _command(self) -> str:
        program = os.path.basename(self.cmdline[0])
        if not program.startswith("python"):
            return program
        words = iter(self.cmdline[1:])
        for word in words:
            if word in ("-W", "-X"):
                next(words, None)
            elif word.startswith("-m"):
                return f"{program} -m {word[2:] or next(words, '')}"
            elif word.startswith("-c"):
                return f"{program} -c"
            elif not word.startswith("-"):
                return f"{program} {os.path.basename(word)}"
        return program
