"""Opening a trace for a verb that makes something of it: what is wrong is said, and what was lost comes first."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from ..errors import UserEventsError
from ..fields.escape import printable
from ..formats import Trace, open_trace
from .console import details, fail, take_any_text, warn

if TYPE_CHECKING:
    from ..formats.pairs import Pair


@contextlib.contextmanager
def opened(file: str, pairs: "Sequence[Pair]" = (), *, losses: bool = True) -> Iterator[Trace]:
    """The trace, as long as the verb works on it; what goes wrong ends the verb with exit code 1.

    Losses and notes are said on stderr, at once (`losses` only if asked for), and notes that came while it was read at
    the end.
    """
    from ..formats.pairs import check

    take_any_text()
    try:
        with open_trace(file) as trace:
            check(pairs, trace.events.values())
            for sentence in trace.losses() if losses else ():
                warn(sentence)
            told = _tell_notes(trace, 0)
            yield trace
            sys.stdout.flush()
            _tell_notes(trace, told)
    except BrokenPipeError:
        raise
    except UserEventsError as error:
        first, *more = str(error).splitlines() or [type(error).__name__]
        _end(first, more)
    except OSError as error:
        if error.filename is None:
            raise  # of stdout: files that are read or made name themselves
        _end(f"'{error.filename}': {error.strerror or error}", [])


def check_output(file: str, out: str, *, is_named: bool) -> None:
    """Refuse to write over the trace FILE itself, and, unless it was named, over what is there already."""
    if not is_named and os.path.lexists(out):
        raise click.UsageError(printable(f"'{out}' is there already; name the file to write with -o"))
    if os.path.realpath(out) == os.path.realpath(file):
        raise click.UsageError(printable(f"'{out}' is the trace itself; name another file with -o"))


def _tell_notes(trace: Trace, told: int) -> int:
    """Say what is noteworthy about the trace, from note number `told` on; return how many there are."""
    for note in trace.notes[told:]:
        warn(note)
    return len(trace.notes)


def _end(first: str, more: Sequence[str]) -> None:
    """Say what went wrong, further lines below it, and end."""
    if not more:
        fail(first)
    warn(printable(first))
    details(more)
    sys.exit(1)
