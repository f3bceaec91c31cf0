"""The one file that `userevents record` puts on the PYTHONPATH of the programs it starts.

Python imports it as `sitecustomize` before the program begins. It takes its own directory off `sys.path`, hands over
to the `sitecustomize` that Python would have found without it, and then loads userevents by path under the name
`_userevents_injected`, so that the program's own packages stay what they are, and starts the providers that
USEREVENTS_PROVIDERS names.

Nothing here may be noticed by the program: no output (but for USEREVENTS_DEBUG=1), no exception, nothing imported from
the program's own directories. Any Python may find this file on its path, so the syntax is one that old ones read.
"""

import os
import sys

_ALIAS = "_userevents_injected"


def _load(package):  # type: (str) -> object
    """Import the userevents package in directory `package` under the alias, and return its `providers` room."""
    try:  # the import system itself, always in memory; importlib.util would cost as much as all the rest
        from _frozen_importlib import module_from_spec
        from _frozen_importlib_external import spec_from_file_location
    except ImportError:
        from importlib.util import module_from_spec, spec_from_file_location
    init = os.path.join(package, "__init__.py")
    spec = spec_from_file_location(_ALIAS, init, submodule_search_locations=[package])
    if spec is None or spec.loader is None:
        raise ImportError("no userevents package at '" + package + "'")
    sys.modules[_ALIAS] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return __import__(_ALIAS + ".providers", fromlist=["start"])


def _start(names):  # type: (list[str]) -> None
    """Start the providers `names`, importing their needs from the standard library only."""
    whole, before = sys.path[:], set(sys.modules)
    library = os.path.dirname(os.__file__)
    ahead = whole[: whole.index(library)] if library in whole else []
    try:
        sys.path[:] = whole[len(ahead) :]  # a `struct.py` of the program's must neither run now nor serve us
        providers = _load(os.path.dirname(os.path.dirname(_here)))
        providers.start(names)  # type: ignore[attr-defined]
    finally:
        sys.path[:] = whole
    providers.forget_shadowed(before, ahead)  # type: ignore[attr-defined]


def _start_quietly():  # type: () -> None
    """Start what USEREVENTS_PROVIDERS names, where this Python can; a failure shows only with USEREVENTS_DEBUG=1."""
    names = [name for name in os.environ.get("USEREVENTS_PROVIDERS", "").split(",") if name]
    if not names or sys.version_info < (3, 11) or sys.implementation.name != "cpython":
        return
    try:
        _start(names)
    except Exception as error:
        if os.environ.get("USEREVENTS_DEBUG") == "1":
            sys.__excepthook__(type(error), error, error.__traceback__)


_here = os.path.dirname(__file__)
sys.path[:] = [entry for entry in sys.path if entry != _here]
sys.path_importer_cache.pop(_here, None)
_kept = sys.modules.pop("sitecustomize", None)  # Python 2 empties a module that nobody refers to
try:
    # Python's own import of the next one: found or not, in order or raising, `site` goes on as if we were not there
    __import__("sitecustomize")
finally:
    _start_quietly()
