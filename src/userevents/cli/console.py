"""What every verb says on the terminal: messages on stderr, one live line, numbers for people."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import NoReturn

import click

from ..fields.escape import printable

_QUIET_S = 1.0
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
TROUBLE = ("warning", "error", "alert")
"""Levels of a tracer's log that tell what may be wrong."""
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


def size_option(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read a number of bytes with an optional K, M, G or T (of 1024): ``64M``. For an option's callback."""
    if value is None:
        return None
    text = value.strip().upper().removesuffix("IB").removesuffix("B")
    unit = text[-1:] if text[-1:] in "KMGT" else ""
    try:
        found = int(float(text.removesuffix(unit)) * _UNITS[unit])
    except (ValueError, OverflowError):
        found = 0
    if found <= 0:
        raise click.BadParameter(f"'{value}' is no size; write bytes, or a number with K, M or G, such as 64M")
    return found


def time_option(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read a length of time, seconds or a number with ms, s, m or h: ``10s``. For an option's callback."""
    if value is None:
        return None
    text = value.strip().lower()
    unit = next((unit for unit in ("ms", "s", "m", "h") if text.endswith(unit)), "")
    try:
        found = float(text.removesuffix(unit)) * _SECONDS[unit]
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise click.BadParameter(f"'{value}' is no length of time; write seconds, or 500ms, 10s, 5m, 1h")
    return found


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a verb that goes on until it is told to end."""


class Stop:
    """Whether a signal has come that ends a verb; from its making on they end nothing else. True once one has."""

    def __init__(self) -> None:
        self._came = False
        for number in ENDING:
            signal.signal(number, self._come)

    def _come(self, _number: int, _frame: object) -> None:
        self._came = True

    def __bool__(self) -> bool:
        return self._came


def open_standard_streams() -> None:
    """Open the null device where stdin, stdout or stderr is closed: a file opened later must not get its number.

    Programs that a verb starts have it, too.
    """
    while True:
        fd = os.open(os.devnull, os.O_RDWR)
        if fd > 2:
            os.close(fd)
            break
        os.set_inheritable(fd, True)
    sys.stdin = sys.stdin or open(0, closefd=False)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)


def take_any_text() -> None:
    """Let stdout take what its encoding has no characters for: those are escaped."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")


def leave_pipe() -> None:
    """Give up a stdout that nobody reads any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that Python has nothing to complain of when it ends


def _tell(text: str, *, nl: bool = True, color: str | None = None) -> None:
    """Write to stderr; one that takes nothing more, full or a pipe that nobody reads, is given up: work goes on."""
    try:
        click.secho(text, err=True, nl=nl, fg=color if use_color() else None)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def reader_left() -> bool:
    """Whether the pipe that stdout is has no reader any more: one that ends early must not leave us waiting."""
    import select

    waiting = select.poll()
    try:
        waiting.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return False
    return any(events & select.POLLERR for _, events in waiting.poll(0))


def use_color() -> bool:
    """Whether stderr takes colours: a terminal, and NO_COLOR is not set."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def say(text: str, *, color: str | None = None) -> None:
    """Say one thing on stderr; what a program wrote into a name cannot steer the terminal."""
    _tell(f"userevents: {printable(text)}", color=color)


def warn(text: str) -> None:
    """Say what may be wrong, and go on."""
    say(text, color="yellow")


def log_trouble(level: str, message: str) -> None:
    """Say what a tracer or a door logs, as far as something may be wrong. Their log for people who run a verb."""
    if level in TROUBLE:
        warn(message)


def details(lines: Iterable[str]) -> None:
    """Say more about what was said last, an indented line each."""
    for line in lines:
        _tell(f"    {printable(line)}".rstrip())


def fail(text: str, code: int = 1) -> NoReturn:
    """Say what went wrong and end with an exit code."""
    say(text, color="red")
    sys.exit(code)


def count(number: int, what: str) -> str:
    """Return ``"1 event"`` or ``"1,234 events"``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def human_size(size: float) -> str:
    """Return a size for people: ``"1.2 MiB"``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


class LiveLine:
    """One line on a terminal that is rewritten a few times a second; silent where stderr is none."""

    def __init__(self, *, enabled: bool = True, interval_s: float = 0.25) -> None:
        self._enabled = enabled and sys.stderr.isatty()
        self._interval_s = interval_s
        self._next = 0.0
        self._shown = False

    @property
    def is_due(self) -> bool:
        """Whether it is time for another version of the line."""
        return self._enabled and time.monotonic() >= self._next

    def show(self, text: str) -> None:
        """Show this version of the line."""
        self._next = time.monotonic() + self._interval_s
        self._shown = True
        _tell(f"\r\x1b[K{text}", nl=False)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._shown = False
            _tell("\r\x1b[K", nl=False)


class Progress:
    """A live line for what may take long: shown once a second has gone by, and taken away at the end."""

    def __init__(self, text: Callable[[int], str], *, enabled: bool = True) -> None:
        self._text = text
        self._line = LiveLine(enabled=enabled)
        self._since = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether `at` would show anything now."""
        return self._line.is_due and time.monotonic() - self._since > _QUIET_S

    def at(self, done: int) -> None:
        """So much is done."""
        if self.is_due:
            self._line.show(self._text(done))

    def clear(self) -> None:
        """Take the line away, before something else is said."""
        self._line.clear()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
