"""`userevents trigger`: have something done when an event is written."""

from typing import TYPE_CHECKING, Any

import click

from ..control.events import GONE
from ..errors import Refused
from .complete import complete_event
from .reach import instance_option, shown, tracefs_option

if TYPE_CHECKING:
    from ..control.events import EventControl


@click.command()
@tracefs_option
@instance_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event.")
@click.option("--remove", is_flag=True, help="Remove the trigger of this TEXT.")
@click.argument("event", shell_complete=complete_event)
@click.argument("text")
def trigger(tracefs: str | None, instance: str, as_json: bool, remove: bool, event: str, text: str) -> None:
    """Give EVENT ([SYSTEM:]EVENT with * ? []) the trigger TEXT, as the kernel writes them, or --remove it.

    It holds for one instance: the top one, or --instance NAME. An event with a trigger is held by it.

    \b
    userevents trigger request 'hist:keys=status:vals=latency_ns'
    userevents trigger request 'traceoff:1 if status == 500'
    userevents trigger request 'hist:keys=status:vals=latency_ns' --remove
    """
    from .each import for_each
    from .reach import kernel_text

    written = ("!" if remove else "") + kernel_text(text)
    for_each((event,), tracefs, instance, as_json, lambda control: _write(control, written))


def _write(event: "EventControl", text: str) -> tuple[str, dict[str, Any]]:
    before = event.triggers
    event.write_trigger(text)
    try:
        after = event.triggers
    except Refused as refused:
        if refused.name not in GONE:
            raise
        after = []  # nobody else held the event
    told = "trigger removed" if text.startswith("!") else "trigger set"
    if text.startswith("!") and after == before:
        told = "there is no such trigger"
    return told, {"triggers": [shown(line) for line in after]}
