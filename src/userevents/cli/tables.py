"""The tables of a report, drawn with rich: a trace's summary, its highest records, its ledger."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..formats.summary import ledger_lines, ledger_verdict
from ..formats.text import escape, show_time, show_values
from .console import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..formats import Ledger, Trace
    from ..formats.hosts import Host
    from ..formats.summary import Summary, Top

_PLAIN_WIDTH = 160
_MANY = 1000


def _console() -> Console:
    """Return a console on stdout; where that is no terminal, wide enough not to fold."""
    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, emoji=False, width=_PLAIN_WIDTH)


def _table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        is_number = column in numbers
        table.add_column(column, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    return table


def _cells(table: Table, *texts: str) -> None:
    table.add_row(*map(Text, texts))


def plain_table(
    columns: Sequence[str], rows: Iterable[Sequence[str | tuple[str, str]]], numbers: tuple[str, ...] = ()
) -> None:
    """Show rows of texts, or of texts with a style, whole and a line each where stdout is no terminal.

    More rows than anybody reads on a terminal are shown so there, too: folding them takes longer than all else.
    """
    found = [
        [(escape(cell), "") if isinstance(cell, str) else (escape(cell[0]), cell[1]) for cell in row] for row in rows
    ]
    console = Console(highlight=False)
    if not console.is_terminal or len(found) > _MANY:
        _show_lines([columns, *([text for text, _ in row] for row in found)], [column in numbers for column in columns])
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left")
    for row in found:
        table.add_row(*(Text(text, style) for text, style in row))
    console.print(table)


def _show_lines(rows: Sequence[Sequence[str]], is_right: Sequence[bool]) -> None:
    """Write rows with their columns below each other, as wide as the widest."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    columns = list(zip(widths, is_right, strict=True))
    for row in rows:
        cells = []
        for text, (width, right) in zip(row, columns, strict=True):
            room = " " * (width - _width(text))
            cells.append(room + text if right else text + room)
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def _width(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def show_summary(trace: "Trace", summary: "Summary") -> None:
    """Show which process had which events, how often and how fast."""
    span = show_time(summary.last_ns - summary.first_ns)
    processes = len({(row.process, row.pid) for row in summary.rows.values()})
    console = _console()
    console.print(
        Text(
            f"{count(summary.records, 'event')} of {processes:,} process{'' if processes == 1 else 'es'} "
            f"in {span} s ({trace.kind}, clock {trace.clock})"
        )
    )
    table = _table("PROCESS", "PID", "EVENT", "COUNT", "RATE/S", "FIRST", "LAST", numbers=("PID", "COUNT", "RATE/S"))
    last = None
    for row in summary.by_process():
        who = (escape(row.process), str(row.pid))
        rate = f"{row.rate:,.1f}" if row.rate is not None else ""
        times = (show_time(row.first_ns), show_time(row.last_ns))
        _cells(table, *(who if who != last else ("", "")), escape(row.event), f"{row.count:,}", rate, *times)
        last = who
    console.print(table)


def show_top(top: "Top") -> None:
    """Show the records with the highest values of one field, that value first."""
    console = _console()
    records = top.records()
    console.print(Text(f"\nHighest {escape(top.key)} of {top.seen:,} ({len(records)} shown)"))
    table = _table(escape(top.key).upper(), "TIME", "PROCESS", "EVENT", "FIELDS", numbers=(escape(top.key).upper(),))
    for record in records:
        value = record.values[top.key]
        who = f"{escape(record.comm)}-{record.pid if record.pid is not None else record.tid}"
        shown = f"{value:,}" if isinstance(value, int) else str(value)
        rest = {name: other for name, other in record.values.items() if name != top.key}
        _cells(table, shown, show_time(record.ts_ns), who, escape(record.event.name), show_values(rest))
    console.print(table)


def show_hosts(hosts: "Sequence[Host]") -> None:
    """Show the hosts of a trace of several, and how far their clocks are known."""
    if not hosts:
        return
    console = _console()
    console.print(Text("\nHosts, and their clocks against the trace's"))
    names = ("HOST", "PIDS FROM", "CPUS", "OFFSET", "WITHIN", "DRIFT", "MISSING")
    table = _table(*names, numbers=("PIDS FROM", "OFFSET", "WITHIN", "DRIFT", "MISSING"))
    for host in hosts:
        cpus = f"{host.first_cpu}-{host.first_cpu + host.cpus - 1}"
        within = "unknown" if host.uncertainty_ns is None else f"{host.uncertainty_ns / 1000:,.0f} us"
        missing = f"{host.missing:,} batches" if host.missing else "" if host.ended else "its end"
        numbers = f"{host.offset_ns / 1e9:+,.6f} s", within, f"{host.drift_ppm:+.1f} ppm", missing
        _cells(table, escape(host.name), str(host.first_pid), cpus, *numbers)
    console.print(table)


def show_ledger(ledger: "Ledger | None") -> None:
    """Show where every attempt went, and whether it adds up."""
    console = _console()
    if ledger is None:
        console.print(Text("\nLedger: none in this file (it was not written by userevents)"))
        return
    console.print(Text(f"\nLedger: {ledger_verdict(ledger)}"))
    table = _table("WHAT", "RECORDS", numbers=("RECORDS",))
    for what, number in ledger_lines(ledger):
        table.add_row(Text(what), Text(f"{number:,}"), style="bold red" if what == "lost" and number else None)
    console.print(table)
