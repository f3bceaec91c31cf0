"""Options that say who may use a tree: its mode and group, as tracefs takes them when it is mounted."""

from collections.abc import Callable
from typing import Any, Final

import click

_GID_MAX: Final = (1 << 32) - 2
"""(gid_t)-1 is none."""


def policy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --mode and --group, as `mode` and `gid`."""
    command = click.option(
        "--group", "gid", callback=_group, metavar="GROUP", help="The group all files belong to: a name or id."
    )(command)
    return click.option("--mode", callback=_mode, metavar="MODE", help="Who may enter the directory, in octal [700].")(
        command
    )


def _mode(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        mode = int(value, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise click.BadParameter(f"'{value}' is no mode; write it in octal: 755")
    return mode


def _group(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    if value.isascii() and value.isdecimal():
        if len(value) > 10 or int(value) > _GID_MAX:
            raise click.BadParameter(f"'{value}' is no group's id: they go up to {_GID_MAX}")
        return int(value)
    import grp

    try:
        return grp.getgrnam(value).gr_gid
    except KeyError:
        raise click.BadParameter(f"there is no group '{value}'") from None
