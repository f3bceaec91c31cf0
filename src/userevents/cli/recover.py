"""`userevents recover`: make the trace of a recorder that was killed out of the raw file it left behind."""

import os
import sys

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
    from ..fields.escape import printable
    from ..session.directory import tracer_candidates
    from ..session.recorder_note import settle_notes
    from .console import count, fail, say, warn
    from .finish import merge

    out = output or _default_output(file)
    if output is None and os.path.lexists(out):
        raise click.UsageError(printable(f"'{out}' is there already; name the trace to write with -o"))
    if os.path.realpath(out) == os.path.realpath(file):
        raise click.UsageError(printable(f"'{out}' is the recording itself; name another file with -o"))
    try:
        done = merge(file, out)
    except (Malformed, Unusable) as error:
        fail(printable(str(error)))
    except OSError as error:
        fail(printable(f"'{error.filename or file}': {error.strerror or error}"))
    settle_notes(tracer_candidates(), file)  # which may be removed now
    for note in done.notes:
        warn(printable(note))
    for sentence in done.ledger.losses():
        warn(printable(sentence))
    say(printable(f"{count(done.records, 'event')} of {len(done.ledger.processes):,} sessions: {out}"))
    say(printable(f"'{file}' is no longer needed (userevents report {out} shows the trace)"))
    sys.stdout.flush()


def _default_output(file: str) -> str:
    return file.removesuffix(_SUFFIX) if file.endswith(_SUFFIX) and file != _SUFFIX else f"{file}.dat"
