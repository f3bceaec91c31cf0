"""Modules of the standard library that we loaded first and that the program means to replace with its own.

A file `queue.py` next to a script is that script's `queue`, since its directory comes first on `sys.path`. Providers
start before the script's directory is known to Python, so a standard module that they import would already sit in
`sys.modules` under that name. Such a name is forgotten again: the program finds its own file, and we keep our module.
"""

from __future__ import annotations

import os
import sys

from .environment import interpreter_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


def forget_shadowed(before: Collection[str], ahead: Iterable[str]) -> list[str]:
    """Forget modules loaded since `before` that the program has in a directory searched before the library's.

    `before` holds the names in `sys.modules` until then; `ahead` the entries of `sys.path` before the standard
    library. To those comes the directory that Python will put first. Returns the names forgotten.
    """
    loaded = {name.partition(".")[0] for name in sys.modules if name not in before and not name.startswith("_")}
    loaded.difference_update(before, sys.builtin_module_names)
    places = [*ahead, *program_directory(sys.orig_argv)]
    forgotten = [name for name in sorted(loaded) if any(_has(place, name) for place in places)]
    for name in forgotten:
        for loaded_name in [each for each in sys.modules if each == name or each.startswith(name + ".")]:
            del sys.modules[loaded_name]
    return forgotten


def program_directory(argv: Sequence[str]) -> list[str]:
    """Return, as a list of none or one, the directory that Python puts first on `sys.path` for the command `argv`."""
    if sys.flags.safe_path:
        return []
    options, index = interpreter_options(argv)
    if "c" in options or "m" in options or index >= len(argv) or argv[index] == "-":
        return [os.curdir]
    script = os.path.realpath(argv[index])
    return [script if os.path.isdir(script) else os.path.dirname(script)]


def _has(place: str, name: str) -> bool:
    path = os.path.join(place, name)
    return os.path.exists(path + ".py") or os.path.exists(os.path.join(path, "__init__.py"))
