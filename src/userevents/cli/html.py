"""`userevents html`: a trace as one web page that needs nothing else."""

import os
import sys
from typing import TYPE_CHECKING

import click

from .options import file_argument, quiet_option
from .spans import pair_option

if TYPE_CHECKING:
    from ..formats.pairs import Pair


@click.command()
@click.option("-o", "--output", type=click.Path(), help="The page [default: FILE.html]; - is stdout.")
@pair_option
@click.option("--rows", type=click.IntRange(0), default=20_000, show_default=True, help="Records in the table, about.")
@click.option("--open", "opens", is_flag=True, help="Show the page in the browser.")
@quiet_option
@file_argument
def html(output: str | None, pairs: "tuple[Pair, ...]", rows: int, opens: bool, quiet: bool, file: str) -> None:
    """Write the trace FILE as one web page: losses, timeline, rates, latencies, records with search.

    The page holds everything it shows and asks nobody for anything: send it, keep it, open it offline.
    Of a large trace the table holds a sample, which the page says; everything else counts every record.

    \b
    userevents html trace.dat
    userevents html trace.dat --pair request_begin:request_end:id -o page.html
    """
    from ..formats.output import OutputFile
    from ..formats.page import Limits, page_of, picture
    from .console import Progress, count, human_size, say
    from .memory import kept_memory
    from .opening import check_output, opened

    out = output or f"{file}.html"
    check_output(file, out, is_named=output is not None)
    with kept_memory(), opened(file, pairs) as trace:
        source = trace.source
        with Progress(lambda done: f"reading {file}: {done} %", enabled=not quiet) as progress:
            gathered = picture(
                trace,
                pairs,
                Limits(rows=rows),
                lambda: progress.at(100 * source.done_size // max(source.data_size, 1)),
            )
        page = page_of(gathered).encode()
        if out == "-":
            sys.stdout.buffer.write(page)
            return
        with OutputFile(out) as result:
            result.write(page)
        if not quiet:
            say(f"{count(gathered['about']['records'], 'record')}, {human_size(len(page))}: {out}")
    if opens:
        click.launch(f"file://{os.path.abspath(out)}")
