"""Options that several verbs have, so that they are called, and mean, the same everywhere."""

import click

from .complete import complete_file_event


def _providers(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Read names of providers, the default where there are none."""
    from ..providers import DEFAULT, PROVIDERS

    if not values:
        return DEFAULT
    names = [name for value in values for name in value.split(",") if name and name != "none"]
    for name in names:
        if name not in PROVIDERS:
            raise click.BadParameter(f"there is no provider '{name}'; there are: {', '.join(PROVIDERS)}, none")
    return tuple(dict.fromkeys(names))


def _calls(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what would watch nothing."""
    for value in values:
        if value.startswith(":") or value.count(":") > 1 or len(value.split()) != 1:
            raise click.BadParameter(f"'{value}' is no MODULE:FUNCTION, such as shop.cart:add, shop.*:Cart.* or shop:*")
    return values


def filter_expression(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse what is no filter, whatever an event's fields are, before anything is waited for."""
    from ..fields.filter import syntax_problem
    from .reach import kernel_text

    if problem := syntax_problem(kernel_text(value)) if value else None:
        raise click.BadParameter(f"'{value}' is no filter: {problem}")
    return value


quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors.")

where_option = click.option(
    "--where",
    default="",
    metavar="EXPR",
    callback=filter_expression,
    help="Only records that pass this filter: 'latency_ns > 1000'.",
)

provider_option = click.option(
    "--provider",
    "providers",
    multiple=True,
    metavar="NAME",
    callback=_providers,
    help="What unmodified Python programs tell: logging, audit, gc, none (default: logging and audit). Repeatable.",
)
"""Gives the names of the providers that were chosen."""

calls_option = click.option(
    "--calls",
    multiple=True,
    metavar="MODULE:FUNCTION",
    callback=_calls,
    help="Calls of these functions, with durations (Python 3.12+; of a program that runs already 3.14+); shell globs "
    "(shop.*:Cart.*). Repeatable.",
)

file_argument = click.argument("file", type=click.Path(readable=False))
"""A trace to read; what is wrong with it is said when it is opened."""

file_event_option = click.option(
    "-e",
    "--event",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    shell_complete=complete_file_event,
    help="Only [SYSTEM:]EVENT, with * ? []. Repeatable.",
)
"""Which events of a trace FILE."""

file_pid_option = click.option(
    "-p", "--pid", "pids", multiple=True, type=click.IntRange(0), help="Only this process. Repeatable."
)
"""Which processes of a trace FILE."""
