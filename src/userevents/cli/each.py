"""Doing one thing to every event that patterns name: the common part of enable, disable, set-filter and trigger."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ..control import Access
from ..control.events import EventControl, EventName, Pattern, all_events, instance_prefix
from ..errors import Refused, Unusable
from ..fields.near import instead
from .console import details, say
from .reach import kernel_text, reached, shown

Action = Callable[[EventControl], tuple[str, dict[str, Any]]]
"""Does it to one event, and returns what to tell of it: in words, and in JSON."""


def chosen(access: Access, patterns: Sequence[str]) -> list[EventName]:
    """The events that the patterns name, each once.

    Raises `Unusable` for a pattern that names none, with those that there are.
    """
    events = all_events(access)
    found: dict[EventName, None] = {}
    for text in patterns:
        pattern = Pattern.parse(kernel_text(text))
        matched = [event for event in events if pattern.matches(event)]
        if not matched:
            raise Unusable(f"no event matches '{text}'; {_there_are(events, pattern)}")
        found.update(dict.fromkeys(matched))
    return list(found)


def for_each(patterns: Sequence[str], tracefs: str | None, instance: str, as_json: bool, action: Action) -> None:
    """Do `action` to each event and say so; ends with exit code 1 if any refused."""
    failed = False
    with reached(tracefs) as access:
        prefix = instance_prefix(access, instance)
        for event in chosen(access, patterns):
            control = EventControl(access, prefix, event)
            known = control.errors()
            result: dict[str, Any] = {"event": shown(str(event)), "instance": shown(instance)}
            try:
                told, facts = action(control)
            except Refused as refused:
                failed = True
                log = _news(known, control.errors())
                result |= {"error": refused.name, "reason": refused.reason, "error_log": log}
                say(f"{shown(str(event))}: {refused}", color="red")
                details(shown(log).splitlines())
            else:
                result |= facts
                if not as_json:
                    say(f"{shown(str(event))}: {told}")
            if as_json:
                sys.stdout.write(json.dumps(result) + "\n")
    if failed:
        sys.exit(1)


def _news(known: list[str], now: list[str]) -> str:
    """The last entry of an error log, if it came after `known` was read."""
    return now[-1] if now and now[-1:] != known[-1:] else ""


def _there_are(events: list[EventName], pattern: Pattern) -> str:
    """The events that could have been meant: those of the pattern's systems."""
    system = Pattern(pattern.system, "*")
    names = [shown(event.name if not pattern.system else str(event)) for event in events if system.matches(event)]
    if not names:
        return "none is registered now (userevents list shows what live programs declare)"
    return instead(shown(str(pattern)), names, "there are:")
