"""Bound fields: values that a program binds once, and that events take from there where they say so.

`context` binds for as long as its block lasts, in this thread or asyncio task and in what these start (contextvars have
the rules). An event takes a value by a parameter's default: ``request_id: str = from_context()``. So a bound field is
a declared field like any other: typed, filtered and grouped by the tracer, in the kernel's format; and an event that
takes nothing, or is off, does not look. Why so: docs/notes/0036-bound-fields-are-declared.md.
"""

from _contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .signals import raised_by_handler

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Token

ALL = "*"
"""The name of the text of all bound fields."""


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception as error:
        if raised_by_handler(error):
            raise
        return f"<{type(value).__qualname__}>"


_bound: "ContextVar[dict[str, object]]" = ContextVar("userevents_context", default={})
bound = _bound.get
"""Return the bound fields of now, not to be changed."""
rebind = _bound.set
"""Have other fields bound, until `unbind` is called with what this returns; for those who are in a hurry."""


wanted: set[str] = set()
"""The bound fields that this process's events take, so that nobody binds in vain for them."""


def text_of(fields: "Mapping[str, object]") -> str:
    """Return all fields as one text, ``"user=7 cart=2"``."""
    return " ".join([f"{name}={_shown(value)}" for name, value in fields.items()])


def bound_and_text() -> dict[str, object]:
    """Return the bound fields of now, with their text as `ALL`."""
    fields = bound()
    return {**fields, ALL: text_of(fields)}


class context:
    """Bind fields for the length of a ``with`` block, besides those bound around it.

    Follows the rules of contextvars: asyncio tasks, ``asyncio.to_thread`` and callbacks have what was bound where they
    were made; a `threading.Thread` begins with nothing before Python 3.14, unless its target is run by
    ``contextvars.copy_context().run``.

    >>> from userevents import context, event, from_context
    >>> @event
    ... def query(sql: str, request_id: str = from_context()) -> None:
    ...     "One query."
    >>> with context(request_id="a4f1"):
    ...     query("SELECT 1")
    """

    __slots__ = ("_fields", "_token")

    def __init__(self, **fields: object) -> None:
        self._fields = fields
        self._token: Token[dict[str, object]] | None = None

    def __enter__(self) -> None:
        self._token = rebind({**bound(), **self._fields})

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            unbind(self._token)
            self._token = None


def unbind(token: "Token[dict[str, object]]") -> None:
    """Have bound again what was bound before."""
    try:
        _bound.reset(token)
    except ValueError:  # in another context, as that of an asynchronous generator may be: nothing was bound there
        pass


class FromContext:
    """The default of a parameter that takes its value from the context."""

    __slots__ = ("default", "name")

    def __init__(self, name: str | None, default: object) -> None:
        self.name = name
        self.default = default

    def wanted_by(self, parameter: str) -> None:
        """An event takes its value for the parameter of this name."""
        wanted.add(self.name or parameter)

    def __repr__(self) -> str:
        return f"from_context({self.name!r})"


def from_context(name: str | None = None, *, default: object = None) -> Any:
    """Say, as the default of an event's parameter, that its value is what `context` has bound.

    `name` is the bound field, else that of the parameter; ``"*"`` gives all of them as text, ``"user=7 cart=2"``. Where
    nothing is bound the value is `default`, else 0 or empty. A bound value of a wrong type is counted as invalid, as an
    argument would be. A value that is passed goes before one that is bound.
    """
    return FromContext(name, default)
