"""`userevents attach`: get userevents into a program that runs already."""

import sys

import click

from .console import time_option
from .options import calls_option, provider_option, quiet_option


@click.command()
@provider_option
@calls_option
@click.option("--wait", "wait_s", callback=time_option, metavar="TIME", help="Give up after this long [until Ctrl-C].")
@quiet_option
@click.argument("pids", nargs=-1, required=True, type=click.IntRange(1), metavar="PID...")
def attach(
    providers: tuple[str, ...], calls: tuple[str, ...], wait_s: float | None, quiet: bool, pids: tuple[int, ...]
) -> None:
    """Have Python programs that run already, PID..., tell what they log and do. Python 3.14 and later.

    From then on they can be listened to like any that declare events: by record, tail, top. While nobody listens, that
    costs next to nothing. 'userevents detach' ends it. ('userevents record -p PID' attaches by itself, and detaches.)

    \b
    userevents attach 1234 && userevents tail 'py_*'
    userevents attach --calls 'shop.*:Cart.*' 1234
    """
    from .attached import attach_all

    wanted = (*providers, "calls") if calls and "calls" not in providers else providers
    sys.exit(attach_all(pids, wanted, calls, wait_s, quiet))
