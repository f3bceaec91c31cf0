"""The floor plan as data: which room may import which, and what the rooms without I/O may not touch.

A room is a package or a module right under `userevents`; `userevents` itself is the front door. The rules and
their reasons: imports only go down; from `abi` up to `tracefs` there is no file descriptor, thread, clock or
/proc, so that a test reaches every interleaving; `client`, `control` and `formats` never see `engine`, so that
they work on a real kernel by construction.
"""

from typing import Final

_PURE: Final = ("abi", "errors", "fields", "buffer", "engine", "instance", "tracefs")
_BASE: Final = {"abi", "errors"}
_FORMAT: Final = _BASE | {"fields", "buffer"}
_USERS: Final = {"errors", "client", "control", "host", "tracefs"}
_UPPER: Final = {"session", "client", "host", "doors", "control", "formats", "providers", "fleet", "cli"}
_EVERYTHING: Final = {*_PURE, *_UPPER, "integrations", "testing"}

ALLOWED: Final[dict[str, set[str]]] = {
    "errors": set(),
    "abi": set(),
    "fields": _BASE,
    "buffer": _BASE,
    "engine": _BASE | {"fields"},
    "instance": _FORMAT | {"engine"},
    "tracefs": _FORMAT | {"engine", "instance"},
    "session": _FORMAT,
    "client": _BASE | {"fields", "session"},
    "host": _EVERYTHING - {"doors", "control", "formats", "cli"},
    "doors": _BASE | {"tracefs", "host"},
    "control": _FORMAT,
    "formats": _FORMAT,
    "providers": _USERS,
    "integrations": _USERS | {"providers"},
    "testing": _USERS | _FORMAT | {"engine", "instance", "session", "formats", "doors"},
    "fleet": _FORMAT | {"control", "formats", "host"},
    "cli": _EVERYTHING,
    "userevents": {"errors", "client", "formats"},  # formats for `userevents.open`, in that function only
    "__main__": {"cli"},
}

WITHOUT_IO: Final = frozenset(_PURE)
# fmt: off
IO_MODULES: Final = frozenset({
    "asyncio", "datetime", "fcntl", "glob", "mmap", "multiprocessing", "os", "pathlib", "random", "resource",
    "select", "selectors", "secrets", "shutil", "signal", "socket", "socketserver", "subprocess", "tempfile",
    "termios", "threading", "time", "uuid",
})
# fmt: on
IO_BUILTINS: Final = frozenset({"open", "input", "print", "breakpoint"})

# What runs inside traced programs must start fast: these modules only where a function really needs them.
IN_TRACED_PROGRAMS: Final = frozenset({"abi", "errors", "fields", "session", "client", "providers", "userevents"})
# fmt: off
SLOW_MODULES: Final = frozenset({
    "asyncio", "ctypes", "dataclasses", "enum", "inspect", "json", "logging", "pathlib", "re", "subprocess",
    "tempfile", "threading",
})
# fmt: on

# Files that look modules up by a computed name: what they import, no test sees here.
COMPUTED_IMPORTS: Final = frozenset(
    {
        "src/userevents/__init__.py",
        "src/userevents/cli/__init__.py",
        "src/userevents/formats/opened.py",  # pandas and its like, where they are installed
        "src/userevents/providers/attached.py",  # the package by its path, as sitecustomize.py
        "src/userevents/providers/__init__.py",  # a provider by its name, from its own room
        "src/userevents/providers/inject/sitecustomize.py",  # the package by its path, under another name
    }
)
