"""`userevents mount`: the tracing tree as files, for every program on the machine."""

import time

import click

from .console import Stop, say
from .policy import policy_options
from .reach import failing

TRACING = "/sys/kernel/tracing"
_TURN_S = 0.1


@click.command()
@policy_options
@click.argument("directory", default=TRACING, type=click.Path(file_okay=False, readable=False))
def mount(mode: int | None, gid: int | None, directory: str) -> None:
    """Serve the tracing tree at DIRECTORY, by default /sys/kernel/tracing, until Ctrl-C. Needs root.

    Native programs that use user_events, scripts and trace-cmd then work as on a kernel that has them. This process is
    the tracer: the events of Python programs are in the same tree.

    \b
    userevents mount
    userevents mount --mode 750 --group tracing
    """
    from ..doors import fuse
    from .serving import serving

    with failing(), serving(mode=mode) as served:
        stop = Stop()
        with served.door(fuse.mount(directory, everyone=True), gid=gid) as door:
            say(f"the tracing tree is at {directory}; Ctrl-C ends it")
            while not stop and door.is_serving:
                time.sleep(_TURN_S)
        if not stop:
            say(f"{directory} was unmounted")
