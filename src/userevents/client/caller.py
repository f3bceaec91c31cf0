"""The function that an event of pure Python is called by: patient at first, then one that does all of a usual call.

Every Python frame costs as much as a third of a record. So the first enabled call generates, for this event alone, a
function that tests the word, packs and commits by itself; what is unusual it leaves to the event's patient way.
The function object stays the same and is given other code, for the program may have kept ``event.write``; what it
works on lies in its globals, which `Caller` changes when the event is bound anew.
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from ..abi.ring_buffer import PAGE_SIZE, RECORD_HEADER_SIZE, SHORT_BODY_MAX
from ..fields import Field
from ..session import inline
from ..session.layout import WORD_ID_SHIFT
from .packing import (
    MIN_BODY,
    NO_DEFAULT,
    Parameter,
    base_of,
    code_of,
    context_lines,
    context_names,
    conversion,
    is_dynamic,
    is_text,
    signature_of,
    thread,
)

if TYPE_CHECKING:
    from types import FunctionType

    from .event import EventBase

_MISSING: Final = object()
_NEVER: Final = -1
"""No enable word is this."""
MAX_SHAPES: Final = 512
"""How many structs an event keeps, at 200 bytes or so each."""
_function: Any = type(lambda: None)


def _patient_code(condition: str) -> Any:
    source = f"""\
def call(*_ue_rest, **_ue_named):
    _ue_word = _ue_words[0]
    if {condition}:
        _ue_patiently(_ue_word, _ue_rest, _ue_named)
"""
    space: dict[str, Any] = {}
    exec(compile(source, "<event>", "exec"), space)
    return space["call"].__code__


_PATIENT: Final = _patient_code("_ue_word")
_ALWAYS_PATIENT: Final = _patient_code("True")


class Caller:
    """Keeps one event's function, `call`, in step with the event."""

    __slots__ = ("_debug", "_space", "call")

    def __init__(self, event: "EventBase[...]", patiently: Callable[..., None], *, debug: bool) -> None:
        self._space: dict[str, Any] = {"_ue_patiently": patiently, "_ue_on": _NEVER}
        self._debug = debug
        self.call: FunctionType = _function(_ALWAYS_PATIENT if debug else _PATIENT, self._space, event.name)

    def bind(self, writer: object, words: "memoryview[int]", index: int) -> None:
        """Look at this word from now on, and write here what is on its way already."""
        word = words[index : index + 1]
        self._space["_ue_on"] = _NEVER
        inline.settle(self._space, writer, index)
        self._space["_ue_words"] = word

    def specialise(self, event: "EventBase[...]", word: int) -> None:
        """From now on do calls in one function while the word is `word`, if this event's writer can be had inline."""
        space = self._space
        if self._debug or space["_ue_on"] == word or not inline.serves(space["_ue_writer"]):
            return
        if self.call.__code__ is _PATIENT:
            self._generate(event)
        space["_ue_id"] = word >> WORD_ID_SHIFT
        space["_ue_on"] = word

    def _generate(self, event: "EventBase[...]") -> None:
        """Give `call` the code that does it all."""
        parameters = event._made_parameters()
        source, names = usual_source(event.fields, parameters)
        exec(compile(source, f"<event {event.name}>", "exec"), names)
        self._space.update(names, _ue_bind=names["bind"])
        self.call.__defaults__ = (_MISSING,) * sum(not parameter.keyword_only for parameter in parameters)
        self.call.__code__ = names["call"].__code__


def usual_source(fields: Sequence[Field], parameters: Sequence[Parameter]) -> tuple[str, dict[str, Any]]:
    """Return the source of the whole call, and the names it needs beside those of its place."""
    given = "".join(f"{parameter.name}, " for parameter in parameters if not parameter.keyword_only)
    every = "".join(f"{parameter.name}, " for parameter in parameters)
    setup, tests, values = _conversions(fields, parameters)
    shapes = Shapes(fields)
    names = {
        "_ue_thread": thread,
        "_ue_missing": _MISSING,
        "_ue_passed": _passed,
        "_ue_encode": str.encode,
        "_ue_integers": (int, bool),
        "_ue_shapes": shapes.made,
        "_ue_shape_of": shapes.make,
        "_ue_defaults": [parameter.default for parameter in parameters],
        **context_names(fields, parameters),
    }
    reserve = inline.RESERVE.format(values=", ".join(("_ue_id", "_ue_thread_id", *values)))
    lines = [
        f"def bind(_ue_first{signature_of(parameters)}):",
        f"    return ({every})",
        f"def call({given}{'/, ' if given else ''}*_ue_rest, **_ue_named):",
        "    _ue_word = _ue_words[0]",
        "    if not _ue_word:",
        "        return",
        "    _ue_args = None",
        "    if _ue_word == _ue_on:",
        "        try:",
        "            if _ue_rest or _ue_named:",
        f"                _ue_args = _ue_passed({given}) + _ue_rest",
        f"                ({every}) = _ue_bind(None, *_ue_args, **_ue_named)",
        *(f"            {line}" for line in _default_lines(parameters) + context_lines(parameters)),
        "            _ue_thread_id = _ue_thread.id",
        *(f"            {line}" for line in setup),
        f"            if {' and '.join(tests) or 'True'}:",
        *(f"                {line}" for line in (inline.CLOCK + reserve + inline.COMMIT).splitlines()),
        "        except Exception as _ue_error:",
        f"            _ue_args = _ue_passed({given}) + _ue_rest if _ue_args is None else _ue_args",
        "            _ue_patiently(_ue_word, _ue_args, _ue_named, _ue_error)",
        "            return",
        f"    _ue_args = _ue_passed({given}) + _ue_rest if _ue_args is None else _ue_args",
        "    _ue_patiently(_ue_word, _ue_args, _ue_named)",
    ]
    return "\n".join(lines), names


