"""`@event` and `register`: what a program declares, and what it calls.

An event that nobody traces costs a load and a branch. One that is traced never raises: a wrong argument is
counted as invalid and warned of once. USEREVENTS_DEBUG=1 makes it raise TypeError instead, traced or not.
"""

import os
import typing
import warnings
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, overload

from ..abi.user_events import MAX_NAME_ARGS_SIZE, USER_EVENT_REG_MULTI_FORMAT, USER_EVENT_REG_PERSIST
from ..errors import Refused
from ..fields import Field, parse_declaration
from ..session import layout
from ..session.layout import COUNTER_NAMES, COUNTERS_PER_EVENT, WORD_ID_SHIFT, WORD_PENDING
from ..session.producer import Declared
from ..session.writer import Writer
from .packing import NO_DEFAULT, Parameter, TooLarge, make_packer, parameters_of
from .runtime import OFF, runtime
from .types import field_text

P = ParamSpec("P")

_DEBUG = os.environ.get("USEREVENTS_DEBUG", "") not in ("", "0")
_VAR_POSITIONAL, _VAR_KEYWORD = 0x04, 0x08


class Event(Generic[P]):
    """A declared event: call it to emit, test it to know whether anybody listens.

    Made by `event` or `register`. Calls return None and, unless USEREVENTS_DEBUG=1, never raise.
    """

    __slots__ = (
        "__dict__",
        "_commit",
        "_index",
        "_pack",
        "_parameters",
        "_warned",
        "_words",
        "_writer",
        "declared",
        "fields",
        "name",
    )

    def __init__(self, text: str, flags: int, parameters: list[Parameter] | None, doc: str | None) -> None:
        raw = text.encode("utf-8")
        if len(raw) >= MAX_NAME_ARGS_SIZE:
            raise Refused(22, f"the declaration '{text[:60]}...' has {len(raw)} bytes; at most 511 are allowed")
        declaration = parse_declaration(raw.decode("latin-1"))
        self.name: str = declaration.name.encode("latin-1").decode("utf-8", "replace")
        self.fields: tuple[Field, ...] = declaration.fields
        self.declared = Declared(raw, flags)
        self.__doc__ = doc
        self._parameters = parameters
        self._pack: Callable[..., bytes] = self._first_pack
        self._writer: Writer | None = None
        self._words = OFF
        self._index = 0
        self._commit: Callable[[int, bytes], None] = _commit_nowhere
        self._warned = False
        runtime.declare(self)

    def bind(self, writer: Writer | None, words: "memoryview[int]", index: int) -> None:
        """Use this writer and enable word from now on (the runtime calls it, at declaration and after fork)."""
        self._writer, self._words, self._index = writer, words, index
        self._commit = writer.commit if writer is not None else _commit_nowhere

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Emit one event if anybody listens."""
        word = self._words[self._index]
        if word:
            if word & WORD_PENDING:
                word = self._await_answer()
                if not word:
                    return
            try:
                pack = self._pack
                body = pack(word >> WORD_ID_SHIFT, *args, **kwargs) if kwargs else pack(word >> WORD_ID_SHIFT, *args)
            except TooLarge:
                self._drop(layout.TOO_LARGE)
            except TypeError as error:
                self._drop(layout.INVALID)
                self._complain(error)
            else:
                self._commit(self._index, body)
        elif _DEBUG:
            self._check(args, kwargs)

    write = __call__

    def __bool__(self) -> bool:
        """Whether anybody listens. Guard costly arguments with it: ``if request: request(1, measure())``."""
        word = self._words[self._index]
        return word != 0 and (not word & WORD_PENDING or self._await_answer() != 0)

    @property
    def enabled(self) -> bool:
        """Whether anybody listens: ``bool(event)``."""
        return bool(self)

    @property
    def stats(self) -> dict[str, int]:
        """What this process counted of the event: attempts while enabled, each reason for a drop, and cuts."""
        if self._writer is None:
            return dict.fromkeys(COUNTER_NAMES, 0)
        start = self._index * COUNTERS_PER_EVENT
        return dict(zip(COUNTER_NAMES, self._writer.session.counters[start : start + len(COUNTER_NAMES)], strict=True))

    def __repr__(self) -> str:
        return f"<event {self.declared.text.decode('utf-8', 'replace')!r}>"

    def _first_pack(self, event_id: int, /, *args: Any, **kwargs: Any) -> bytes:
        """Make the packer at its first use: most events of most programs are never listened to."""
        parameters = parameters_of(self.fields) if self._parameters is None else self._parameters
        self._pack = make_packer(self.name, self.fields, parameters)
        return self._pack(event_id, *args, **kwargs)

    def _await_answer(self) -> int:
        """Wait for the tracer's answer; return the word to write with, 0 if there is none (which is counted)."""
        if self._writer is None:
            return 0
        word = self._writer.await_answer(self._index)
        if not word and self._words[self._index]:
            self._drop(layout.TRACER_GONE)
        return word

    def _drop(self, reason: int) -> None:
        if self._writer is not None:
            self._writer.drop(self._index, reason)

    def _check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """In debug mode, find wrong arguments also while nobody listens."""
        try:
            self._pack(0, *args, **kwargs)
        except TooLarge:
            pass
        except TypeError as error:
            self._complain(error)

    def _complain(self, error: TypeError) -> None:
        if _DEBUG:
            raise error
        if not self._warned:
            self._warned = True
            try:
                warnings.warn(f"{error} (counted as invalid; said once)", RuntimeWarning, stacklevel=4)
            except Warning:  # warnings were turned into errors: attaching a tracer must not change a program
                pass


