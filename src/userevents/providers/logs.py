"""The `logging` provider: the records that the logging module handles, before its handlers see them.

`Logger.filter` is the last thing that every record passes before the handlers: its logger's level let it through, and
the filters may have taken a secret out of it. So that method is wrapped: no handler is added, no level changes, and
neither logging.config nor a Logger class of the program's own takes it away. Nor does a handler find a frame of ours on
the stack, as it would if a method were wrapped that calls it. A program that never imports logging does not get it
imported: a finder waits for that import, and leaves.
"""

from __future__ import annotations

import sys

from . import guard
from .events import declared
from .values import natural, plain, raw, text, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    from ..client import Event

    Values = tuple[int | str | bytes, ...]

_busy = guard.Busy()
_wrapped: list[tuple[Any, object, object]] = []
"""Classes whose `filter` is wrapped, the wrapper, and what it wraps."""


def start(declarations: Sequence[str]) -> None:
    """Declare the event, and wrap logging now or when it is imported."""
    (declaration,) = declarations
    event = declared(declaration)
    module = sys.modules.get("logging")
    if module is None:
        sys.meta_path.insert(0, _Waiting(event))
    else:
        watch(module, event)


def stop() -> None:
    """Unwrap logging, where nobody else has wrapped it since, or wait for its import no longer."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Waiting)]
    while _wrapped:
        logger, ours, original = _wrapped.pop()
        if vars(logger).get("filter") is not ours:
            continue
        del logger.filter
        if logger.filter is not original:  # it was the class's own, not one that it inherits
            logger.filter = original


def watch(module: ModuleType, event: Event[...]) -> None:
    """Write `event` for each record that loggers of `module` hand to their handlers."""
    logger = getattr(module, "Logger", None)
    original = getattr(logger, "filter", None)
    if logger is None or original is None:
        return  # a module of the program's own that happens to be called logging
    absorb = guard.absorb

    def filter(self: object, record: object) -> Any:
        passed = original(self, record)
        try:
            if passed and event:
                event(*values(record if passed is True else passed))  # from Python 3.12 on, filters may replace it
        except Exception as error:
            absorb(error)
        return passed

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(filter, name, getattr(original, name))
    filter.__wrapped__ = original  # type: ignore[attr-defined]
    logger.filter = filter
    _wrapped.append((logger, filter, original))


def values(record: Any) -> Values:
    """Return the fields of py_log for a LogRecord, whatever a program has put into it."""
    return (
        whole(record.levelno),
        natural(record.lineno),
        text(record.name),
        _message(record),
        text(record.pathname),
        text(record.funcName),
        _exception(record.exc_info),
    )


def _message(record: Any) -> str | bytes:
    """Return the record's message; the text without its arguments where these cannot be put into it.

    Formatting runs the program's `__str__`. What that logs in turn is taken unformatted, or the two would never end.
    """
    if not _busy.now:
        _busy.now = True
        try:
            return text(record.getMessage())
        except Exception as error:
            guard.absorb(error)
        finally:
            _busy.now = False
    return text(record.msg) if isinstance(record.msg, str) else f"<{type(record.msg).__qualname__}>"


def _exception(exc_info: Any) -> str | bytes:
    if not exc_info or not isinstance(exc_info, tuple) or exc_info[0] is None:
        return ""
    kind, value = exc_info[:2]
    said = plain(value)
    return raw(f"{kind.__qualname__}: {said}" if said else kind.__qualname__)


class _Waiting:
    """A finder that knows no module: it lets the others find `logging`, and has itself told when it is loaded."""

    def __init__(self, event: Event[...]) -> None:
        self._event = event

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return what the other finders say of `logging`, with a loader that calls `loaded`; None for all others."""
        if name != "logging":
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find is not None else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]
                return spec
        return None

    def loaded(self, module: ModuleType) -> None:
        """Wrap the module that has just been loaded, and stop waiting."""
        try:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            watch(module, self._event)
        except Exception as error:
            guard.absorb(error)


class _Loader:
    """Stands in for the loader of `logging` until it has been asked to load it."""

    def __init__(self, loader: Any, waiting: _Waiting) -> None:
        self._loader = loader
        self._waiting = waiting

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Load the module as if its own loader had been asked, then say so."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._waiting.loaded(module)
