"""What the shell completes for words that are no options: names of events, files of the running tracer's tree."""

from typing import TYPE_CHECKING

import click

from ..errors import UserEventsError

if TYPE_CHECKING:
    from ..control import Access

_AT_MOST = 1000


def complete_event(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of events: those in the tree the verb works on, and those that live programs declare."""
    from ..control.events import USER_SYSTEMS, all_events
    from .reach import shown
    from .sessions import declared_names

    names = set(declared_names())
    access = _tree(ctx)
    if access is not None:
        try:
            names |= {shown(event.name) for event in all_events(access) if event.system in USER_SYSTEMS}
        except UserEventsError:
            pass
        finally:
            access.close()
    return sorted(name for name in names if name.startswith(incomplete))[:_AT_MOST]


def complete_declared(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of events that live programs declare."""
    from .sessions import declared_names

    return [name for name in declared_names() if name.startswith(incomplete)]


def complete_file_event(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the events of the trace that is named on the line; none before it is."""
    from ..formats import open_trace

    try:
        with open_trace(str(ctx.params.get("file"))) as trace:
            names = {event.name for event in trace.events.values()}
    except (UserEventsError, OSError):
        return []
    return sorted(name for name in names if name.startswith(incomplete))[:_AT_MOST]


def complete_sql(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The last word of SQL being typed: names of the trace's tables, and of their columns."""
    from ..formats import open_trace
    from ..formats.columns import schema_of
    from ..formats.sql_text import OWN_TABLES, name_in_sql, table_names

    before, space, begun = incomplete.rpartition(" ")
    try:
        with open_trace(str(ctx.params.get("file"))) as trace:
            events = list(trace.events.values())
    except (UserEventsError, OSError):
        return []
    names = {*OWN_TABLES, *map(name_in_sql, table_names(events).values())}
    names |= {name_in_sql(name) for event in events for name, _, _ in schema_of(event)}
    return sorted(f"{before}{space}{name}" for name in names if name.startswith(begun))[:_AT_MOST]


def complete_hist(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Behind a trace, names of its events; else names of events that live."""
    words = ctx.params.get("words") or ()
    if not words:
        return complete_event(ctx, param, incomplete)
    ctx.params["file"] = words[0]
    return complete_file_event(ctx, param, incomplete)


def complete_path(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names in the directory that the path so far leads to."""
    from .reach import kernel_text, shown

    access = _tree(ctx)
    if access is None:
        return []
    parent, slash, begun = incomplete.rpartition("/")
    try:
        names = access.listdir(kernel_text(parent))
    except UserEventsError:
        return []
    finally:
        access.close()
    return sorted(f"{parent}{slash}{name}" for name in map(shown, names) if name.startswith(begun))[:_AT_MOST]


def _tree(ctx: click.Context) -> "Access | None":
    from .reach import reach

    try:
        return reach(ctx.params.get("tracefs"))
    except UserEventsError:
        return None
