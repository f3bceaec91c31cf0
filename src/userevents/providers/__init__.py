"""Events for programs that nobody changed: what they log, what they do, when they collect garbage.

`userevents record` puts `inject/` on the PYTHONPATH of the program it starts (`environment`); Python then runs
`inject/sitecustomize.py`, which calls `start` here. A provider declares ordinary user events (`declarations`) and
emits them from a place the interpreter offers: `logs`, `audit`, `collector`, `calls`. What keeps all of that unnoticed
by the program is in `guard` and `shadow`. docs/providers.md describes every event.
"""

from __future__ import annotations

import os
import sys

from . import declarations, events, guard
from .shadow import forget_shadowed

TYPE_CHECKING = False  # the `typing` module would double what starting a traced program costs
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

__all__ = ["DEFAULT", "PROVIDERS", "Provider", "forget_shadowed", "running", "start", "stop"]


class Provider:
    """One row of `PROVIDERS`: the module that emits, a line for people, and the declarations of its events."""

    __slots__ = ("description", "events", "module")

    def __init__(self, module: str, description: str, events: tuple[str, ...]) -> None:
        self.module = module
        self.description = description
        self.events = events


PROVIDERS = {  # in the order of starting: audit last, or it would tell of the files that the others open
    "logging": Provider("logs", "every record that the logging module handles", declarations.LOGGING),
    "gc": Provider("collector", "each run of the garbage collector, and how long it took", declarations.GC),
    "calls": Provider(
        "calls", "calls of functions (record --calls 'MODULE:*'), from Python 3.12 on", declarations.CALLS
    ),
    "audit": Provider("audit", "opens, imports, connections, child processes, databases, crashes", declarations.AUDIT),
}
DEFAULT = ("logging", "audit")

_started: list[str] = []


def start(names: Iterable[str], calls: Sequence[str] = ()) -> list[str]:
    """Start the providers `names` in this process and return those of them that run.

    One that runs already is left as it is, but for `calls`, patterns that the provider of this name takes besides
    its own. An unknown or failing one is skipped, and told of only with USEREVENTS_DEBUG=1: the program that is
    traced asked for none of this.
    """
    wanted = set(names)
    for name, provider in PROVIDERS.items():
        more = (calls,) if calls and name == "calls" else ()
        if name not in wanted or (name in _started and not more):
            continue
        try:
            _module(provider).start(provider.events, *more)
        except Exception as error:
            guard.absorb(error)
        else:
            if name not in _started:
                _started.append(name)
    if os.environ.get("USEREVENTS_DEBUG") == "1" and wanted - set(PROVIDERS):
        print("userevents: no such provider:", *sorted(wanted - set(PROVIDERS)), file=sys.stderr)
    return [name for name in _started if name in wanted]


def running() -> list[str]:
    """Return the names of the providers that run in this process."""
    return list(_started)


def stop() -> dict[str, object]:
    """Stop the providers, unless somebody listens; say which were ``stopped``, and whether somebody ``listened``.

    What they put into the program is taken out again, except an audit hook, for which Python has no way; it then does
    nothing. A tracer does not see the process any more.
    """
    if events.are_listened_to():
        return {"stopped": [], "listened": True}
    stopped = []
    for name in running():
        try:
            _module(PROVIDERS[name]).stop()
        except Exception as error:
            guard.absorb(error)
        else:
            stopped.append(name)
            _started.remove(name)
    if not _started:
        events.withdraw()
    return {"stopped": stopped, "listened": False}


def _module(provider: Provider) -> Any:
    return __import__(f"{__name__}.{provider.module}", fromlist=["start"])
