"""`userevents fleet init`: make what a fleet needs on a broker."""

import asyncio

import click

from .console import human_size, say, size_option
from .fleeting import Credentials, failing, fleet_options, settings


@click.command()
@fleet_options
@click.option("--replicas", type=click.IntRange(1, 5), default=1, show_default=True, help="Servers that keep a copy.")
@click.option(
    "--max-size", "size", callback=size_option, metavar="SIZE", default="2G", show_default=True,
    help="What a server may store, keys and events together.",
)  # fmt: skip
def init(servers: str, credentials: Credentials, replicas: int, size: int) -> None:
    """Make the streams of a fleet on a NATS server or cluster, so that hosts need no permission to.

    Streams that are there keep their sizes. In a cluster of three servers --replicas 3 goes on when one of them
    fails. 'fleet up' does this for its own server.
    """
    from ..fleet.streams import prepare

    with failing():
        asyncio.run(prepare(settings(servers, credentials), size, replicas))
    say(f"the fleet's streams are there, with up to {human_size(size)} on each of {replicas} servers")
