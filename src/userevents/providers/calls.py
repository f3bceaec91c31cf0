"""The `calls` provider: functions that are called and left, by name, while somebody listens. Python 3.12 and later.

``sys.monitoring`` calls us at the start of every function once; where its name is not wanted, that place is switched
off and costs nothing any more. While nobody listens nothing is switched on at all. Whether anybody does, a `Watcher`
looks. docs/providers.md says what that leaves out.
"""

from __future__ import annotations

import _thread
import os
import sys
import time

from ..errors import Unusable
from . import guard
from .environment import CALLS_VARIABLE
from .events import declared
from .watcher import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType
    from typing import Any

    from ..client import Event

_monitoring: Any = getattr(sys, "monitoring", None)
"""None before Python 3.12."""
_TOOLS = (4, 3)  # not those that sys.monitoring gives to debuggers, coverage, profilers and optimizers
_SUSPENDS = 0x20 | 0x80 | 0x200  # generators, coroutines, asynchronous generators
_OURS = __name__.partition(".")[0]
_RETURNED, _RAISED = "return", "raise"
_running_calls: list[Calls] = []
"""The probes of the provider: none or one."""
_DEEPEST = 4096


def start(declarations: Sequence[str], patterns: Sequence[str] = ()) -> None:
    """Declare the events, and switch the probes as somebody listens or not; where they are, add these patterns.

    Without patterns those of the environment are meant. Raises `Unusable` where this Python, or another tool, does not
    allow it.
    """
    enter, leave = map(declared, declarations)
    patterns = patterns or [pattern for pattern in os.environ.get(CALLS_VARIABLE, "").split() if pattern]
    if _running_calls:
        _running_calls[0].add(patterns)
    elif patterns:
        calls = watch(patterns, enter, leave)
        if calls is None:
            raise Unusable("calls of functions need Python 3.12, and one of sys.monitoring's places 3 and 4 free")
        _running_calls.append(calls)


def stop() -> None:
    """Take the probes away, and give the place in sys.monitoring back."""
    while _running_calls:
        _running_calls.pop().close()


def watch(patterns: Sequence[str], enter: Event[...], leave: Event[...]) -> Calls | None:
    """Write the two events for functions of these patterns; None where this Python, or another tool, does not allow."""
    if _monitoring is None:
        return None
    for tool in _TOOLS:
        try:
            _monitoring.use_tool_id(tool, "userevents")
        except ValueError:  # somebody else's
            continue
        calls = Calls(tool, patterns, enter, leave)
        calls.watcher = Watcher(calls.follow)
        return calls
    return None


def wanted_name(module: str, function: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern means this function; one without a colon means a module's functions, all of them.

    >>> wanted_name("shop.cart", "Cart.add", ["shop.*:Cart.*"]), wanted_name("shop.cart", "sum", ["shop.cart"])
    (True, True)
    """
    from fnmatch import fnmatchcase

    for pattern in patterns:
        in_module, _, called = pattern.partition(":")
        if fnmatchcase(module, in_module) and fnmatchcase(function, called or "*"):
            return True
    return False


class _Running(_thread._local):
    """What each thread has entered and not left: code and time, the newest last."""

    def __init__(self) -> None:
        self.stack: list[tuple[CodeType, int]] = []


class Calls:
    """The probes of one process."""

    def __init__(self, tool: int, patterns: Sequence[str], enter: Event[...], leave: Event[...]) -> None:
        self._tool = tool
        self._patterns = list(patterns)
        self.watcher: Watcher | None = None
        self._enter = enter
        self._leave = leave
        self._names: dict[CodeType, str] = {}
        self._running = _Running()
        self._suspended: dict[int, int] = {}
        """By frame: when a generator or coroutine began."""
        self.is_on = False

    def follow(self) -> None:
        """Switch the probes on or off, as somebody listens or not."""
        try:
            wanted = bool(self._enter) or bool(self._leave)
            if wanted != self.is_on:
                self._switch(wanted)
        except Exception as error:
            guard.absorb(error)

    def add(self, patterns: Sequence[str]) -> None:
        """Watch functions of these patterns, too."""
        self._patterns += [pattern for pattern in patterns if pattern not in self._patterns]
        _monitoring.restart_events()  # functions that no pattern named so far have been switched off

    def close(self) -> None:
        """Switch off for good."""
        if self.watcher is not None:
            self.watcher.stop()
        if self.is_on:
            self._switch(False)
        _monitoring.free_tool_id(self._tool)

    def _switch(self, on: bool) -> None:
        monitoring, tool = _monitoring, self._tool
        events = monitoring.events
        probes: dict[int, Callable[..., Any]] = {
            events.PY_START: self._started,
            events.PY_RETURN: self._returned,
            events.PY_UNWIND: self._unwound,
        }
        for event, probe in probes.items():
            monitoring.register_callback(tool, event, probe if on else None)
        self.is_on = on
        if on:
            monitoring.restart_events()
        else:
            for code in list(self._names):  # other threads are still in functions, and may meet new ones
                monitoring.set_local_events(tool, code, 0)
            self._names.clear()
            self._suspended.clear()
        monitoring.set_events(tool, events.PY_START | events.PY_UNWIND if on else 0)

    def _started(self, code: CodeType, _offset: int) -> Any:
        name = self._names.get(code)
        try:
            if name is None:
                name = self._name(code)
                if name is None:
                    return _monitoring.DISABLE
            self._enter(name)
            if code.co_flags & _SUSPENDS:
                self._suspended[id(sys._getframe(1))] = time.monotonic_ns()
            elif len(stack := self._running.stack) < _DEEPEST:
                stack.append((code, time.monotonic_ns()))
        except Exception as error:
            guard.absorb(error)
        return None

    def _name(self, code: CodeType) -> str | None:
        """What to call a function that is met for the first time, and watch it; None if nobody asked for it."""
        module = sys._getframe(2).f_globals.get("__name__", "?")
        if not isinstance(module, str) or module.partition(".")[0] == _OURS:
            return None
        if not wanted_name(module, code.co_qualname, self._patterns):
            return None
        name = self._names[code] = f"{module}:{code.co_qualname}"
        _monitoring.set_local_events(self._tool, code, _monitoring.events.PY_RETURN)
        if not self.is_on:  # it was switched off while we were in here
            self._names.pop(code, None)
            _monitoring.set_local_events(self._tool, code, 0)
            return None
        return name

    def _returned(self, code: CodeType, _offset: int, _value: object) -> None:
        try:
            self._left(code, _RETURNED)
        except Exception as error:
            guard.absorb(error)

    def _unwound(self, code: CodeType, _offset: int, _error: BaseException) -> None:
        if code in self._names:
            try:
                self._left(code, _RAISED)
            except Exception as error:
                guard.absorb(error)

    def _left(self, code: CodeType, how: str) -> None:
        now = time.monotonic_ns()
        if code.co_flags & _SUSPENDS:
            began = self._suspended.pop(id(sys._getframe(2)), 0)
        else:
            began = _pop(self._running.stack, code)
        if began:
            self._leave(now - began, how, self._names[code])


def _pop(stack: list[tuple[CodeType, int]], code: CodeType) -> int:
    """Take the newest entry of `code` off, with those above it, whose ends were not seen; its time, 0 for none."""
    for at in range(len(stack) - 1, -1, -1):
        if stack[at][0] is code:
            began = stack[at][1]
            del stack[at:]
            return began
    return 0
