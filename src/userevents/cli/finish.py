"""From a raw recording to the finished trace: the merge, its progress, and what to do when it cannot be written."""

import os
from itertools import pairwise

from ..control.recorder import RawFile
from ..errors import Malformed
from ..formats.finish import Finished, finish_recording
from .console import Progress, say, warn


def finish(raw: RawFile, *, quiet: bool = False) -> Finished | None:
    """Merge a raw file into its output and remove it; on failure keep it, say so, and return None."""
    raw.close()
    try:
        done = merge(raw.path, raw.out, quiet=quiet)
    except (OSError, Malformed) as error:
        told = f"{error.strerror} ('{error.filename or raw.out}')" if isinstance(error, OSError) else str(error)
        warn(f"'{raw.out}' could not be finished: {told}")
        say(f"what was recorded is in '{raw.path}': userevents report reads it, userevents recover finishes it")
        return None
    raw.discard()
    return done


def merge(part: str, out: str, *, quiet: bool = False) -> Finished:
    """Merge a raw recording into a trace, showing progress on a terminal once it takes longer than a second."""
    with Progress(lambda percent: f"finishing {out}: {percent} %", enabled=not quiet) as progress:
        return finish_recording(part, out, lambda done, total: progress.at(100 * done // max(total, 1)))


def shift_files(output: str, keep: int) -> None:
    """Make room for the next file of a rotation: FILE becomes FILE.1, FILE.1 FILE.2, and the oldest goes."""
    names = [output]
    while len(names) < keep and os.path.exists(names[-1]):
        names.append(f"{output}.{len(names)}")
    for newer, older in reversed(list(pairwise(names))):
        os.replace(newer, older)
