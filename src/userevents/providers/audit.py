"""The `audit` provider: what the interpreter tells its audit hooks, as typed events.

Python calls an audit hook for everything it deems worth watching, also much that an operator never asks for, and a
hook stays until the process ends. So the way out of an unwanted kind is one look-up, and the way through a wanted one
that nobody records is one more test. `KINDS` has a row for each kind: the event, and what makes its fields.
"""

from __future__ import annotations

import os
import sys

from . import guard
from .environment import carries, deaf
from .events import declared
from .values import arguments, command, natural, plain, text, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType
    from typing import Any

    from ..client import Event

    Values = tuple[int | str | bytes, ...]
    Hook = Callable[[str, tuple[Any, ...]], None]

_AF_INET, _AF_INET6 = 2, 10
_hooked: list[dict[str, tuple[Event[...], Callable[[tuple[Any, ...]], Values]]]] = []
"""What the hook of this process writes, by kind; empty before there is one."""
_OWN_KINDS = frozenset(("open", "os.rename", "os.remove"))
_OWN_MODULES = ("userevents.client.", "userevents.session.", f"{__package__}".removesuffix("providers"))


def start(declarations: Sequence[str]) -> None:
    """Declare the events, then install the hook: it must find them made, since making them opens files."""
    events = {each.partition(" ")[0]: declared(each) for each in declarations}
    rows = {kind: (events[name], values) for kind, (name, values) in KINDS.items()}
    if _hooked:  # once for good, so it is the same one that begins again
        _hooked[0].update(rows)
        return
    _hooked.append(rows)
    busy = guard.Busy()
    sys.addaudithook(make_hook(rows, busy))
    # Between a fork and the client's own session for the child, events would go to the parent's. The client's
    # hooks were registered first, so these stand around them.
    os.register_at_fork(before=busy.begin, after_in_parent=busy.end, after_in_child=busy.end)


def stop() -> None:
    """Write nothing more: the hook stays, since Python has no way to take one back, and finds no kind it wants."""
    for rows in _hooked:
        rows.clear()


def make_hook(rows: Mapping[str, tuple[Event[...], Callable[[tuple[Any, ...]], Values]]], busy: guard.Busy) -> Hook:
    """Return the hook that writes the audit kinds in `rows`, unless the thread is `busy`.

    What a client does with its own files is not recorded, whichever client: a program that declares events has one
    under its own name beside ours. The hook is still called when the interpreter ends and has emptied this module,
    the builtins even; so what it needs until it leaves is in its closure.
    """
    absorb, frame, finalizing = guard.absorb, sys._getframe, sys.is_finalizing

    def hook(kind: str, args: tuple[Any, ...]) -> None:
        if kind not in rows or busy.now or finalizing():
            return
        busy.now = True
        try:
            event, values = rows[kind]
            if event and not (kind in _OWN_KINDS and _is_ours(frame().f_back)):
                event(*values(args))
        except Exception as error:
            absorb(error)
        finally:
            busy.now = False

    return hook


def _is_ours(caller: FrameType | None) -> bool:
    """Say whether the hook was called because of a client's work on its files. C code may call it without a frame."""
    return caller is not None and str(caller.f_globals.get("__name__")).startswith(_OWN_MODULES)


def _open(args: tuple[Any, ...]) -> Values:
    path, mode, flags = args
    number = isinstance(path, int)
    return whole(path) if number else -1, flags & 0xFFFFFFFF, text(mode), "" if number else text(path)


def _import(args: tuple[Any, ...]) -> Values:
    return text(args[0]), text(args[1])


def _address(args: tuple[Any, ...]) -> Values:
    socket, address = args
    family = int(socket.family)
    if family in (_AF_INET, _AF_INET6) and isinstance(address, tuple):
        return socket.fileno(), family, natural(address[1], 16), text(address[0])
    return socket.fileno(), family, 0, text(address)


def _resolve(args: tuple[Any, ...]) -> Values:
    host, service, family = args[:3]
    return natural(family, 16), text(host), text(service)


def _resolve_name(args: tuple[Any, ...]) -> Values:
    return _AF_INET, text(args[0]), ""


def _popen(args: tuple[Any, ...]) -> Values:
    executable, argv, cwd, env = args
    words = arguments(argv)
    return _reached(plain(executable), words, env), text(executable), command(words), text(cwd)


def _exec(args: tuple[Any, ...]) -> Values:
    path, argv, env = args
    words = arguments(argv)
    return _reached(plain(path), words, env), text(path), command(words)


def _system(args: tuple[Any, ...]) -> Values:
    return int(carries(os.environ)), text(args[0])


def _reached(executable: str, argv: Sequence[str], env: Mapping[str, str] | None) -> int:
    """Return 1 if the child inherits the injection, as far as the call tells, else 0."""
    return int(carries(os.environ if env is None else env) and deaf(executable, argv) is None)


def _path(args: tuple[Any, ...]) -> Values:
    return (text(args[0]),)


def _two_paths(args: tuple[Any, ...]) -> Values:
    return text(args[0]), text(args[1])


def _urlopen(args: tuple[Any, ...]) -> Values:
    url, _, _, method = args
    return text(method), text(url)


def _kill(args: tuple[Any, ...]) -> Values:
    return whole(args[0]), whole(args[1])


def _uncaught(args: tuple[Any, ...]) -> Values:
    _, kind, value, traceback = args
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    line, path = (0, "") if traceback is None else (traceback.tb_lineno, traceback.tb_frame.f_code.co_filename)
    return natural(line), text(kind.__qualname__), text(value), text(path)


KINDS: dict[str, tuple[str, Callable[[tuple[Any, ...]], Values]]] = {
    "open": ("py_open", _open),
    "import": ("py_import", _import),
    "socket.connect": ("py_connect", _address),
    "socket.bind": ("py_bind", _address),
    "socket.getaddrinfo": ("py_resolve", _resolve),
    "socket.gethostbyname": ("py_resolve", _resolve_name),
    "subprocess.Popen": ("py_popen", _popen),
    "os.exec": ("py_exec", _exec),
    "os.posix_spawn": ("py_posix_spawn", _exec),
    "os.system": ("py_system", _system),
    "sqlite3.connect": ("py_sqlite_connect", _path),
    "urllib.Request": ("py_urlopen", _urlopen),
    "os.remove": ("py_remove", _path),
    "os.rmdir": ("py_remove", _path),
    "os.rename": ("py_rename", _two_paths),
    "os.kill": ("py_kill", _kill),
    "sys.excepthook": ("py_uncaught", _uncaught),
}
