"""`userevents register`: register an event from the shell."""

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

import click

from .reach import reached, shown, tracefs_option

if TYPE_CHECKING:
    from ..control import Access
    from ..control.events import EventControl
    from .hold import Hold

_NOT_IN_DYNAMIC_EVENTS: Final = frozenset("#\n")


@click.command()
@tracefs_option
@click.option(
    "--hold/--persist",
    default=True,
    help="Hold the event until Ctrl-C (the default), or let it stay until it is unregistered, which only root may.",
)
@click.option("--multi-format", is_flag=True, help="The name may have several layouts: NAME.0, NAME.1, ...")
@click.option("--json", "as_json", is_flag=True, help="Tell the registered event as a JSON object.")
@click.argument("declaration", metavar="'NAME FIELDS'")
def register(tracefs: str | None, hold: bool, multi_format: bool, as_json: bool, declaration: str) -> None:
    """Register an event as a program does: 'tick u32 count; char[20] name'.

    An event lives while somebody holds it, and then deletes itself: so this command holds it, until Ctrl-C
    (--hold). With --persist it needs nobody: it stays until 'userevents unregister NAME', or until the tracer
    ends. That takes root (CAP_PERFMON).

    An event that is registered already is found and stays as it is: who registers first decides whether it persists.
    """
    from ..errors import Refused
    from .console import ENDING
    from .refusal import explained

    text = os.fsencode(declaration)
    with reached(tracefs) as access:
        try:
            holding = _register(access, text, persist=not hold, multi=multi_format)
        except Refused as refused:
            raise explained(access, refused, text.decode("latin-1")) from None
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING if hold else ())
        try:
            _tell(access, _found(access, text.decode("latin-1"), multi_format), persist=not hold, as_json=as_json)
            if hold:
                signal.sigwait(ENDING)
        finally:
            if holding is not None:
                holding.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)


def _register(access: "Access", text: bytes, *, persist: bool, multi: bool) -> "Hold | None":
    """Register it; what holds it, None where that is nobody."""
    from ..abi import tracefs as abi
    from ..abi.user_events import USER_EVENT_REG_MULTI_FORMAT, USER_EVENT_REG_PERSIST, USER_EVENTS_PREFIX
    from ..control import write_file
    from .hold import hold

    if persist and not multi and _NOT_IN_DYNAMIC_EVENTS.isdisjoint(text.decode("latin-1")):
        write_file(access, abi.DYNAMIC_EVENTS, USER_EVENTS_PREFIX.encode() + text + b"\n")
        return None
    return hold(access, text, USER_EVENT_REG_PERSIST * persist | USER_EVENT_REG_MULTI_FORMAT * multi)


def _found(access: "Access", text: str, multi: bool) -> "EventControl":
    """The event in the tree; of several layouts, that of the declaration."""
    from ..control.events import EventControl
    from ..fields import parse_command, parse_fields
    from .refusal import registered

    name, _, args = parse_command(text)
    candidates = [EventControl(access, "", event) for event in registered(access, name) if event.is_multi == multi]
    if len(candidates) > 1:
        wanted = [(field.name, field.size, field.signed) for field in parse_fields(args)]
        for event in candidates:
            if [(field.name, field.size, field.signed) for field in event.format.fields] == wanted:
                return event
    return candidates[-1]


def _tell(access: "Access", event: "EventControl", *, persist: bool, as_json: bool) -> None:
    from ..control import Tracer
    from .console import say, warn

    name, event_id = shown(str(event.event)), event.id
    holders = Tracer(access).holders().get(str(event.event))
    does_persist = persist if holders is None else any(holder.split()[0] == "self" for holder in holders)
    if as_json:
        facts = {
            "event": name,
            "id": event_id,
            "persist": does_persist,
            "held_by_pid": None if persist else os.getpid(),
        }
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
        return
    if not persist:
        say(f"{name} (id {event_id}) is registered, and held by this command (pid {os.getpid()}): Ctrl-C lets go of it")
    elif does_persist:
        end = " or the end of the tracer" if holders else ""
        way = f"userevents unregister {shown(event.event.registered_name)}"
        say(f"{name} (id {event_id}) is registered and persists, until '{way}'{end}")
    else:
        warn(
            f"{name} (id {event_id}) was registered before by somebody who did not let it persist, and stays so: it "
            f"goes when nobody holds it (userevents info {shown(event.event.registered_name)})"
        )
