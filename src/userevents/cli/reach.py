"""Reaching a tracing tree for a verb: that of the tracer that runs, or a mounted one; and saying what it refused."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import click

from ..control import Access, FilesAccess, SocketAccess
from ..control.access import ANSWER_TIMEOUT_S
from ..errors import Malformed, NoTracer, Refused, Unusable
from ..session import directory, layout
from .console import fail

WAY_OUT = (
    "start one ('userevents record' is a tracer until Ctrl-C), or name a mounted tracing file system "
    "(--tracefs /sys/kernel/tracing)"
)

_NOBODY = "no tracer listens at"


class NobodyRuns(NoTracer):
    """There is no tracer at all, and not one that is silent."""


def join(reason: Exception | None = None, *, timeout: float = ANSWER_TIMEOUT_S) -> SocketAccess:
    """Connect to the tracer that runs for this user, or else to the system's, if it answers within `timeout` seconds.

    Raises `NobodyRuns` when there is none, `NoTracer` when none answers, `Refused` (EACCES) when only the system's
    does, and this user may not use it.
    """
    tried = []
    places = directory.tracer_candidates()
    if not os.environ.get("USEREVENTS_DIR"):
        places.append(directory.SYSTEM)
    for place in places:
        path = os.path.join(place, layout.SOCKET_NAME)
        try:
            return SocketAccess(path, timeout=timeout)
        except NoTracer as error:
            tried.append(str(error))
    if reason:
        raise NoTracer(f"{reason}, but it does not answer: {'; '.join(tried)}")
    raise (NobodyRuns if all(each.startswith(_NOBODY) for each in tried) else NoTracer)("; ".join(tried))


def reach(tracefs: str | None) -> Access:
    """The tree below the directory `tracefs`, or without one that of the running tracer.

    Raises `NoTracer` or `Unusable` with the way out.
    """
    if tracefs is None:
        try:
            return join()
        except NobodyRuns:
            raise NobodyRuns(f"no tracer runs: {WAY_OUT}") from None
    events = os.path.join(tracefs, "events")
    try:
        os.listdir(events)
    except OSError as error:
        hint = "; only root may use it" if error.errno in (1, 13) else "; is it mounted there?"
        raise Unusable(f"'{tracefs}' is no tracing file system: '{events}': {error.strerror}{hint}") from None
    return FilesAccess(tracefs)


@contextlib.contextmanager
def failing() -> Iterator[None]:
    """What goes wrong in here is said, and ends the verb with exit code 1."""
    try:
        yield
    except (NoTracer, Unusable, Refused, Malformed) as error:
        fail(str(error))


@contextlib.contextmanager
def reached(tracefs: str | None) -> Iterator[Access]:
    """The tree, as long as the verb works on it; what goes wrong there ends the verb with exit code 1."""
    with failing(), contextlib.closing(reach(tracefs)) as access:
        yield access


def tracefs_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option --tracefs."""
    return click.option(
        "--tracefs",
        metavar="DIR",
        type=click.Path(file_okay=False),
        help="A mounted tracing file system (/sys/kernel/tracing) instead of the running tracer.",
    )(command)


def instance_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option --instance."""
    return click.option(
        "--instance", default="", metavar="NAME", callback=_kernel_text, help="Not the top instance, but this one."
    )(command)


def kernel_text(text: str) -> str:
    """What was typed, as kernel text: one character a byte."""
    return os.fsencode(text).decode("latin-1")


def shown(text: str) -> str:
    """Kernel text as people read it."""
    return text.encode("latin-1", "backslashreplace").decode("utf-8", "backslashreplace")


def _kernel_text(ctx: click.Context, param: click.Parameter, value: str) -> str:
    return kernel_text(value)
