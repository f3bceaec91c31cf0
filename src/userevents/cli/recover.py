"""`userevents recover`: make the trace of a recorder that was killed out of the raw file it left behind."""

import fcntl
import os

import click

_SUFFIX = ".part"


@click.command()
@click.argument("file", metavar="FILE.part", type=click.Path())
@click.option("-o", "--output", type=click.Path(), help="The trace to write [default: FILE].")
def recover(file: str, output: str | None) -> None:
    """Finish the trace of a recorder that was killed: merge FILE.part into FILE.

    Every event that reached FILE.part is kept, and the ledger says what is known to be missing. FILE.part itself
    is left as it is.
    """
    from ..errors import Malformed, Unusable
    from ..session.directory import tracer_candidates
    from ..session.recorder_note import settle_notes
    from .console import count, fail, say, warn
    from .finish import merge
    from .opening import check_output

    out = output or _default_output(file)
    check_output(file, out, is_named=output is not None)
    try:
        is_written = _is_being_written(file)
        if is_written and output is None:
            fail(f"the recorder of '{file}' still runs and finishes it by itself; -o FILE makes a trace of it so far")
        done = merge(file, out)
    except (Malformed, Unusable) as error:
        fail(str(error))
    except OSError as error:
        fail(f"'{error.filename or file}': {error.strerror or error}")
    settle_notes(tracer_candidates(), file)  # which may be removed now
    for note in done.notes:
        warn(note)
    for sentence in done.ledger.losses():
        warn(sentence)
    say(f"{count(done.records, 'event')} of {len(done.ledger.processes):,} sessions: {out}")
    if is_written:
        warn(f"the recorder of '{file}' still runs: what it writes from now on is not in '{out}'")
    else:
        say(f"'{file}' is no longer needed (userevents report {out} shows the trace)")


def _is_being_written(file: str) -> bool:
    """Whether a recorder has the file locked, as it has all the time."""
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _default_output(file: str) -> str:
    return file.removesuffix(_SUFFIX) if file.endswith(_SUFFIX) and file != _SUFFIX else f"{file}.dat"
