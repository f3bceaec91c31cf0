"""What a refusal means where the tree gives an errno only, and who holds an event that cannot be deleted."""

import errno
import os
from collections.abc import Iterator

from ..control import Access, Tracer
from ..control.events import USER_SYSTEMS, EventName, all_events, clash_reason
from ..control.history import GoneEvent, read_history
from ..errors import Refused
from ..fields import parse_declaration
from .reach import shown


def explained(access: Access, refused: Refused, declaration: str) -> Refused:
    """The refusal of a declaration with its reason: a tracer of ours gave it, a kernel gives the errno only."""
    code = refused.errno or errno.EIO
    if not refused.reason.endswith(os.strerror(code)):
        return refused
    return Refused(code, _reason(access, code, declaration) or refused.reason)


def _reason(access: Access, code: int, declaration: str) -> str | None:
    if code == errno.EADDRINUSE:
        return clash_reason(access, declaration)
    if code == errno.EPERM:
        return "a persistent event needs CAP_PERFMON: run this as root, or leave out --persist"
    if code == errno.EMFILE:
        return "there are as many events as kernel.user_events_max allows"
    if code == errno.EINVAL:
        try:
            parse_declaration(declaration)
        except Refused as parsed:
            return parsed.reason
    return None


def registered(access: Access, name: str) -> list[EventName]:
    """The events that are registered as `name`: one of its own, and any number of layouts."""
    return [event for event in all_events(access) if event.system in USER_SYSTEMS and event.registered_name == name]


def holder_lines(access: Access, events: list[EventName]) -> Iterator[str]:
    """Who holds these events, a line each; of a kernel, who listens."""
    tracer = Tracer(access)
    holders = tracer.holders()
    if holders:
        for event in events:
            for holder in holders.get(str(event), ()):
                kind, _, detail = holder.partition(" ")
                yield f"{kind:8} {shown(detail)}".rstrip()
        return
    used_by = tracer.status().used_by
    for event in events:
        for listener in used_by.get(event.name, ()):
            yield f"{listener:8} {shown(str(event))}"
    yield "a kernel does not tell which processes hold an event"


def last_gone(access: Access, name: str) -> tuple[GoneEvent, float] | None:
    """The event of this registered name that was destroyed last, and how many seconds ago, if the tracer knows."""
    history = read_history(access)
    if history is None:
        return None
    for gone in reversed(history.gone):
        if EventName(*gone.event.split(":", 1)).registered_name == name:
            return gone, (history.now_ns - gone.entries[-1].at_ns) / 1e9
    return None
