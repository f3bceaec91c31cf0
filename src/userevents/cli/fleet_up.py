"""`userevents fleet up`: a broker on this machine."""

import os
import signal
import sys

import click

from .console import human_size, say, size_option
from .fleeting import Credentials, failing, settings

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=4222, show_default=True, help="Of loopback; 0 for any.")
@click.option(
    "--dir", "directory", metavar="DIR", type=click.Path(file_okay=False),
    help="Where its data is kept [~/.local/share/userevents/fleet].",
)  # fmt: skip
@click.option(
    "--max-size", "size", callback=size_option, metavar="SIZE", default="2G", show_default=True,
    help="What it may store, keys and events together.",
)  # fmt: skip
def up(port: int, directory: str | None, size: int) -> None:
    """Run a broker until Ctrl-C: the packaged NATS server, with JetStream, on loopback.

    Its URL is printed on stdout once it serves. What is stored in its directory is there again the next time. Anybody
    on this machine can use it; for other machines, set up NATS with TLS and accounts (docs/fleet.md).

    \b
    userevents fleet up &
    userevents serve --fleet nats://127.0.0.1:4222
    """
    from ..fleet.server import Place, free_port, running

    signal.pthread_sigmask(signal.SIG_BLOCK, {*_ENDING, signal.SIGCHLD})
    with failing():
        place = Place(port or free_port(), os.path.abspath(directory or _default_directory()), size)
        _see_room(place.directory, size)
        with running(place) as server:
            _prepare(place.url, size)
            sys.stdout.write(place.url + "\n")
            sys.stdout.flush()
            say(f"the broker serves, with up to {human_size(size)} in '{place.directory}'; Ctrl-C ends it")
            found = signal.sigwait({*_ENDING, signal.SIGCHLD})
            while found == signal.SIGCHLD and server.poll() is None:
                found = signal.sigwait({*_ENDING, signal.SIGCHLD})
            if server.poll() is not None:
                from ..errors import Unusable

                raise Unusable(f"nats-server ended with code {server.returncode}: see '{place.directory}/nats.log'")


def _default_directory() -> str:
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.path.join(data, "userevents", "fleet")


def _see_room(directory: str, size: int) -> None:
    """Refuse to promise what the disk does not have."""
    from ..errors import Unusable

    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    found = os.statvfs(directory)
    if found.f_bavail * found.f_frsize < size:
        free = human_size(found.f_bavail * found.f_frsize)
        raise Unusable(
            f"'{directory}' has {free} free, less than --max-size {human_size(size)}: choose less, or a --dir"
        )


def _prepare(url: str, size: int) -> None:
    """Make the streams, so that hosts need not be permitted to."""
    import asyncio

    from ..fleet.streams import prepare

    asyncio.run(prepare(settings(url, Credentials("", "", "")), size, 1))
