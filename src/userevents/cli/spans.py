"""The option --pair, for every verb that shows spans."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..formats.pairs import Pair


def pair_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option --pair; gives a tuple of `formats.pairs.Pair`."""
    return click.option(
        "--pair",
        "pairs",
        multiple=True,
        metavar="BEGIN:END:KEY",
        callback=_pairs,
        help="Events that begin and end a span, and the field they agree in (KEY,KEY for several). Repeatable.",
    )(command)


def _pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> "tuple[Pair, ...]":
    from ..errors import Unusable
    from ..formats.pairs import Pair

    try:
        return tuple(map(Pair.parse, values))
    except Unusable as error:
        raise click.BadParameter(str(error)) from None
