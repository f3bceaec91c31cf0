"""`userevents list`: the declared events of live programs, who declares them, and whether they are on."""

import json
import sys

import click

from .complete import complete_declared
from .sessions import Declared


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event and program.")
@click.option("-p", "--pid", "pids", multiple=True, type=click.IntRange(1), help="Only this process. Repeatable.")
@click.argument("pattern", required=False, shell_complete=complete_declared)
def list_(as_json: bool, pids: tuple[int, ...], pattern: str | None) -> None:
    """List the declared events of live programs that match PATTERN ([SYSTEM:]EVENT with * ? []).

    Needs no tracer: it reads the programs' own session files. For root, beside the system's tracer, those of all users.
    What native programs have registered is known to the tracer whose door they use, and listed while that runs.
    """
    from .console import warn
    from .sessions import declared_events, native_events

    found, problems = declared_events(pattern, pids)
    native, silent = native_events(pattern, pids)
    found = sorted([*found, *native])
    for problem in [*problems, *silent]:
        warn(problem)
    if as_json:
        for item in found:
            sys.stdout.write(json.dumps(item.facts()) + "\n")
        return
    if not found:
        click.echo("No live program declares a matching event." if pattern or pids else "No live program declares any.")
        return
    _show_table(found)


def _show_table(found: "list[Declared]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    has_users = len({item.uid for item in found}) > 1
    for column in ("EVENT", "STATE", *(["UID"] if has_users else []), "PID", "FIELDS", "PROGRAM"):
        table.add_column(column, no_wrap=True, justify="right" if column in ("PID", "UID") else "left")
    refusals: list[str] = []
    for item in found:
        style = {"on": "green", "off": "", "refused": "red"}[item.state]
        state = f"refused: {item.error}" if item.error else item.state
        refusals += [f"pid {item.pid}: {item.reason}"] if item.reason else []
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in item.dropped_by.items())
        late = (
            f"; {item.late_answers:,} answers came late"
            if "tracer_gone" in item.dropped_by and item.late_answers
            else ""
        )
        lost = f" (lost: {reasons}{late})" if reasons else ""
        program = item.program if len(item.program) <= 60 else item.program[:57] + "..."
        who = ([str(item.uid)] if has_users else []) + [str(item.pid)]
        table.add_row(Text(item.event), Text(state + lost, style), *who, Text(item.fields), Text(program))
    terminal = sys.stdout.isatty()
    Console(width=None if terminal else 100_000, soft_wrap=not terminal).print(table)
    for refusal in refusals:
        click.echo(refusal)
