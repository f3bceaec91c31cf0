"""`userevents serve`: the tracer for good, as a service."""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from ..errors import Unusable, UserEventsError
from .console import count, size_option
from .fleeting import Credentials, credential_options, settings
from .mount import TRACING
from .policy import policy_options
from .service import LEVELS, Log, Manager

if TYPE_CHECKING:
    from ..doors.fuse import FuseDoor
    from .serving import Serving

_ENDING = (signal.SIGTERM, signal.SIGINT)
_FOR_ROOT, _FOR_ITS_GROUP = 0o700, 0o750
_TURN_S = 1.0
_DEFAULT = ParameterSource.DEFAULT
_PATHS = ("mounted_at", *(f"fleet_{name}_file" for name in Credentials._fields))
_IN_UNIT = {
    "mounted_at": "--mount",
    "mode": "--mode",
    "gid": "--group",
    "servers": "--fleet",
    "fleet_host": "--fleet-host",
    "backlog": "--fleet-backlog",
    **{f"fleet_{name}_file": f"--fleet-{name}" for name in Credentials._fields},
    "log_level": "--log-level",
    "as_json": "--json",
}
"""The options that a unit takes over, by their parameters."""


@click.command()
@click.option(
    "--mount", "mounted_at", is_flag=False, flag_value=TRACING, metavar="[DIR]", help=f"Serve files, too [{TRACING}]."
)
@click.option("--system", is_flag=True, help="Be the tracer of all users' programs. Needs root.")
@policy_options
@click.option("--fleet", "servers", metavar="URL", help="Join the fleet behind this NATS server: nats://HOST[:PORT].")
@click.option("--fleet-host", metavar="NAME", help="This host's name in the fleet [the machine's].")
@click.option(
    "--fleet-backlog", "backlog", callback=size_option, default="64M", show_default=True, metavar="SIZE",
    help="Memory for events that the server does not take for now.",
)  # fmt: skip
@credential_options("--fleet-")
@click.option(
    "--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="What to log on stderr."
)
@click.option("--json", "as_json", is_flag=True, help="Log one JSON object per line.")
@click.option(
    "--print-unit", "unit", type=click.Choice(["service", "socket"]), help="Print a unit for systemd, and do nothing."
)
def serve(
    mounted_at: str | None,
    system: bool,
    mode: int | None,
    gid: int | None,
    servers: str | None,
    fleet_host: str | None,
    backlog: int,
    credentials: Credentials,
    log_level: str,
    as_json: bool,
    unit: str | None,
) -> None:
    """Be the tracer until SIGTERM: every other verb uses this one, and no program is ever without.

    Tells systemd when it is ready, what it does and that it lives; takes over a socket that systemd opened. With a
    tracer always there, events that are enabled stay so from one program to the next.

    \b
    userevents serve
    userevents serve --print-unit service > ~/.config/systemd/user/userevents.service
    sudo userevents serve --system --mount --mode 770 --group tracing
    userevents serve --fleet nats://broker.example --fleet-credentials web1.creds
    """
    from ..doors import Policy
    from ..session.directory import SYSTEM
    from .serving import serving
    from .units import unit_text

    if unit is not None:
        options = _unit_options(click.get_current_context())
        click.echo(unit_text(unit, _command(), system=system, options=options, fleet=servers is not None), nl=False)
        return
    if mounted_at is None and not system and (mode is not None or gid is not None):
        raise click.UsageError("--mode and --group say who may use a mounted tree (--mount) or the system's (--system)")
    if mode is None:
        mode = _FOR_ROOT if gid is None else _FOR_ITS_GROUP
    policy = Policy(0, gid, mode) if system else None
    if system and os.geteuid() == 0:
        os.setgroups([])  # what it does as another user must not be done with root's groups
    log = Log(log_level, as_json=as_json)
    manager = Manager(os.environ)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_ENDING, signal.SIGHUP})  # before any thread: they inherit it
    try:
        with contextlib.ExitStack() as stack:
            served = stack.enter_context(serving(log, manager.sockets(), mode=mode, policy=policy))
            if servers is not None:
                _join(served, servers, credentials, fleet_host, backlog, log, stack)
            door = stack.enter_context(_mounted(served, mounted_at, gid)) if mounted_at is not None else None
            where = SYSTEM if system else ", ".join(served.tracer.directories)
            where += f"; files at {mounted_at}" if mounted_at else ""
            log("info", f"pid {os.getpid()} is the tracer: {where}")
            manager.tell("READY=1", f"STATUS={_status(served)}")
            _serve(served, door, manager, log)
            manager.tell("STOPPING=1")
    except UserEventsError as error:
        manager.tell(f"STATUS={error}")
        log("error", str(error))
        sys.exit(1)


