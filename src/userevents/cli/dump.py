"""`userevents dump`: write out what a flight recording holds, while it goes on."""

import contextlib
import json
import sys
import time

import click

from .console import fail, time_option


@click.command()
@click.option("--last", "last", callback=time_option, metavar="TIME", help="Only the last 30s, 5m, ... of it.")
@click.option("-o", "--output", metavar="FILE", help="Where the trace goes [default: flight-DATE-TIME.dat].")
@click.option("--of", "name", metavar="NAME", help="Which flight recording, where there are several.")
@click.option("--json", "as_json", is_flag=True, help="Tell what was written as a JSON object.")
def dump(last: float | None, output: str | None, name: str | None, as_json: bool) -> None:
    """Write out what a flight recording (userevents record --flight) holds now, as a trace.

    The recording goes on; it can be dumped again and again. Programs that crashed or ended since are in it too.

    \b
    userevents dump
    userevents dump --last 30s -o slow.dat
    """
    from ..control import Tracer
    from .dumping import choose_flight, tell_dump, write_dump
    from .reach import NobodyRuns, failing, join

    out = output or time.strftime("flight-%Y%m%d-%H%M%S.dat")
    with failing():
        try:
            access = join()
        except NobodyRuns:
            fail("no flight recording is going on; start one: userevents record --flight -- PROGRAM")
        with contextlib.closing(access):
            done = write_dump(access, choose_flight(Tracer(access), name), out, last_s=last, quiet=as_json)
    if done is None:
        sys.exit(1)
    if not as_json:
        tell_dump(done)
        return
    ledger = done.ledger
    totals = ("attempts", "committed", "delivered", "other", "overwritten", "missed", "lost")
    facts: dict[str, object] = {"file": done.path, "programs": len(ledger.processes)}
    facts |= {total: ledger.total(total) for total in totals}
    click.echo(json.dumps({**facts, "dropped": ledger.dropped, "balanced": ledger.is_balanced, "notes": done.notes}))
