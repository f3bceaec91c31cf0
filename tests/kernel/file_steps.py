"""Steps about paths, made by any process or by the controller: one function an operation."""

from collections.abc import Callable
from typing import Final

from tests.kernel.results import SYSCTL, Result, Step, ok, to_bytes, to_text, tree_path
from tests.kernel.world import ROOT, Thread, World
from userevents.abi import tracefs as abi


def read_file(world: World, step: Step, who: Thread) -> Result:
    """All that a file has to say, or the lines that are asked for."""
    node = world.tree.open(tree_path(step["path"]), abi.O_RDONLY, ROOT if step["path"] == SYSCTL else who.caller, who)
    data = b""
    try:
        while piece := node.read(65536):
            data += piece
    finally:
        node.close()
    if step.get("grep"):
        data = b"".join(line for line in data.splitlines(True) if step["grep"].encode() in line)
    if step.get("first"):
        data = b"".join(data.splitlines(True)[: step["first"]])
    return ok(len(data), data=to_text(data))


def _write_file(world: World, step: Step, who: Thread) -> Result:
    flags = abi.O_WRONLY
    flags |= abi.O_TRUNC if step.get("trunc") else 0
    flags |= abi.O_APPEND if step.get("append") else 0
    node = world.tree.open(tree_path(step["path"]), flags, who.caller, who)
    try:
        return ok(node.write(to_bytes(step["data"])) if step.get("data") is not None else 0)
    finally:
        node.close()


def _listdir(world: World, step: Step, who: Thread) -> Result:
    names = [name.encode("latin-1").decode("utf-8", "surrogateescape") for name in _names(world, step, who)]
    return ok(data=[name for name in sorted(names) if step.get("grep", "") in name])


def _names(world: World, step: Step, who: Thread) -> list[str]:
    """What is in a directory; our own directory is not the kernel's to show."""
    return [name for name in world.tree.listdir(tree_path(step["path"]), who.caller) if name != abi.OWN]


def _exists(world: World, step: Step, who: Thread) -> Result:
    return ok(data=world.tree.exists(tree_path(step["path"])))


def _stat(world: World, step: Step, who: Thread) -> Result:
    found = world.tree.stat(tree_path(step["path"]), who.caller)
    return ok(data={"mode": oct(found.mode), "uid": 0, "gid": 0, "size": found.size})


def _chmod(world: World, step: Step, who: Thread) -> Result:
    world.tree.chmod(tree_path(step["path"]), int(step["mode"], 8), who.caller)
    return ok()


def _mkdir(world: World, step: Step, who: Thread) -> Result:
    world.tree.mkdir(tree_path(step["path"]), who.caller)
    return ok()


def _rmdir(world: World, step: Step, who: Thread) -> Result:
    world.tree.rmdir(tree_path(step["path"]), who.caller)
    return ok()


def _wait_gone(world: World, step: Step, who: Thread) -> Result:
    world.settle()
    names = [event.tracepoint_name for event in world.group.events]
    return ok(gone=step["event"] not in names)


def _settle(world: World, step: Step, who: Thread) -> Result:
    world.settle()
    return ok()


FILES: Final[dict[str, Callable[[World, Step, Thread], Result]]] = {
    "read_file": read_file,
    "write_file": _write_file,
    "listdir": _listdir,
    "exists": _exists,
    "stat": _stat,
    "chmod": _chmod,
    "mkdir": _mkdir,
    "rmdir": _rmdir,
    "settle": _settle,
    "sleep_ms": _settle,
    "wait_gone": _wait_gone,
}
