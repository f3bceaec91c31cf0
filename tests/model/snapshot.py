"""Undo: remembers everything reachable from an object, and puts it back in place.

The search takes a dozen steps from every state. Replaying a state costs as much as its path is long, copying it more
than that; putting back what a step changed costs a fraction of either. Nothing here knows the engine: objects are
seen as attributes and containers. What is not seen is not put back: functions, iterators, and `SKIPPED`.
"""

from collections import deque
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from userevents.engine.history import History

SKIPPED: Final = (type, ModuleType, FunctionType, BuiltinFunctionType, str, bytes, int, float, type(None), History)
"""What holds no state that a step depends on; the engine only ever writes to its history."""


class Snapshot:
    """The state of `root` and of all that it leads to."""

    def __init__(self, root: object) -> None:
        self._mappings: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
        """Dictionaries, those of objects' attributes included, each with what it held."""
        self._sets: list[tuple[set[Any], set[Any]]] = []
        self._sequences: list[tuple[list[Any] | deque[Any], tuple[Any, ...]]] = []
        self._slotted: list[tuple[object, list[tuple[str, Any]]]] = []
        seen: dict[int, object] = {}
        waiting = [root]
        while waiting:
            thing = waiting.pop()
            if id(thing) not in seen and not isinstance(thing, SKIPPED):
                seen[id(thing)] = thing
                waiting += self._remember(thing)

    def restore(self) -> None:
        """Make everything what it was; objects made since are simply not led to any more.

        All of it, whether it changed or not: a container that was replaced may be equal to what it replaced.
        """
        for mapping, held in self._mappings:
            mapping.clear()
            mapping.update(held)
        for members, kept in self._sets:
            members.clear()
            members.update(kept)
        for sequence, items in self._sequences:
            sequence.clear()
            sequence.extend(items)
        for thing, attributes in self._slotted:
            for name, value in attributes:
                setattr(thing, name, value)

    def _remember(self, thing: object) -> Iterable[object]:
        """Note the state of one thing; returns what it leads to."""
        match thing:
            case dict():
                self._mappings.append((thing, thing.copy()))
                return (*thing, *thing.values())
            case list() | deque():
                self._sequences.append((thing, tuple(thing)))
                return tuple(thing)
            case set():
                self._sets.append((thing, thing.copy()))
                return tuple(thing)
            case tuple():
                return thing
            case MethodType():
                return (thing.__self__,)
        values: list[object] = []
        if hasattr(thing, "__dict__"):
            self._mappings.append((vars(thing), dict(vars(thing))))
            values += vars(thing).values()
        slots = [(name, getattr(thing, name)) for name in _slots(type(thing)) if hasattr(thing, name)]
        if slots:
            self._slotted.append((thing, slots))
        return values + [value for _, value in slots]


def _slots(kind: type) -> Iterable[str]:
    return (name for base in kind.__mro__ for name in vars(base).get("__slots__", ()))
