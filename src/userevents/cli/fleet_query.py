"""`userevents fleet query`: SQL over the events of many hosts as they come, window by window."""

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from .console import details, fail, time_option, warn
from .fleeting import Credentials, complete_fleet_event, fleet_options, host_option
from .options import quiet_option
from .spans import pair_option

if TYPE_CHECKING:
    from ..fleet.live import Window
    from ..formats.pairs import Pair
    from ..formats.sql import Result

_NO_TABLE = "Catalog Error: Table with name"
"""How DuckDB begins when there is no such table: nobody may have had the event yet."""


@click.command()
@fleet_options
@host_option
@click.option(
    "-e", "--event", "patterns", multiple=True, metavar="PATTERN", shell_complete=complete_fleet_event,
    help="Have these events recorded meanwhile, and look at no others: [SYSTEM:]EVENT with * ? []. Repeatable.",
)  # fmt: skip
@click.option(
    "--window", callback=time_option, default="5s", show_default=True, metavar="TIME",
    help="The SQL is asked of each so long piece of time.",
)  # fmt: skip
@click.option(
    "--delay", callback=time_option, default="500ms", show_default=True, metavar="TIME",
    help="How late records may come and still be in their window.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object a row.")
@click.option("-n", "limit", type=click.IntRange(1), metavar="N", help="End after N windows.")
@pair_option
@quiet_option
@click.argument("sql")
def query(
    servers: str,
    credentials: Credentials,
    hosts: str,
    patterns: tuple[str, ...],
    window: float,
    delay: float,
    as_json: bool,
    limit: int | None,
    pairs: "tuple[Pair, ...]",
    quiet: bool,
    sql: str,
) -> None:
    """Ask SQL of what happens on the hosts of the fleet, anew for each window of time, until Ctrl-C.

    The tables are those of 'query' (each event's, events, processes, hosts, spans), with the records of one window;
    each table of an event has the column host. Records are in the window of their time, on this machine's clock. Needs
    the extra 'sql'.

    \b
    userevents fleet query -e request 'SELECT host, count(*), max(latency_ns) FROM request GROUP BY host'
    userevents fleet query --window 1m --json "SELECT event, count(*) AS n FROM events GROUP BY event"
    """
    from .fleet_watching import Watch, Watching

    rows = _Rows(sql, pairs, as_json, limit, quiet)
    Watching(Watch(hosts, patterns, window, delay, True, quiet), rows.show).run(servers, credentials)


class _Rows:
    """Asks each window, and writes the rows."""

    def __init__(self, sql: str, pairs: "tuple[Pair, ...]", as_json: bool, limit: int | None, quiet: bool) -> None:
        self._sql = sql
        self._pairs = pairs
        self._as_json = as_json
        self._left = limit
        self._quiet = quiet
        self._said = ""

    def show(self, window: "Window") -> bool:
        """Write the rows of a window; False when there were enough windows."""
        from ..errors import Unusable
        from ..formats.sql import BadQuery, Database

        try:
            database = Database(window.trace, self._pairs if window.records else ())
        except Unusable as error:
            fail(str(error))
        try:
            result = database.query(self._sql)
            rows = list(result.rows)
        except BadQuery as error:
            first, *more = str(error).splitlines()
            if not first.startswith(_NO_TABLE):
                warn(first)
                details(more)
                sys.exit(1)
            self._say(f"nothing to ask yet: {first}")
        else:
            self._write(window, result._replace(rows=iter(rows)))
        finally:
            database.close()
        if self._left is not None:
            self._left -= 1
        return self._left != 0

    def _say(self, text: str) -> None:
        if text != self._said and not self._quiet:
            self._said = text
            warn(text)

    def _write(self, window: "Window", result: "Result") -> None:
        from ..formats import facts
        from ..formats.sql_text import json_line

        header = window.trace.header
        real_ns = window.start_ns + facts.whole(header, "real_ns") - facts.whole(header, "mono_ns")
        began = datetime.fromtimestamp(real_ns / 1e9, UTC).isoformat(timespec="milliseconds")
        if self._as_json:
            for row in result.rows:
                line = json_line(result.names, row, result.types)
                rest = "," + line[1:] if len(line) > 2 else "}"
                sys.stdout.write(f'{{"window":{json.dumps(began)}{rest}\n')
            return
        from .results import write_table

        sys.stdout.write(f"-- {began}  {window.records:,} records\n")
        write_table(result, sys.stdout, 0)
