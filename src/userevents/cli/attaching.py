"""Getting userevents into programs that run already, by Python 3.14's ``sys.remote_exec``, and out of them again.

The interpreter runs a file of our choosing in the program's main thread, between two steps of it. That file executes
providers/attached.py, which loads userevents there, and reports into a directory that lies beside it.
"""

import ast
import contextlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from ..errors import Unusable
from ..host.process import ptrace_scope
from ..providers import attached
from ..providers.environment import python_version
from .launch import shown_command

OLDEST = (3, 14)
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(attached.__file__)))
_CALL = """\
import sys
try:
    sys.remote_exec(int(sys.argv[1]), sys.argv[2])
except Exception as error:
    print(type(error).__name__, error, sep=": ")
    sys.exit(1)
"""
_NOTHING = "/dev/null"
"""The file to run that takes the place of one which was not run yet."""
_CALL_S = 30.0
_REPORT_MAX = 1 << 16
_ELSE = "what works: declare events in it (from userevents import event), or start it by 'userevents record -- PROGRAM'"


class Attachment:
    """One program that is to be attached to, or detached from: `attach` and `detach` make one.

    Raises `Unusable` with what is in the way.
    """

    def __init__(self, pid: int, wish: dict[str, object]) -> None:
        self.pid = pid
        self.command = shown_command(pid)
        self._python = _interpreter(pid)
        self._directory = tempfile.mkdtemp(prefix="userevents-attach-", dir=_memory())
        try:
            self._ask(wish)
        except BaseException:
            self._clean()
            raise
        self._asked_s = time.monotonic()

    def _ask(self, wish: dict[str, object]) -> None:
        script, self._report = os.path.join(self._directory, "run.py"), os.path.join(self._directory, "report")
        wish = {**wish, "package": _PACKAGE, "report": self._report}
        path = attached.__file__
        space = "{'__name__': '_userevents_injected.attached', '__file__': path}"
        with open(script, "w", encoding="utf-8") as file:
            file.write(
                f"def _userevents(path, space):\n    with open(path, 'rb') as file:\n        source = file.read()\n"
                f"    exec(compile(source, path, 'exec'), space)\n    space['run']({wish!r})\n"
                f"path = {path!r}\n_userevents(path, {space})\n"
            )
        owner = os.stat(f"/proc/{self.pid}")
        if owner.st_uid != os.geteuid():
            os.chown(script, owner.st_uid, owner.st_gid)
            os.chown(self._directory, owner.st_uid, owner.st_gid)
        for needed in (script, path):
            self._check_visible(needed)
        self._call(script)

    def _check_visible(self, path: str) -> None:
        try:
            there = os.stat(f"/proc/{self.pid}/root{path}")
        except PermissionError:
            return  # that may be so and all the rest work; if not, the report will say so
        except OSError:
            there = None
        here = os.stat(path)
        if there is None or (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
            raise Unusable(
                f"process {self.pid} ({self.command}) has other files than we (a container, a chroot): '{path}' is "
                f"not there, or another one. Run userevents in there"
            )

    def _call(self, script: str) -> None:
        command = [self._python, "-I", "-S", "-c", _CALL, str(self.pid), script]
        try:
            done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=_CALL_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unusable(f"process {self.pid} ({self.command}) cannot be attached to: {error}") from None
        if done.returncode:
            told = (done.stdout or done.stderr).strip().rpartition("\n")[2]
            raise Unusable(f"process {self.pid} ({self.command}) {_reason(self.pid, told)}")

    def report(self) -> dict[str, Any] | None:
        """Return what came of it, None before that. It is the program's own word: read with care."""
        try:
            fd = os.open(self._report, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        with open(fd, "rb") as file:
            text = file.read(_REPORT_MAX) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        self._clean()
        try:
            told = ast.literal_eval(text.decode("utf-8", "replace"))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            told = None
        return told if isinstance(told, dict) else {"error": f"it answered {text[:60]!r}, which is no report"}

    def wait(self, seconds: float) -> dict[str, Any] | None:
        """Return what came of it as soon as it has, None after so many seconds, or when the program has ended."""
        deadline = time.monotonic() + seconds
        while (told := self.report()) is None and time.monotonic() < deadline and self.is_alive:
            time.sleep(0.005)
        return told

    @property
    def is_alive(self) -> bool:
        """Whether the program still runs."""
        return os.path.exists(f"/proc/{self.pid}/exe") or os.path.exists(f"/proc/{self.pid}/task")

    @property
    def waited_s(self) -> float:
        """How long ago it was asked for."""
        return time.monotonic() - self._asked_s

    def give_up(self) -> None:
        """Have nothing run, where nothing was run yet."""
        with contextlib.suppress(Unusable):
            self._call(_NOTHING)
        self._clean()

    def _clean(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def why_waiting(self) -> str:
        """Say what the program is doing instead, as far as the kernel tells."""
        try:
            with open(f"/proc/{self.pid}/wchan", encoding="ascii") as file:
                where = file.read()
        except OSError:
            where = ""
        where = f" ({where})" if where not in ("", "0") else ""
        return f"its main thread waits in the kernel or in C code{where}, and lets us in at its next step in Python"


def attach(pid: int, providers: Sequence[str], calls: Sequence[str], place: str | None = None) -> Attachment:
    """Begin to start `providers` in the running program `pid`, and probes of the functions `calls`.

    `place`: the runtime directory that its sessions are made in; None for that of its user.
    """
    is_ours = owner_of(pid) == os.geteuid()
    wish = {"stop": False, "providers": list(providers), "calls": list(calls)}
    return Attachment(pid, {**wish, "place": place if place and is_ours else ""})


def detach(pid: int) -> Attachment:
    """Begin to stop all providers in the running program `pid`."""
    return Attachment(pid, {"stop": True})


def owner_of(pid: int) -> int:
    """Return the user of a process. Raises `Unusable` where there is none."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except FileNotFoundError:
        raise Unusable(f"there is no process {pid}") from None


def _interpreter(pid: int) -> str:
    """Return an interpreter that can reach into process `pid`: ours, or the program's own."""
    owner = owner_of(pid)
    command = shown_command(pid)
    if owner != os.geteuid() and os.geteuid() != 0:
        raise Unusable(
            f"process {pid} ({command}) belongs to {user_name(owner)}: only they, and root, may attach to it"
        )
    try:
        executable = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except OSError as error:
        raise Unusable(f"process {pid} ({command}) cannot be looked at: {error.strerror}") from None
    version = python_version(executable)
    if version is None:
        raise Unusable(
            f"process {pid} ({command}) runs '{executable}', which is no Python. Native programs are reached by a "
            f"door: userevents run -- PROGRAM, userevents mount (docs/doors.md)"
        )
    if len(version) < 2:
        version = _asked_version(pid, executable)
    if version < OLDEST:
        number = ".".join(map(str, version))
        raise Unusable(
            f"process {pid} ({command}) runs Python {number}, and a running program can be attached to from 3.14 on "
            f"(sys.remote_exec); {_ELSE}"
        )
    if sys.version_info[:2] == version[:2] and hasattr(sys, "remote_exec"):
        return sys.executable
    return _trusted(pid, executable)


def _trusted(pid: int, executable: str) -> str:
    """Return the program's own interpreter; root runs none that others can change."""
    path = f"/proc/{pid}/exe"
    if os.geteuid() == 0:
        found = os.stat(path)
        if found.st_uid != 0 or found.st_mode & 0o022:
            raise Unusable(
                f"process {pid} runs '{executable}', which belongs to {user_name(found.st_uid)}; root does not run it. "
                f"Attach as that user, or run userevents by a Python of the same version"
            )
    return path


def _asked_version(pid: int, executable: str) -> tuple[int, ...]:
    """Ask a Python whose name does not tell."""
    ask = [_trusted(pid, executable), "-I", "-S", "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        done = subprocess.run(ask, env={}, capture_output=True, text=True, timeout=_CALL_S, check=True)
        return tuple(map(int, done.stdout.split()))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise Unusable(f"process {pid} runs '{executable}', whose version cannot be asked: {error}") from None


def _reason(pid: int, told: str) -> str:
    """Return why sys.remote_exec failed, in words that follow the program's name, from the words it used."""
    if "not enabled" in told:
        return (
            f"does not let anybody attach: it was started with PYTHON_DISABLE_REMOTE_DEBUG or -X disable-remote-debug, "
            f"or its Python was built so; {_ELSE}"
        )
    if told.startswith("PermissionError") or "ermission denied" in told or "not permitted" in told:
        return f"may not be attached to: {forbidden(pid, ptrace_scope(), is_root=os.geteuid() == 0)}"
    return f"cannot be attached to: {told or 'its Python said nothing'}"


def forbidden(pid: int, scope: int, *, is_root: bool) -> str:
    """Return why the kernel does not let us trace a process of our own, and what to do: `scope` is Yama's setting."""
    if scope == 3:
        return "kernel.yama.ptrace_scope is 3, which forbids it to everybody until the machine starts anew"
    if scope and not is_root:
        return (
            f"kernel.yama.ptrace_scope is {scope}, which leaves it to root: 'sudo userevents attach {pid}', and then "
            f"record as yourself (or sysctl kernel.yama.ptrace_scope=0)"
        )
    return (
        "it needs the right to trace the process (CAP_SYS_PTRACE, if it has more rights than we or is in a container; "
        "and a seccomp filter that lets process_vm_writev pass)"
    )


def user_name(uid: int) -> str:
    """Return a user's name, for people."""
    try:
        return f"user '{pwd.getpwuid(uid).pw_name}'"
    except KeyError:
        return f"uid {uid}"


def _memory() -> str:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else tempfile.gettempdir()
