"""What a running program executes when somebody attaches to it: userevents is loaded there, providers start or stop.

Python 3.14 runs a file of our choosing between two steps of the program's main thread (``sys.remote_exec``); that file
(made by cli/attaching.py) executes this one and calls `run`. Nothing of it may be noticed by the program.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ALIAS = "_userevents_injected"


def run(wish: dict[str, Any]) -> None:
    """Do what is wished, and put what came of it, as Python's text of a dict, into the file ``wish["report"]``.

    `wish` has ``package`` (directory of userevents), ``place`` (the runtime directory to use, "" for the program's
    own), ``providers`` and ``calls`` (patterns) to start; with ``stop`` everything is stopped instead. The report has
    ``started`` and ``running``, or ``stopped`` and ``listened``, or ``error``.
    """
    try:
        answer = _work(wish)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    try:
        unfinished = f"{wish['report']}.part"
        with open(unfinished, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(repr(answer))
        os.rename(unfinished, wish["report"])
    except OSError:
        pass  # who attached has gone


def _work(wish: dict[str, Any]) -> dict[str, Any]:
    providers = sys.modules.get(f"{_ALIAS}.providers")
    if wish["stop"]:
        return {"stopped": [], "listened": False} if providers is None else providers.stop()
    whole, before = sys.path[:], set(sys.modules)
    library = os.path.dirname(os.__file__)
    ahead = whole[: whole.index(library)] if library in whole else []
    try:
        sys.path[:] = whole[len(ahead) :]  # as in inject/sitecustomize.py: none of the program's files run for us
        if providers is None:
            providers = _load(wish["package"])
        earlier = providers.running()
        if not earlier:
            _choose(wish["place"])
        running = providers.start(wish["providers"], wish["calls"])
    finally:
        sys.path[:] = whole
    providers.forget_shadowed(before, ahead)
    return {"started": [name for name in running if name not in earlier], "running": running}


def _choose(place: str) -> None:
    """Have all events in sessions in `place`: it is there that the tracer looks, not in a kernel."""
    client = __import__(f"{_ALIAS}.client.runtime", fromlist=["runtime"])
    directory = __import__(f"{_ALIAS}.session.directory", fromlist=["prepare"])
    client.runtime.move(directory.prepare(place) if place else directory.program_directory())


def _load(package: str) -> Any:
    """Load userevents as sitecustomize.py does."""
    from _frozen_importlib import module_from_spec
    from _frozen_importlib_external import spec_from_file_location

    init = os.path.join(package, "__init__.py")
    spec = spec_from_file_location(_ALIAS, init, submodule_search_locations=[package])
    if spec is None or spec.loader is None:
        raise ImportError(f"no userevents package at '{package}'")
    sys.modules[_ALIAS] = module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return __import__(f"{_ALIAS}.providers", fromlist=["start"])
    except BaseException:
        for name in [name for name in sys.modules if name.partition(".")[0] == _ALIAS]:
            del sys.modules[name]  # the next one who attaches begins anew
        raise
