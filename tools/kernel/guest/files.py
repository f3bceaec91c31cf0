"""Steps about paths, made by any process or by the controller: one function an operation."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.kernel.results import Result, Step, ok, to_bytes, to_text

TRACING: Final = os.environ.get("TRACING", "/sys/kernel/tracing")
OWN: Final = "userevents"
"""The directory that our tree has and no kernel."""
MAX_SYSCTL: Final = "/proc/sys/kernel/user_events_max"
SETTLE_S: Final = float(os.environ.get("SETTLE_MS", "150")) / 1000
"""How long the kernel may take for its deferred work: a grace period, then a work queue."""
_GONE_S: Final = 3.0
_MOST: Final = 1 << 20


def place(path: str) -> str:
    """Where a scenario's path is in the file system; our own tree has the sysctl in itself."""
    own = os.path.join(TRACING, OWN, os.path.basename(path))
    return own if path == MAX_SYSCTL and os.path.exists(own) else os.path.join(TRACING, path)


def write_file(path: str, data: bytes | None, *, truncate: bool = False, append: bool = False) -> int:
    """Open a tracing file, write to it once (None: not at all), close it."""
    flags = os.O_WRONLY | (os.O_TRUNC if truncate else 0) | (os.O_APPEND if append else 0)
    fd = os.open(place(path), flags)
    try:
        return os.write(fd, data) if data is not None else 0
    finally:
        os.close(fd)


def read_text(path: str) -> str:
    """A tracing file, one character a byte."""
    return Path(place(path)).read_text(encoding="latin-1")


def event_names() -> list[str]:
    """The names that `user_events_status` lists."""
    status = Path(place("user_events_status")).read_bytes().decode(errors="replace")
    return [] if status.startswith("\n") else [line.split(" ")[0] for line in status.split("\n\n")[0].splitlines()]


def _read_file(step: Step) -> Result:
    fd = os.open(place(step["path"]), os.O_RDONLY)
    data = b""
    try:
        while len(data) <= _MOST and (piece := os.read(fd, 65536)):
            data += piece
    finally:
        os.close(fd)
    if step.get("grep"):
        data = b"".join(line for line in data.splitlines(True) if step["grep"].encode() in line)
    if step.get("first"):
        data = b"".join(data.splitlines(True)[: step["first"]])
    return ok(len(data), data=to_text(data))


def _write_file(step: Step) -> Result:
    data = None if step.get("data") is None else to_bytes(step["data"])
    return ok(write_file(step["path"], data, truncate=bool(step.get("trunc")), append=bool(step.get("append"))))


def _listdir(step: Step) -> Result:
    names = sorted(name for name in os.listdir(place(step["path"])) if name != OWN)  # a name may be there twice
    return ok(data=[name for name in names if step.get("grep", "") in name])


def _exists(step: Step) -> Result:
    return ok(data=os.path.exists(place(step["path"])))


def _stat(step: Step) -> Result:
    found = os.stat(place(step["path"]))
    return ok(data={"mode": oct(found.st_mode), "uid": found.st_uid, "gid": found.st_gid, "size": found.st_size})


def _chmod(step: Step) -> Result:
    os.chmod(place(step["path"]), int(step["mode"], 8))
    return ok()


def _mkdir(step: Step) -> Result:
    os.mkdir(place(step["path"]))
    return ok()


def _rmdir(step: Step) -> Result:
    os.rmdir(place(step["path"]))
    return ok()


def _settle(step: Step) -> Result:
    time.sleep(step["ms"] / 1000 if "ms" in step else SETTLE_S)
    return ok()


def _wait_gone(step: Step) -> Result:
    deadline = time.monotonic() + step.get("timeout_ms", _GONE_S * 1000) / 1000
    while step["event"] in event_names():
        if time.monotonic() > deadline:
            return ok(gone=False)
        time.sleep(0.0005)
    return ok(gone=True)


FILES: Final[dict[str, Callable[[Step], Result]]] = {
    "read_file": _read_file,
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
