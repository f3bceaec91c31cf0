"""How the injection travels from process to process, and what keeps it from arriving.

It travels in three environment variables: PYTHONPATH begins with `INJECT`, USEREVENTS_PROVIDERS names the providers,
USEREVENTS_RUN tells programs of one recording from those of another. Every child inherits them, until somebody
starts one with another environment, or starts a Python that was told not to look at it.
"""

from __future__ import annotations

import os
import time

from ..errors import Unusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INJECT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inject")
CALLS_VARIABLE = "USEREVENTS_CALLS"
"""Functions that the provider `calls` watches: ``MODULE:FUNCTION`` with shell globs, separated by spaces."""

_OLDEST, _OLDEST_WITH_CALLS = (3, 11), (3, 12)
_LOOKS, _BETWEEN_LOOKS_S = 20, 0.0005
_DEAF = {
    "I": "was started with -I, which ignores PYTHONPATH",
    "E": "was started with -E, which ignores PYTHONPATH",
    "S": "was started with -S, which leaves out sitecustomize",
}


def child_environment(env: Mapping[str, str], providers: Sequence[str], run: str) -> dict[str, str]:
    """Return `env` with what a program needs to start `providers` in itself and in its children.

    `run` is the recording's own token. Without providers PYTHONPATH stays as it is. Raises `Unusable` where
    userevents is installed in a directory that a PYTHONPATH cannot name.
    """
    child = {**env, "USEREVENTS_PROVIDERS": ",".join(providers), "USEREVENTS_RUN": run}
    if not providers:
        return child
    if os.pathsep in INJECT:
        raise Unusable(
            f"the providers' directory '{INJECT}' has a '{os.pathsep}' in its name, which PYTHONPATH cannot hold: "
            "install userevents elsewhere, or record without providers"
        )
    others = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry != INJECT]
    child["PYTHONPATH"] = os.pathsep.join([INJECT, *others]) if any(others) or len(others) > 1 else INJECT
    return child


def carries(env: Mapping[str, str] | Mapping[bytes, bytes]) -> bool:
    """Say whether a program started with the environment `env` starts providers of ours, if it is a Python."""
    found = {}
    for key, value in env.items():  # asked one by one: a look-up of 'x' among bytes warns under `python -b`
        name = os.fsdecode(key)
        if name in ("PYTHONPATH", "USEREVENTS_PROVIDERS"):
            found[name] = os.fsdecode(value)
    return bool(found.get("USEREVENTS_PROVIDERS")) and INJECT in found.get("PYTHONPATH", "").split(os.pathsep)


def interpreter_options(argv: Sequence[str]) -> tuple[str, int]:
    """Return the option letters that CPython reads from the command `argv`, and the index where the program begins.

    `-c` and `-m` are the last options, whatever follows; the index is then that of the argument after them.

    >>> interpreter_options(["python", "-IB", "-W", "error", "-Xdev", "shop.py", "-E"])
    ('IBWX', 5)
    """
    letters, index = "", 1
    while index < len(argv) and argv[index].startswith("-") and argv[index] != "-":
        argument = argv[index]
        index += 1
        if argument == "--":
            break
        if argument.startswith("--"):
            index += argument == "--check-hash-based-pycs"
            continue
        for position, letter in enumerate(argument[1:], 2):
            letters += letter
            if letter in "cm":
                return letters, index + (position == len(argument))
            if letter in "WX":
                index += position == len(argument)
                break
    return letters, index


def python_version(executable: str) -> tuple[int, ...] | None:
    """Return the version in the file name of a CPython, as far as it tells; None if this is no CPython's name.

    >>> python_version("/usr/bin/python3.13t"), python_version("python"), python_version("/usr/bin/pypy3")
    ((3, 13), (), None)
    """
    name = os.path.basename(executable)
    if not name.startswith("python"):
        return None
    number = name[len("python") :].rstrip("abcdefghijklmnopqrstuvwxyz-")
    if name[len("python") + len(number) :] not in ("", "d", "m", "t", "w", "dm", "td", "-dbg"):
        return None
    parts = [part for part in number.split(".") if part]
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else None


def deaf(executable: str, argv: Sequence[str]) -> str | None:
    """Return why the Python `executable`, started as `argv`, would not look at its environment; None if it does."""
    version = python_version(executable)
    if version is None:
        return None
    if len(version) > 1 and version < _OLDEST:
        return f"runs Python {'.'.join(map(str, version))}, and providers need 3.11 or newer"
    letters, _ = interpreter_options(argv)
    return next((reason for letter, reason in _DEAF.items() if letter in letters), None)


def unreachable(pid: int) -> str | None:
    """Return why the injection could not reach process `pid`, a CPython, in words that follow its name.

    None means that nothing speaks against it, that it is no CPython, or that it cannot be looked at (it ended, or
    it is another user's). A process that is just starting another program is looked at until that has begun, for
    some milliseconds at most.
    """
    try:
        before, seen = None, _look(pid)
        for _ in range(_LOOKS):
            if seen == before and seen[1]:
                break
            time.sleep(_BETWEEN_LOOKS_S)
            before, seen = seen, _look(pid)
        else:
            return None
    except OSError:
        return None
    executable, argv, settings = seen
    if python_version(executable) is None:
        return None
    env = dict(setting.partition("=")[::2] for setting in settings)
    return deaf(executable, argv) or _dropped(env)


def without_calls(pid: int) -> str | None:
    """Return why functions of the Python `pid` are not watched though that was asked for, as `unreachable` does."""
    try:
        executable, _, settings = _look(pid)
    except OSError:
        return None
    version = python_version(executable) or ()
    is_asked = any(setting.startswith(f"{CALLS_VARIABLE}=") for setting in settings)
    if not is_asked or len(version) < 2 or version >= _OLDEST_WITH_CALLS:
        return None
    return f"runs Python {'.'.join(map(str, version))}, and calls are watched from 3.12 on"


def _look(pid: int) -> tuple[str, list[str], list[str]]:
    """Return executable, command line and environment; in the middle of exec they can be of two programs, or none."""
    executable = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    return executable, _strings(f"/proc/{pid}/cmdline"), _strings(f"/proc/{pid}/environ")


def _dropped(env: Mapping[str, str]) -> str | None:
    if not env:
        return "was started with an empty environment"
    entries = env.get("PYTHONPATH", "").split(os.pathsep)
    if INJECT not in entries:
        found = f"with another PYTHONPATH ('{env['PYTHONPATH']}')" if env.get("PYTHONPATH") else "without a PYTHONPATH"
        return f"was started {found}, not the one it should have inherited"
    if not env.get("USEREVENTS_PROVIDERS"):
        return "was started without USEREVENTS_PROVIDERS"
    for entry in entries[: entries.index(INJECT)]:
        other = os.path.join(entry, "sitecustomize.py")
        if os.path.isabs(entry) and os.path.exists(other):
            return f"found '{other}' first, which takes the place of ours"
    return None


def _strings(path: str) -> list[str]:
    with open(path, "rb") as file:
        content = file.read()
    return os.fsdecode(content).removesuffix("\0").split("\0") if content else []
