"""`userevents fleet init`: make what a fleet needs on a broker."""

import asyncio

import click

from ..errors import NoBroker
from .console import count, fail, human_size, say, size_option, time_option
from .fleeting import Credentials, failing, fleet_options, settings


@click.command()
@fleet_options
@click.option("--replicas", type=click.IntRange(1, 5), default=1, show_default=True, help="Servers that keep a copy.")
@click.option(
    "--max-size", "size", callback=size_option, metavar="SIZE", default="2G", show_default=True,
    help="What a server may store, keys and events together.",
)  # fmt: skip
@click.option(
    "--wait", callback=time_option, metavar="TIME", default="30s", show_default=True,
    help="How long to wait for servers that have just been started.",
)  # fmt: skip
def init(servers: str, credentials: Credentials, replicas: int, size: int, wait: float) -> None:
    """Make the streams of a fleet on a NATS server or cluster, so that hosts need no permission to.

    Streams that are there keep their sizes. In a cluster of three servers --replicas 3 goes on when one of them
    fails. 'fleet up' does this for its own server. A cluster that was just started is waited for until it has a leader.
    """
    from ..fleet.streams import prepare

    said: list[str] = []

    def told(why: str) -> None:
        if why not in said:
            said.append(why)
            say(f"{why}; waiting up to {wait:g} s for it (--wait)")

    with failing():
        try:
            asyncio.run(prepare(settings(servers, credentials), size, replicas, wait, told))
        except NoBroker as error:
            fail(f"after {wait:g} s still: {error}. Are {servers} the servers, and do most of the cluster's run?")
    say(f"the fleet's streams are there, with up to {human_size(size)} on each of {count(replicas, 'server')}")
