"""`@event` and `register`: what a program declares, and what it calls.

An event that nobody traces costs a load and a branch. One that is traced never raises: a wrong argument is
counted as invalid and warned of once. USEREVENTS_DEBUG=1 makes it raise TypeError instead, traced or not.
"""

import os
import typing
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, overload

from ..abi.user_events import MAX_NAME_ARGS_SIZE, USER_EVENT_REG_MULTI_FORMAT, USER_EVENT_REG_PERSIST
from ..errors import Refused
from ..fields import Field, parse_declaration
from ..session import layout
from ..session.layout import COUNTER_NAMES, WORD_ID_SHIFT, WORD_PENDING
from ..session.producer import Declared
from .context import FromContext
from .native import on_top_of
from .packing import NO_DEFAULT, Parameter, TooLarge, make_packer, native_table, parameters_of
from .runtime import OFF, EventWriter, runtime
from .signals import raised_by_handler
from .types import field_text

if TYPE_CHECKING:
    from .caller import Caller

P = ParamSpec("P")

_DEBUG = os.environ.get("USEREVENTS_DEBUG", "") not in ("", "0")
_NONE_OF_ITS_OWN: tuple[str, ...] = ()
_OF_ITS_OWN: tuple[str, ...] = (
    "__call__",
    "__dict__",
    "__weakref__",
    "_caller",
    "_commit",
    "_debug",
    "_index",
    "_pack",
    "_parameters",
    "_warned",
    "_words",
    "_writer",
    "declared",
    "fields",
    "name",
    "write",
)
_VAR_POSITIONAL, _VAR_KEYWORD = 0x04, 0x08


class EventBase(Generic[P]):
    """All of an event but the call and the test, which are `Event`'s: in C where that is built, else in Python."""

    __slots__ = _NONE_OF_ITS_OWN

    _DEPTH = 3
    """How many frames above a complaint the program's call is."""

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
        self._commit: Callable[[int, bytes], None] = _commit_nowhere
        self._debug = _DEBUG
        self._warned = False
        self.bind(None, OFF, 0)
        runtime.declare(self)

    def bind(self, writer: EventWriter | None, words: "memoryview[int]", index: int) -> None:
        """Use this writer and enable word from now on (the runtime calls it, at declaration and after fork)."""
        self._writer, self._words, self._index = writer, words, index
        self._commit = writer.commit if writer is not None else _commit_nowhere

    @property
    def stats(self) -> dict[str, int]:
        """What this process counted of the event: attempts while enabled, each reason for a drop, and cuts."""
        return dict.fromkeys(COUNTER_NAMES, 0) if self._writer is None else self._writer.stats(self._index)

    def __repr__(self) -> str:
        return f"<event {self.declared.text.decode('utf-8', 'replace')!r}>"

    def _emit(
        self, word: int, args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException | None = None
    ) -> None:
        """Do all of a call by the patient way, also if a conversion has failed already; `word` 0 is nobody's."""
        if error is not None and raised_by_handler(error):
            raise error
        try:
            body = self._pack(word >> WORD_ID_SHIFT, *args, **kwargs)
        except TooLarge:
            if word:
                self._drop(layout.TOO_LARGE)
        except TypeError as error:
            if raised_by_handler(error):
                raise
            if word:
                self._drop(layout.INVALID)
            self._complain(error)
        else:
            if word:
                self._commit(self._index, body)

    def _made_parameters(self) -> list[Parameter]:
        return parameters_of(self.fields) if self._parameters is None else self._parameters

    def _first_pack(self, event_id: int, /, *args: Any, **kwargs: Any) -> bytes:
        """Make the packer at its first use: most events of most programs are never listened to."""
        self._pack = make_packer(self.name, self.fields, self._made_parameters())
        return self._pack(event_id, *args, **kwargs)

    def _describe(self) -> tuple[object, ...]:
        """Describe the declaration to the native packer."""
        return native_table(self.fields, self._made_parameters())

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

    def _complain(self, error: TypeError) -> None:
        if _DEBUG:
            raise error
        if not self._warned:
            self._warned = True
            try:
                warnings.warn(f"{error} (counted as invalid; said once)", RuntimeWarning, stacklevel=self._DEPTH)
            except Warning:  # warnings were turned into errors: attaching a tracer must not change a program
                pass


class Event(EventBase[P]):
    """A declared event: call it to emit, test it to know whether anybody listens.

    Made by `event` or `register`. Calls return None and, unless USEREVENTS_DEBUG=1, never raise.
    """

    __slots__ = _OF_ITS_OWN

    _DEPTH = 5

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
            """Emit one event if anybody listens."""

        write = __call__

    def __init__(self, text: str, flags: int, parameters: list[Parameter] | None, doc: str | None) -> None:
        self._caller: Caller | None = None
        super().__init__(text, flags, parameters, doc)

    def bind(self, writer: EventWriter | None, words: "memoryview[int]", index: int) -> None:
        """Use this writer and enable word from now on, and say so to the function that `self` is called by."""
        super().bind(writer, words, index)
        if self._caller is None:
            from .caller import Caller  # not where events are called in C

            self._caller = Caller(self, self._patiently, debug=_DEBUG)
            for name in ("__call__", "write"):
                setattr(self, name, self._caller.call)
        self._caller.bind(writer, words, index)

    def _patiently(
        self, word: int, args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException | None = None
    ) -> None:
        """Do a call that is the first, or unusual."""
        if word & WORD_PENDING:
            word = self._await_answer()
            if not word:
                return
        self._emit(word, args, kwargs, error)
        if word and self._caller is not None:
            self._caller.specialise(self, word)

    def __bool__(self) -> bool:
        """Whether anybody listens. Guard costly arguments with it: ``if request: request(1, measure())``."""
        word = self._words[self._index]
        return word != 0 and (not word & WORD_PENDING or self._await_answer() != 0)

    @property
    def enabled(self) -> bool:
        """Whether anybody listens: ``bool(event)``."""
        return bool(self)


class NativeBase(EventBase[P]):
    """What the native class of events stands on: it learns here which words and which writer are the event's."""

    __slots__ = _NONE_OF_ITS_OWN

    def bind(self, writer: EventWriter | None, words: "memoryview[int]", index: int) -> None:
        """Use this writer and enable word from now on, in C where the writer's cursor is native."""
        super().bind(writer, words, index)
        self._attach(words, index, writer, getattr(writer, "cursor", None))

    def _attach(self, words: "memoryview[int]", index: int, writer: EventWriter | None, cursor: object) -> None:
        """The native class has its own."""
        raise NotImplementedError


PureEvent = Event
if not TYPE_CHECKING and (made := on_top_of(NativeBase)) is not None:
    made.__doc__, made.__module__ = Event.__doc__, __name__
    Event = made


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
        default = defaults.get(parameter, NO_DEFAULT)
        if isinstance(default, FromContext):
            default.wanted_by(parameter)
        parameters.append(Parameter(parameter, number >= positional, default))
        fields.append(field_text(name, parameter, hints[parameter]))
    return parameters, f"{name} {'; '.join(fields)}".rstrip()
