"""`userevents enable`: have events recorded into an instance's rings."""

from typing import TYPE_CHECKING, Any

import click

from .complete import complete_event
from .reach import instance_option, tracefs_option

if TYPE_CHECKING:
    from ..control.events import EventControl


@click.command()
@tracefs_option
@instance_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event.")
@click.argument("events", nargs=-1, required=True, metavar="EVENT...", shell_complete=complete_event)
def enable(tracefs: str | None, instance: str, as_json: bool, events: tuple[str, ...]) -> None:
    """Record the registered events that EVENT... ([SYSTEM:]EVENT with * ? []) names.

    They go into the rings of the top instance (or --instance NAME); 'userevents cat trace' shows them. An
    event that is enabled is held: it stays until it is disabled, also when its program ends.
    """
    from .each import for_each

    for_each(events, tracefs, instance, as_json, _enable)


def _enable(event: "EventControl") -> tuple[str, dict[str, Any]]:
    event.set_enabled(True)
    return "enabled", {"enabled": event.enabled}