def _default_lines(parameters: Sequence[Parameter]) -> list[str]:
    """Return what gives parameters their defaults, where nothing is passed by name."""
    lines = []
    for number, parameter in enumerate(parameters):
        if parameter.default is not NO_DEFAULT:
            condition = "_ue_args is None" if parameter.keyword_only else f"{parameter.name} is _ue_missing"
            lines.append(f"if {condition}: {parameter.name} = _ue_defaults[{number}]")
    return lines


def _passed(*values: object) -> tuple[object, ...]:
    """Leave out what was not passed: the last ones."""
    return tuple([value for value in values if value is not _MISSING])


def _conversions(fields: Sequence[Field], parameters: Sequence[Parameter]) -> tuple[list[str], list[str], list[str]]:
    """Return lines that convert, tests of what is usual, and the values to pack: of types that run nobody's code."""
    setup, tests, values, data = [], [], [], []
    for number, (field, parameter) in enumerate(zip(fields, parameters, strict=True)):
        value, lines, conditions = conversion(field, parameter.name, number)
        setup += lines
        tests += conditions
        code = code_of(field)
        if is_dynamic(field):
            data.append(value)
            value = f"_ue_place{number}"
        elif code == "d":
            tests.append(f"type({value}) is float")
        elif code in "Bb":
            tests.append(f"type({value}) in _ue_integers")
        elif not code.endswith("s"):
            tests.append(f"type({value}) is int")
        elif not lines:
            tests.append(f"type({value}) is bytes")
        values.append(value)
    lengths = f"len({data[0]})" if len(data) == 1 else f"({''.join(f'len({value}), ' for value in data)})"
    places = "".join(f"{value}, " for value in values if value.startswith("_ue_place"))
    shape = f"_ue_pack, _ue_size, _ue_words4, {places}="
    setup += [f"try: {shape} _ue_shapes[{lengths}]", f"except KeyError: {shape} _ue_shape_of({lengths})"]
    return setup, tests, values + data


class Shapes:
    """For each length of an event's dynamic values: what packs a record, its size, and where each lies.

    `made` has ``(pack_into, size with header, words without, *words that tell the places)``, for what was needed yet.
    It is a plain dict, which Python's interpreter looks into without a call. A body that is not short fits nowhere.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self.made: dict[int | tuple[int, ...], tuple[Any, ...]] = {}
        self._fixed = RECORD_HEADER_SIZE + sum(field.size for field in fields)
        codes = ("4s" if is_dynamic(field) else code_of(field) for field in fields)
        self._codes = "<IIi" + "".join(codes)  # header, id (with flags and preempt count, 0), thread
        self._dynamic = [(base_of(field), 1 if is_text(field) else 0) for field in fields if is_dynamic(field)]

    def make(self, lengths: int | tuple[int, ...]) -> tuple[Any, ...]:
        """Make the shape of a record whose dynamic values have these lengths, and keep it if it is short."""
        end = self._fixed
        places = []
        codes = self._codes
        each = (lengths,) if isinstance(lengths, int) else lengths
        for length, (base, terminator) in zip(each, self._dynamic, strict=True):
            places.append((length + terminator << 16 | end - base).to_bytes(8, "little")[:4])
            codes += f"{length}s{terminator}x"
            end += length + terminator
        size = max(end + 3 & -4, MIN_BODY)
        if size > SHORT_BODY_MAX:
            return (None, PAGE_SIZE, 0, *places)
        if len(self.made) >= MAX_SHAPES:
            self.made.clear()
        shape = (Struct(f"{codes}{size - end}x").pack_into, size + 4, size >> 2, *places)
        self.made[lengths] = shape
        return shape
