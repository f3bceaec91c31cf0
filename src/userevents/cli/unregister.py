"""`userevents unregister`: delete a persistent event."""

import errno
import json
import os
import sys
from typing import TYPE_CHECKING

import click

from .complete import complete_event
from .console import details, fail, say
from .reach import reached, shown, tracefs_option

if TYPE_CHECKING:
    from ..control import Access
    from ..errors import Refused


@click.command()
@tracefs_option
@click.option("--json", "as_json", is_flag=True, help="Tell what was deleted as a JSON object.")
@click.argument("event", metavar="NAME", shell_complete=complete_event)
def unregister(tracefs: str | None, as_json: bool, event: str) -> None:
    """Delete the persistent event NAME, or 'NAME FIELDS' for one layout of several.

    Only an event that nobody uses can be deleted (else EBUSY: who holds it is listed), and only by root
    (CAP_PERFMON). An event that does not persist is never deleted by hand: it goes when its last holder does.
    """
    from ..control.registration import delete_event
    from ..errors import Refused

    text = os.fsencode(event).decode("latin-1")
    with reached(tracefs) as access:
        try:
            delete_event(access, text)
        except Refused as refused:
            _explain(access, text.partition(" ")[0], refused)
    if as_json:
        sys.stdout.write(json.dumps({"event": event, "deleted": True}) + "\n")
    else:
        say(f"{event}: deleted")


def _explain(access: "Access", name: str, refused: "Refused") -> None:
    """Say why it was not deleted, and what there is to do; ends with exit code 1."""
    from .refusal import holder_lines, last_gone, registered

    if refused.errno == errno.EBUSY:
        say(
            f"[EBUSY] event '{shown(name)}' is held; one that does not persist goes by itself when its last "
            "holder does, a persistent one can be deleted then. Held by:",
            color="red",
        )
        details(holder_lines(access, registered(access, name)))
        sys.exit(1)
    if refused.errno == errno.ENOENT and (gone := last_gone(access, name)) is not None:
        fail(f"{refused}; an event of that name, id {gone[0].id}, was destroyed {gone[1]:.1f} s ago")
    if refused.errno == errno.ENOENT:
        fail(f"[ENOENT] no event is registered as '{shown(name)}'" if "'" not in refused.reason else str(refused))
    if refused.errno == errno.EPERM:
        fail(f"[EPERM] deleting the persistent event '{shown(name)}' needs CAP_PERFMON: run this as root")
    fail(str(refused))
