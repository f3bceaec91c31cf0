"""Who calls through a door: the processes behind it, as the tree and the loop want to know them."""

from collections.abc import Callable
from functools import partial

from ..host.clients import Clients
from ..host.loop import Loop
from ..tracefs import TOP, Tree, task_exited, task_forked


def clients_of(tree: Tree, loop: Loop, log: Callable[[str, str], None]) -> Clients:
    """The clients of one door to `tree`, which hears of their forks and ends; `loop` wakes for those."""
    system = tree.system
    with loop.lock:
        return Clients(
            lambda fd, ready: loop.watch(fd, ready, None),
            loop.unwatch,
            forked=partial(task_forked, system),
            exited=partial(task_exited, system),
            met=system.met,
            cpus=system.instances[TOP].cpus,
            log=log,
        )