def _command() -> list[str]:
    """How this very program is started."""
    name = os.path.abspath(sys.argv[0])
    return (
        [name]
        if os.path.basename(name) == "userevents" and shutil.which(name)
        else [sys.executable, "-m", "userevents"]
    )


def _unit_options(ctx: click.Context) -> list[str]:
    """The options that were given, for a unit: files by their full paths."""
    given = {name: value for name, value in ctx.params.items() if ctx.get_parameter_source(name) != _DEFAULT}
    words = []
    for name, option in _IN_UNIT.items():
        if name in given:
            value = given[name]
            value = f"{value:o}" if name == "mode" else os.path.abspath(value) if name in _PATHS else value
            words.append(option if value is True else f"{option}={value}")
    return words


@contextlib.contextmanager
def _mounted(served: "Serving", path: str, gid: int | None) -> "Iterator[FuseDoor]":
    from ..doors import fuse

    with served.door(fuse.mount(path, everyone=True), gid=gid) as door:
        yield door


def _join(
    served: "Serving",
    servers: str,
    credentials: Credentials,
    host: str | None,
    backlog: int,
    log: Log,
    stack: contextlib.ExitStack,
) -> None:
    """Have this host in a fleet until the stack unwinds, before the tracer ends; nothing waits for the broker."""
    from ..fleet.agent import Agent
    from ..fleet.batches import BACKLOG_MIN

    name = host or os.uname().nodename
    reached = settings(servers, credentials)
    agent = Agent(reached, name, lambda: served.tracing.access, log=log, backlog_size=max(backlog, BACKLOG_MIN))
    agent.start()
    stack.callback(agent.stop)


def _serve(served: "Serving", door: "FuseDoor | None", manager: Manager, log: Log) -> None:
    """Watch over the tracer's threads until a signal comes; raises `Unusable` if one of them fails."""
    turn_s = min(_TURN_S, manager.watchdog_s / 2 if manager.watchdog_s else _TURN_S)
    status = ""
    while True:
        found = _signal({*_ENDING, signal.SIGHUP}, turn_s)
        if found is not None and found != signal.SIGHUP:
            log("info", f"{found.name}: ending")
            return
        if served.tracer.failure is not None:
            raise Unusable(f"the tracer failed: {served.tracer.failure!r}")
        if door is not None and not door.is_serving:
            raise Unusable("the mounted tree was unmounted")
        if found is not None:
            _reload(served, manager, log)
        lately, status = status, _status(served)  # which the loop's own thread answers: it lives
        manager.tell("WATCHDOG=1", *([f"STATUS={status}"] if status != lately else []))


def _signal(awaited: "set[signal.Signals]", wait_s: float) -> "signal.Signals | None":
    """Wait so long for one of these signals.

    A process that was stopped, and went on when the time was up, gets a `siginfo` that nobody has filled in.
    """
    found = signal.sigtimedwait(awaited, wait_s)
    return signal.Signals(found.si_signo) if found is not None and found.si_signo in awaited else None


def _reload(served: "Serving", manager: Manager, log: Log) -> None:
    manager.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    served.tracer.loop.call(served.tracer.look_around)
    log("info", "SIGHUP: looked at every directory again")
    manager.tell("READY=1")


def _status(served: "Serving") -> str:
    programs, events = served.tracer.loop.call(served.tracer.census)
    return f"{count(programs, 'program')}, {count(events, 'event')}, {count(served.tracing.clients(), 'client')}"