def _commit_nowhere(index: int, body: bytes) -> None:
    """The commit of an event that is declared nowhere."""


def _flags(persist: bool, multi_format: bool) -> int:
    return (USER_EVENT_REG_PERSIST if persist else 0) | (USER_EVENT_REG_MULTI_FORMAT if multi_format else 0)


def register(text: str, *, persist: bool = False, multi_format: bool = False) -> Event[...]:
    """Declare an event by the kernel's text, ``"request u32 id; char[16] method"``.

    The event takes one value per field, by position or by the field's name. `persist` asks that it outlive
    its users (a tracer's privilege is needed; without it the event goes unrecorded, see ``userevents list``),
    `multi_format` that other declarations of the same name may stand beside it.

    Raises `Refused` (EINVAL) for text that the kernel refuses.

    Source: user_events contract, fields.md sections 1 to 3; abi.md section 3 (flags).
    """
    return Event(text, _flags(persist, multi_format), None, None)


@overload
def event(function: Callable[P, None], /) -> Event[P]: ...
@overload
def event(
    *, name: str | None = None, prefix: str | None = None, persist: bool = False, multi_format: bool = False
) -> Callable[[Callable[P, None]], Event[P]]: ...
def event(
    function: Callable[P, None] | None = None,
    /,
    *,
    name: str | None = None,
    prefix: str | None = None,
    persist: bool = False,
    multi_format: bool = False,
) -> Event[P] | Callable[[Callable[P, None]], Event[P]]:
    """Declare an event by a function's signature; the body is never run, the docstring is kept.

    Parameters become fields in order: ``int`` is s64, ``bool`` u8, ``float`` struct f64, ``str`` and
    ``bytes`` dynamic, the names of `userevents` (``u32``, ``char16``) the kernel's types. The event is named
    after the function, or `name`, with ``prefix_`` before it. `persist` and `multi_format`: see `register`.

    Raises TypeError for a parameter that is no field, `Refused` (EINVAL) for a name the kernel refuses.

    >>> from userevents import event, u32
    >>> @event
    ... def tick(count: u32) -> None:
    ...     "One tick."
    >>> tick(1)
    """

    def declare(function: Callable[P, None]) -> Event[P]:
        called = name or function.__name__
        if prefix:
            called = f"{prefix}_{called}"
        parameters, text = _signature(called, function)
        made: Event[P] = Event(text, _flags(persist, multi_format), parameters, function.__doc__)
        made.__dict__.update(__wrapped__=function, __module__=function.__module__, __name__=function.__name__)
        return made

    return declare if function is None else declare(function)


def _signature(name: str, function: Callable[..., None]) -> tuple[list[Parameter], str]:
    """Return the parameters of a function and the declaration that they spell."""
    code = function.__code__
    if code.co_flags & (_VAR_POSITIONAL | _VAR_KEYWORD):
        raise TypeError(f"event '{name}': an event has a fixed list of fields; '*' and '**' parameters cannot be one")
    hints = typing.get_type_hints(function, include_extras=True)
    positional = code.co_argcount
    names = code.co_varnames[: positional + code.co_kwonlyargcount]
    given = function.__defaults__ or ()
    defaults = dict(zip(names[positional - len(given) : positional], given, strict=True))
    defaults.update(function.__kwdefaults__ or {})
    parameters, fields = [], []
    for number, parameter in enumerate(names):
        if parameter not in hints:
            raise TypeError(f"event '{name}': parameter '{parameter}' has no annotation, so its type is unknown")
        parameters.append(Parameter(parameter, number >= positional, defaults.get(parameter, NO_DEFAULT)))
        fields.append(field_text(name, parameter, hints[parameter]))
    return parameters, f"{name} {'; '.join(fields)}".rstrip()
