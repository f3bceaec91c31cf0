"""`userevents doctor`: what works here, what does not and why, and what to do about it."""

import json
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from .examine import Finding

_MARKS = {"ok": ("ok", "green"), "limited": ("limited", "yellow"), "no": ("no", "red"), "info": ("-", None)}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object per finding.")
def doctor(as_json: bool) -> None:
    """Say what works on this machine and what does not, why, and what to do.

    Everything is tried for real: doors are opened, a child's memory is read. Nothing is changed, save that a runtime
    directory is made where there is none.

    Exit code 1 if Python programs cannot be traced here at all.
    """
    from .examine import everything

    area, is_well = "", True
    for finding in everything():
        is_well = is_well and not (finding.state == "no" and finding.area == "Python programs")
        if as_json:
            sys.stdout.write(json.dumps(finding._asdict()) + "\n")
            continue
        if finding.area != area:
            click.echo(f"{chr(10) if area else ''}{finding.area}")
            area = finding.area
        _show(finding)
    if not is_well:
        sys.exit(1)


def _show(finding: "Finding") -> None:
    import os

    from ..fields.escape import printable

    mark, color = _MARKS[finding.state]
    is_plain = not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR"))
    told = click.style(f"{mark:<8}", fg=None if is_plain else color)
    click.echo(f"  {told}{finding.name}: {printable(finding.found)}")
    if finding.advice:
        click.echo(f"{'':<12}{printable(finding.advice)}")
