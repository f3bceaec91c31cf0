"""What the verbs of a fleet share: where the broker is, how to be let in, and what is said when it is not there."""

import contextlib
import functools
import os
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from ..errors import NoBroker, Unusable, UserEventsError
from .console import count, fail, say

if TYPE_CHECKING:
    from ..fleet.broker import Broker
    from ..fleet.connection import Settings

DEFAULT = "nats://127.0.0.1:4222"
"""Where `userevents fleet up` listens."""
_Result = TypeVar("_Result")


class Credentials(NamedTuple):
    """How a broker lets us in: names of files, empty where none was given."""

    credentials: str
    ca: str
    certificate: str


def credential_options(prefix: str = "--") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options --credentials, --ca and --certificate, with a prefix, as one argument `credentials`."""
    texts = {
        "credentials": "A NATS credentials file, or a file with an nkey seed.",
        "ca": "Certificates to trust for tls:// instead of the system's.",
        "certificate": "A client certificate and its key, in one file.",
    }

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def gathered(*args: Any, **options: Any) -> Any:
            found = {name: options.pop(f"fleet_{name}_file") or "" for name in texts}
            return command(*args, credentials=Credentials(**found), **options)

        decorated: Callable[..., Any] = gathered
        for name, text in reversed(texts.items()):
            decorated = click.option(
                prefix + name,
                f"fleet_{name}_file",
                metavar="FILE",
                envvar=f"USEREVENTS_FLEET_{name.upper()}",
                type=click.Path(dir_okay=False),
                help=f"{text} [$USEREVENTS_FLEET_{name.upper()}]",
            )(decorated)
        return decorated

    return decorate


def fleet_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every verb that works with a fleet, as `servers` and `credentials`."""
    return click.option(
        "--fleet",
        "servers",
        metavar="URL",
        envvar="USEREVENTS_FLEET",
        default=DEFAULT,
        help=f"The fleet's NATS servers, with commas between them [$USEREVENTS_FLEET, or {DEFAULT}].",
    )(credential_options()(command))


def host_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option --host, as `hosts`: a glob."""
    return click.option(
        "--host", "hosts", metavar="GLOB", default="*", help="Only hosts whose names match, by * ? [].",
        shell_complete=complete_host,
    )(command)  # fmt: skip


def settings(servers: str, credentials: Credentials) -> "Settings":
    """What to connect with. Says what to install where the extra is not there, and ends with exit code 1."""
    try:
        import nats as _  # noqa: F401 - that it is there
    except ImportError:
        fail("a fleet needs nats-py, which is not installed: pip install 'userevents[fleet]'")
    from ..fleet.connection import Settings

    for path in credentials:
        if path and not os.access(path, os.R_OK):
            fail(f"'{path}' cannot be read: {'there is no such file' if not os.path.exists(path) else 'not permitted'}")
    return Settings(tuple(filter(None, servers.split(","))), *credentials)


def with_broker(
    servers: str, credentials: Credentials, work: "Callable[[Broker], Coroutine[Any, Any, _Result]]"
) -> _Result:
    """Do something with the fleet's broker; what goes wrong is said, and ends the verb with exit code 1."""
    import asyncio

    reached = settings(servers, credentials)

    async def main() -> _Result:
        from ..fleet.broker import connected

        async with connected(reached, "userevents") as broker:
            return await work(broker)

    with failing():
        return asyncio.run(main())


def no_room(left_out: Collection[str], what: str) -> str:
    """Say that there are more hosts than a trace takes, which have no room, and the way out."""
    from ..formats.hosts import MAX_HOSTS

    named = ", ".join(sorted(left_out)[:3]) + (", ..." if len(left_out) > 3 else "")
    hosts = f"{count(len(left_out), 'host')} ({named})" if named else "more hosts"
    return (
        f"{what} has room for {MAX_HOSTS} hosts, and none for {hosts}: choose some with --host 'GLOB', and the others"
        " with another one beside it"
    )


@contextlib.contextmanager
def failing() -> Iterator[None]:
    """What goes wrong in here is said with the way out, and ends the verb with exit code 1."""
    from .reach import failing as failing_tree

    try:
        with failing_tree():
            yield
    except NoBroker as error:
        fail(f"{error}: start one with 'userevents fleet up', or name one with --fleet or $USEREVENTS_FLEET")


def complete_host(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of hosts in the fleet."""
    return sorted(host for host in _completed(ctx)[0] if host.startswith(incomplete))


def complete_fleet_event(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of events in the fleet."""
    return sorted(event for event in _completed(ctx)[1] if event.startswith(incomplete))


def _completed(ctx: click.Context) -> tuple[set[str], set[str]]:
    import asyncio

    from ..fleet.broker import connected
    from ..fleet.connection import Settings
    from ..fleet.view import View

    found = {name: str(ctx.params.get(f"fleet_{name}_file") or "") for name in Credentials._fields}
    servers = str(ctx.params.get("servers") or os.environ.get("USEREVENTS_FLEET") or DEFAULT)

    async def main() -> View:
        async with connected(Settings(tuple(servers.split(",")), **found), "userevents completion", 0.5) as broker:
            return View(await broker.keys(">"))

    try:
        view = asyncio.run(main())
    except (NoBroker, Unusable, OSError, ImportError):
        return set(), set()
    return view.alive, {listed.event.partition(":")[2] for listed in view.events()}


async def tell_unknown(broker: "Broker", patterns: Sequence[str], hosts: str) -> None:
    """Say which patterns no event of the fleet matches now: one may be misspelt, and the wait for it is long."""
    from ..fleet.reading import read_events

    for pattern in patterns:
        with contextlib.suppress(UserEventsError):  # what is wrong with the broker is told by those who need it
            if pattern != "*" and not await read_events(broker, pattern, hosts):
                way = "'userevents fleet list' shows all"
                say(f"no event of the fleet matches '{pattern}' yet ({way}); waiting for one")
