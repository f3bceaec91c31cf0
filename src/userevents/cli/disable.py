"""`userevents disable`: have events recorded no more."""

from typing import TYPE_CHECKING, Any

import click

from ..control.events import GONE
from ..errors import Refused
from .complete import complete_event
from .reach import instance_option, tracefs_option

if TYPE_CHECKING:
    from ..control.events import EventControl


@click.command()
@tracefs_option
@instance_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event.")
@click.argument("events", nargs=-1, required=True, metavar="EVENT...", shell_complete=complete_event)
def disable(tracefs: str | None, instance: str, as_json: bool, events: tuple[str, ...]) -> None:
    """Stop recording the events that EVENT... ([SYSTEM:]EVENT with * ? []) names.

    What was recorded stays in the rings. An event that deletes itself goes if nobody else holds it; one with
    triggers stays attached for them.
    """
    from .each import for_each

    for_each(events, tracefs, instance, as_json, _disable)


def _disable(event: "EventControl") -> tuple[str, dict[str, Any]]:
    event.set_enabled(False)
    try:
        state = event.enabled
    except Refused as refused:
        if refused.name not in GONE:
            raise
        state = None  # nobody else held it
    return "disabled" + (", but its triggers keep it attached" if state == "0*" else ""), {"enabled": state}
