"""What `userevents doctor` looks at: each function tries one thing here and now, and says what it found.

Nothing is concluded from versions where it can be tried: a door is opened, a child's memory read, a directory used.
"""

import importlib.metadata
import os
import platform
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

from ..buffer.native import native as pages
from ..client import kernel_file
from ..client.native import native as writes_natively
from ..control import Tracer as TracerControl
from ..doors.fuse import DetachedMount, PrivateMount
from ..doors.fuse.private import PLACES
from ..doors.seccomp import FilteredProgram
from ..errors import NoTracer, Refused, Unusable
from ..host import memory_file
from ..host.proc_events import ProcEvents
from ..host.process import ptrace_scope
from ..host.remote import out_of_reach
from ..session import directory, layout
from .console import human_size
from .reach import join

State = Literal["ok", "limited", "no", "info"]

FDS: Final = 4096
"""So many programs at once, or files that native programs have open, a tracer should be able to hold."""
INSTANCES: Final = "/proc/sys/fs/inotify/max_user_instances"
EXTRAS: Final = {
    "sql": "query, Parquet, data frames",
    "view": "view: the Perfetto UI, offline",
    "tui": "top",
    "zstd": "compressed traces of trace-cmd",
    "pytest": "the fixture user_events",
    "fleet": "fleet, serve --fleet: many hosts over NATS",
}
"""What each extra of the package is for."""
_TOOLS: Final = (
    ("trace-cmd", "trace-cmd", "reads trace.dat as it is"),
    ("perf", "linux-perf", "reads export --to perf"),
    ("babeltrace2", "babeltrace2", "reads export --to ctf"),
)


class Finding(NamedTuple):
    """What was found of one thing. `advice`: what to do about it, empty where nothing need be done."""

    area: str
    name: str
    state: State
    found: str
    advice: str = ""


def everything() -> Iterator[Finding]:
    """Try all there is to try, in the order in which it matters."""
    for look in (
        _python,
        _directories,
        _kernel,
        _running,
        _tracer,
        _limits,
        _doors,
        _memory,
        _proc_events,
        _extras,
        _tools,
    ):
        yield from look()


def _python() -> Iterator[Finding]:
    found = f"{platform.python_implementation()} {platform.python_version()}, Linux {os.uname().release}"
    yield Finding("Python programs", "Python", "ok", f"{found}, {os.uname().machine}")
    names = (("event writer", writes_natively), ("page reader", pages is not None))
    for name, is_native in names:
        if is_native:
            yield Finding("Python programs", name, "ok", "C")
        elif os.environ.get("USEREVENTS_NATIVE") == "0":
            advice = "unset USEREVENTS_NATIVE to use the C extension"
            yield Finding("Python programs", name, "limited", "pure Python, as USEREVENTS_NATIVE=0 asks", advice)
        else:
            advice = "install a C compiler and Python.h (Debian: gcc python3-dev) and install userevents again"
            yield Finding("Python programs", name, "limited", "pure Python: about 10 times slower", advice)


def _directories() -> Iterator[Finding]:
    """The runtime directory a program of this user takes, and why not the ones before it."""
    refused = []
    for path in directory.candidates():
        try:
            ready = directory.prepare(path)
        except Unusable as error:
            if os.path.lexists(path) or path == directory.candidates()[-1]:
                refused.append(str(error))
            continue
        yield _room(ready, refused)
        return
    advice = "make /dev/shm a tmpfs, or set USEREVENTS_DIR to a directory of yours on one (mode 0700)"
    yield Finding("Python programs", "runtime directory", "no", "; ".join(refused), advice)


def _running() -> Iterator[Finding]:
    """Whether the kernel lets programs that run already be attached to; whether their Python does, only they know."""
    area, name, scope = "Python programs", "running programs", ptrace_scope()
    if scope == 3:
        yield Finding(area, name, "limited", f"cannot be attached to: kernel.yama.ptrace_scope is {scope}")
    elif scope and os.geteuid():
        found = f"can be attached to by root alone: kernel.yama.ptrace_scope is {scope}"
        yield Finding(area, name, "limited", found, "sudo userevents attach PID, then record as yourself")
    else:
        yield Finding(area, name, "ok", "can be attached to (record -p PID), if they run Python 3.14 or later")


def _room(path: str, refused: list[str]) -> Finding:
    found = os.statvfs(path)
    free = found.f_bavail * found.f_frsize
    ring = layout.ring_size(layout.DEFAULT_RING_PAGES)
    text = f"{path}, {human_size(free)} free" + "".join(f"; not {reason}" for reason in refused)
    if free < 4 * ring:
        advice = f"each recorded program takes {human_size(ring)} and more: give it memory (docker --shm-size 256m)"
        return Finding("Python programs", "runtime directory", "limited", text, advice)
    return Finding("Python programs", "runtime directory", "ok", text)


def _tracer() -> Iterator[Finding]:
    try:
        access = join()
    except NoTracer:
        yield Finding("Tracer", "running", "info", "none; 'record' is one while it lasts, 'serve' for good")
        return
    except Refused as refused:
        yield Finding("Tracer", "running", "limited", str(refused), "ask root for a place in the policy of 'serve'")
        return
    try:
        pid = TracerControl(access).info().get("pid")
        yield Finding("Tracer", "running", "ok", f"process {pid}, at {access.path}")
    finally:
        access.close()


