"""`userevents detach`: get userevents out of a program again."""

import sys

import click

from .console import time_option
from .options import quiet_option


@click.command()
@click.option("--wait", "wait_s", callback=time_option, metavar="TIME", help="Give up after this long [until Ctrl-C].")
@quiet_option
@click.argument("pids", nargs=-1, required=True, type=click.IntRange(1), metavar="PID...")
def detach(wait_s: float | None, quiet: bool, pids: tuple[int, ...]) -> None:
    """Take out of Python programs, PID..., what 'userevents attach' has put in.

    Everything but an audit hook, which Python keeps; it then does nothing. Not while somebody listens.
    """
    from .attached import detach_all

    sys.exit(detach_all(pids, wait_s, quiet))
