"""`userevents set-filter`: keep only the records of an event that pass an expression."""

from typing import TYPE_CHECKING, Any

import click

from .complete import complete_event
from .reach import instance_option, shown, tracefs_option

if TYPE_CHECKING:
    from ..control.events import EventControl


@click.command("set-filter")
@tracefs_option
@instance_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event.")
@click.option("--clear", is_flag=True, help="Keep everything again (the expression 0 does the same).")
@click.argument("event", shell_complete=complete_event)
@click.argument("expression", required=False)
def set_filter(
    tracefs: str | None, instance: str, as_json: bool, clear: bool, event: str, expression: str | None
) -> None:
    """Keep only the records of EVENT ([SYSTEM:]EVENT with * ? []) for which EXPRESSION is true.

    It holds for one instance: the top one, or --instance NAME. An expression that is refused leaves the event
    without any, as in the kernel.

    \b
    userevents set-filter request 'latency_ns > 1000000 && path ~ "/api/*"'
    userevents set-filter request --clear
    """
    from .each import for_each
    from .reach import kernel_text

    if clear == (expression is not None):
        raise click.UsageError("give an EXPRESSION or --clear, one of them")
    text = kernel_text(expression) if expression is not None else "0"
    for_each((event,), tracefs, instance, as_json, lambda control: _set(control, text))


def _set(event: "EventControl", text: str) -> tuple[str, dict[str, Any]]:
    event.set_filter(text)
    found = shown(event.filter.text)
    return f"filter {found}" if found else "no filter", {"filter": found or None}