def _limits() -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    advice = f"ulimit -n {min(FDS, hard)}, or LimitNOFILE= in the service's unit" if soft < FDS else ""
    state: State = "limited" if soft < FDS else "ok"
    yield Finding("Tracer", "open files", state, f"{soft:,} of at most {hard:,}; two for each program", advice)
    try:
        with open(INSTANCES, encoding="ascii") as file:
            instances = int(file.read())
    except (OSError, ValueError):
        return
    few = instances < 16
    advice = "sysctl fs.inotify.max_user_instances=128: the tracer hears of new programs by inotify" if few else ""
    yield Finding("Tracer", "inotify instances", "limited" if few else "ok", f"{instances:,} for a user", advice)


def _kernel() -> Iterator[Finding]:
    """Whether the kernel has user_events for us: not needed, and used where it is there."""
    chosen = os.environ.get("USEREVENTS_BACKEND", "auto")
    try:
        os.close(kernel_file.open_data())
    except Unusable as reason:
        state: State = "no" if chosen == "kernel" else "info"
        advice = "USEREVENTS_BACKEND=session does without" if chosen == "kernel" else ""
        yield Finding("Python programs", "kernel's user_events", state, f"not used: {reason}", advice)
        return
    told = "there; programs use it" if chosen != "session" else "there; USEREVENTS_BACKEND=session leaves it alone"
    yield Finding("Python programs", "kernel's user_events", "ok", told)


def _doors() -> Iterator[Finding]:
    """Open each door and close it again."""
    yield _tried("door fuse", "run and record give native programs a tree of their own", _try_private)
    yield _tried("door seccomp", "files handed in, no namespaces", _try_injected)
    yield _tried("door socket", "no FUSE; failed writes look like good ones", _try_socket)
    yield _place()


def _tried(name: str, what: str, attempt: Callable[[], None]) -> Finding:
    try:
        attempt()
    except Unusable as error:
        reason, _, advice = str(error).partition("; ")
        return Finding("Native programs", name, "no", reason, advice)
    return Finding("Native programs", name, "ok", what)


def _try_private() -> None:
    private = PrivateMount("/bin/true", ("true",), os.environ)
    os.close(private.mounted.fd)
    private.give_up()


def _try_injected() -> None:
    detached = DetachedMount()
    os.close(detached.mounted.fd)
    os.close(detached.directory)
    _try_filter(ioctls=False)


def _try_socket() -> None:
    _try_filter(ioctls=True)


def _try_filter(*, ioctls: bool) -> None:
    program = FilteredProgram("/bin/true", ("true",), os.environ, ioctls=ioctls)
    os.close(program.listener)
    program.give_up()


def _place() -> Finding:
    """What is where programs look for the kernel's tree."""
    place = PLACES[0]
    try:
        kind = directory.filesystem(os.lstat(place).st_dev)
    except OSError as error:
        advice = "the fuse door needs that directory; the others do not"
        return Finding("Native programs", place, "limited", f"not there: {error.strerror}", advice)
    what = {"tracefs": "the kernel's tree", "fuse.userevents": "a tree of ours, mounted"}.get(kind or "")
    return Finding("Native programs", place, "ok", what or "a directory; nothing is mounted there")


def _memory() -> Iterator[Finding]:
    """Read the memory of a child, as a door does for each call of a native program."""
    child = subprocess.Popen(["/bin/sh", "-c", "read line"], stdin=subprocess.PIPE)
    try:
        why = out_of_reach(child.pid)
    finally:
        child.communicate()
    if why is None:
        slowly = "; by /proc/PID/mem: a sandbox forbids the calls" if memory_file.is_needed() else ""
        yield Finding("Native programs", "their memory", "ok", f"can be read, and enable bits set{slowly}")
    else:
        told, _, advice = why.partition("; ")
        yield Finding("Native programs", "their memory", "no", f"a child's is out of reach: {told}", advice)


def _proc_events() -> Iterator[Finding]:
    try:
        ProcEvents().close()
    except OSError as error:
        told = f"the proc connector answers {error.strerror}: children are noticed at their first call"
        yield Finding("Native programs", "births and deaths", "info", told)
    else:
        yield Finding("Native programs", "births and deaths", "ok", "told by the kernel at once")


def _extras() -> Iterator[Finding]:
    for extra, what in EXTRAS.items():
        absent = [name for name in _packages(extra) if not _is_installed(name)]
        if absent:
            advice = f"pip install 'userevents[{extra}]'"
            yield Finding("Extras", extra, "info", f"not installed ({', '.join(absent)}): {what}", advice)
        else:
            yield Finding("Extras", extra, "ok", what)


def _packages(extra: str) -> list[str]:
    """The distributions that an extra asks for, as the installed package says."""
    marker = re.compile(rf"""extra == ['"]{re.escape(extra)}['"]""")
    required = importlib.metadata.requires("userevents") or []
    return [re.split(r"[^\w.-]", each, maxsplit=1)[0] for each in required if marker.search(each)]


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _tools() -> Iterator[Finding]:
    for tool, package, what in _TOOLS:
        path = shutil.which(tool)
        if path is None:
            yield Finding("Other tools", tool, "info", f"not installed: {what}", f"Debian and Ubuntu: {package}")
        else:
            yield Finding("Other tools", tool, "ok", f"{path}: {what}")
