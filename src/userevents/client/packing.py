"""Turn an event's values into a record body: one generated function per declaration, and the patient way beside it.

The generated function handles values of the right type that fit. Anything else (bytes for a string, a string
too long, a wrong value) goes to `pack_patiently`, which converts value by value and can name the one at fault.
"""

import os
from _thread import _local, get_native_id
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, NamedTuple

from ..abi.ring_buffer import MAX_BODY_SIZE, RECORD_HEADER, RECORD_HEADER_SIZE
from ..fields import Field
from ..session.body import CutBody
from .context import ALL, FromContext, bound, bound_and_text, text_of
from .signals import raised_by_handler

MIN_BODY = 12
_ZEROS = (b"", b"\0", b"\0\0", b"\0\0\0", b"\0\0\0\0")
_CODES = {
    "s64": "q", "u64": "Q", "s32": "i", "int": "i", "u32": "I", "unsigned int": "I", "s16": "h", "short": "h",
    "u16": "H", "unsigned short": "H", "s8": "b", "char": "b", "u8": "B", "unsigned char": "B",
}  # fmt: skip

thread = _local()
"""`thread.id` caches the native thread id; gone in a forked child."""


class Parameter(NamedTuple):
    """How one value is passed: its name, whether by keyword only, and its default (or NO_DEFAULT)."""

    name: str
    keyword_only: bool
    default: object


NO_DEFAULT = object()


class TooLarge(Exception):
    """The fixed part alone is larger than a page holds."""


def forget_thread() -> None:
    """Forget the cached thread id (in a forked child it is the parent's)."""
    thread.__dict__.clear()


def thread_id() -> int:
    """Return the native id of the calling thread, remembering it."""
    thread.id = found = get_native_id()
    return found


def is_text(field: Field) -> bool:
    """Whether the field's dynamic data is a string, which must end in a NUL."""
    return "char" in field.ctype


def is_dynamic(field: Field) -> bool:
    """Whether the fixed part holds only the offset and length of the field's data."""
    return field.ctype.startswith(("__data_loc ", "__rel_loc "))


def base_of(field: Field) -> int:
    """Return what the offset of a dynamic field counts from, in the body."""
    return 0 if field.ctype.startswith("__data_loc ") else field.offset + 4


def code_of(field: Field) -> str:
    """Return struct's code of the field in the fixed part."""
    if is_dynamic(field):
        return "I"
    if field.ctype == "struct f64" and field.size == 8:
        return "d"
    return _CODES.get(field.ctype) or f"{field.size}s"


def parameters_of(fields: Sequence[Field]) -> list[Parameter]:
    """Return the parameters of an event declared by text: each field by its name where Python allows the name."""
    names: list[str] = []
    for number, field in enumerate(fields):
        usable = field.name.isidentifier() and field.name not in names and not field.name.startswith("_ue_")
        names.append(field.name if usable and field.name not in _keywords() else f"_ue_arg{number}")
    return [Parameter(name, False, NO_DEFAULT) for name in names]


def _keywords() -> frozenset[str]:
    import keyword

    return frozenset(keyword.kwlist)


def make_packer(name: str, fields: Sequence[Field], parameters: Sequence[Parameter]) -> Callable[..., bytes]:
    """Generate ``pack(event_id, *values) -> body`` for one declaration.

    The body is the 8-byte common header and the payload, padded to 4 bytes. The function raises
    TypeError (wrong number or kind of values, naming the field) and `TooLarge`.
    """
    fixed = RECORD_HEADER_SIZE + sum(field.size for field in fields)
    dynamic = [(number, field) for number, field in enumerate(fields) if is_dynamic(field)]
    layout = RECORD_HEADER + "".join(code_of(field) for field in fields)
    if not dynamic:
        layout += f"{max(-fixed % 4, MIN_BODY - fixed)}x"
    lines = [f"def pack(_ue_id{signature_of(parameters)}):", "    try:"]
    tests, values = [], []
    lines += [f"        {line}" for line in context_lines(parameters)]
    for number, (field, parameter) in enumerate(zip(fields, parameters, strict=True)):
        value, setup, test = conversion(field, parameter.name, number)
        lines += [f"        {line}" for line in setup]
        tests += test
        values.append(value)
    lines += _dynamic_lines(dynamic, fixed, values)
    body = f"_ue_pack(_ue_id, 0, 0, _ue_thread.id{''.join(', ' + value for value in values)})"
    if dynamic:
        tests.append(f"_ue_end <= {MAX_BODY_SIZE}")
        parts = [(f"_ue_v{number}", is_text(field)) for number, field in dynamic]
        for value, terminated in parts[:-1]:
            body += f" + {value}" + (' + b"\\0"' if terminated else "")
        value, terminated = parts[-1]
        body += f" + {value} + _ue_zeros[{'1 + ' if terminated else ''}(-_ue_end & 3)]"
    elif fixed > MAX_BODY_SIZE:
        tests.append("False")
    lines.append(f"        if {' and '.join(tests) or 'True'}:")
    lines.append(f"            return {body}")
    lines += ["    except Exception as _ue_error:", "        if _ue_by_handler(_ue_error): raise"]
    lines.append(f"    return _ue_patiently(_ue_id, ({''.join(p.name + ', ' for p in parameters)}))")
    space: dict[str, Any] = {
        "_ue_pack": Struct(layout).pack,
        "_ue_encode": str.encode,
        "_ue_thread": thread,
        "_ue_by_handler": raised_by_handler,
        "_ue_zeros": _ZEROS,
        "_ue_patiently": lambda event_id, given: pack_patiently(name, fields, event_id, given),
        "_ue_defaults": [parameter.default for parameter in parameters],
        **context_names(fields, parameters),
    }
    exec(compile("\n".join(lines), f"<event {name}>", "exec"), space)
    pack: Callable[..., bytes] = space["pack"]
    pack.__name__ = pack.__qualname__ = name
    return pack


def native_table(
    fields: Sequence[Field], parameters: Sequence[Parameter]
) -> tuple[int, int, object, tuple[tuple[str, int, int, int, str, bool, object, str | None], ...]]:
    """Describe a declaration to the native packer, which does the same as the generated function.

    Returns the size of the fixed part, how many parameters are positional, what gives the bound fields (None where
    none is wanted), and for each field (operation, offset, size, what a dynamic offset counts from, name, whether it
    has a default, the default, the bound field's name or None).
    """
    rows = []
    wanted = context_keys(parameters)
    fallbacks = defaults_of(fields, parameters)
    offset = RECORD_HEADER_SIZE
    for field, parameter in zip(fields, parameters, strict=True):
        base = 0 if field.ctype.startswith("__data_loc ") else offset + 4
        has_default = parameter.default is not NO_DEFAULT
        default = fallbacks[parameter.name] if has_default else None
        key = wanted.get(parameter.name)
        rows.append((_operation(field), offset, field.size, base, parameter.name, has_default, default, key))
        offset += field.size
    positional = sum(not parameter.keyword_only for parameter in parameters)
    get = bound_and_text if ALL in wanted.values() else bound
    return offset, positional, get if wanted else None, tuple(rows)


def context_keys(parameters: Sequence[Parameter]) -> dict[str, str]:
    """Return the parameters that take bound fields, with the names of these."""
    taking = [(each.name, each.default) for each in parameters if isinstance(each.default, FromContext)]
    return {name: default.name or name for name, default in taking}


def defaults_of(fields: Sequence[Field], parameters: Sequence[Parameter]) -> dict[str, object]:
    """Return the defaults by parameter; where nothing is bound, what `from_context` says, else 0 or empty."""
    found = {}
    for field, parameter in zip(fields, parameters, strict=True):
        default = parameter.default
        if isinstance(default, FromContext):
            default = _nothing(field) if default.default is None else default.default
        found[parameter.name] = default
    return found


def _nothing(field: Field) -> object:
    code = code_of(field)
    if is_dynamic(field) or code.endswith("s"):
        return "" if is_text(field) else bytes(field.size if field.ctype.startswith("struct ") else 0)
    return 0.0 if code == "d" else 0


def context_lines(parameters: Sequence[Parameter]) -> list[str]:
    """Return what gives parameters their bound fields, where nothing was passed."""
    lines = []
    for number, parameter in enumerate(parameters):
        name = parameter.name
        key = context_keys([parameter]).get(name)
        if key is not None:
            value = "_ue_text(_ue_bound())" if key == ALL else f"_ue_bound().get({key!r}, _ue_fallbacks[{name!r}])"
            lines.append(f"if {name} is _ue_defaults[{number}]: {name} = {value}")
    return lines


def context_names(fields: Sequence[Field], parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Return what `context_lines` need."""
    if not context_keys(parameters):
        return {}
    return {"_ue_bound": bound, "_ue_text": text_of, "_ue_fallbacks": defaults_of(fields, parameters)}


def _operation(field: Field) -> str:
    """Return struct's code of a number; T and D for dynamic text and data, t, s and S for a fixed size."""
    if is_dynamic(field):
        return "T" if is_text(field) else "D"
    code = code_of(field)
    if not code.endswith("s"):
        return code
    if field.ctype.startswith("char["):
        return "t"
    return "S" if field.ctype.startswith("struct ") else "s"


def signature_of(parameters: Sequence[Parameter]) -> str:
    """Return the parameters as they follow a first one in a ``def``; defaults are in `_ue_defaults`."""
    parts = [", /"] if parameters else []
    starred = False
    for number, parameter in enumerate(parameters):
        if parameter.keyword_only and not starred:
            parts.append(", *")
            starred = True
        default = "" if parameter.default is NO_DEFAULT else f"=_ue_defaults[{number}]"
        parts.append(f", {parameter.name}{default}")
    return "".join(parts)


def conversion(field: Field, name: str, number: int) -> tuple[str, list[str], list[str]]:
    """Return (the value to pack, lines that make it, tests that it must pass) for one field."""
    local = f"_ue_v{number}"
    if is_dynamic(field):
        if is_text(field):
            return local, [f"{local} = _ue_encode({name})"], [f"0 not in {local}"]
        return local, [f"{local} = {name}"], [f"type({local}) is bytes"]
    if field.ctype.startswith("char["):
        make = f"{local} = _ue_encode({name})"
        return local, [make], [f"len({local}) <= {field.size}", f"0 not in {local}"]
    if code_of(field).endswith("s"):
        exact = "==" if field.ctype.startswith("struct ") else "<="
        return name, [], [f"len({name}) {exact} {field.size}"]
    return name, [], []


def _dynamic_lines(dynamic: Sequence[tuple[int, Field]], fixed: int, values: list[str]) -> list[str]:
    """Return the lines that place the dynamic data; `values` of those fields become their location words."""
    lines = []
    end = str(fixed)
    for number, field in dynamic:
        terminator = 1 if is_text(field) else 0
        lines.append(f"        _ue_n{number} = len(_ue_v{number}) + {terminator}")
        values[number] = f"_ue_n{number} << 16 | ({end} - {base_of(field)})"
        end += f" + _ue_n{number}"
    if dynamic:
        lines.append(f"        _ue_end = {end}")
    return lines


def pack_patiently(name: str, fields: Sequence[Field], event_id: int, given: Sequence[object]) -> bytes:
    """Pack value by value: accept what can be accepted, shorten what is too long, and name what is wrong.

    Returns a `CutBody` if a value was shortened. Raises TypeError naming event and field, or `TooLarge`.
    """
    fixed = RECORD_HEADER_SIZE + sum(field.size for field in fields)
    if fixed > MAX_BODY_SIZE:
        raise TooLarge
    cut: set[int] = set()
    values: list[Any] = []
    for number, (field, value) in enumerate(zip(fields, given, strict=True)):
        try:
            made, shortened = _value(field, value)
        except TypeError as error:
            raise TypeError(f"event '{name}': field '{field.name}' ({field.ctype}): {error}") from None
        values.append(made)
        if shortened:
            cut.add(number)
    cut |= _shorten([n for n, field in enumerate(fields) if is_dynamic(field)], fields, values, MAX_BODY_SIZE - fixed)
    end = fixed
    tail = b""
    for number, field in enumerate(fields):
        if is_dynamic(field):
            data = values[number] + (b"\0" if is_text(field) else b"")
            values[number] = len(data) << 16 | (end - base_of(field))
            tail += data
            end += len(data)
    layout = RECORD_HEADER + "".join(code_of(field) for field in fields)
    body = Struct(layout).pack(event_id, 0, 0, thread_id(), *values) + tail
    body += bytes(max(-end % 4, MIN_BODY - end))
    if not cut:
        return body
    made_shorter = CutBody(body)
    made_shorter.cuts = len(cut)
    return made_shorter


def _value(field: Field, value: object) -> tuple[object, bool]:
    """Convert one value; return it and whether it was cut. Raises TypeError saying what was found."""
    code = code_of(field)
    if is_dynamic(field):
        return _text(value, MAX_BODY_SIZE) if is_text(field) else (_bytes(value), False)
    if code == "d":
        return _number(float, value, "d"), False
    if not code.endswith("s"):
        if field.ctype == "char" and isinstance(value, str | bytes) and len(value) == 1:
            code_point = ord(value)
            return (code_point - 256 if 127 < code_point < 256 else code_point), False
        return _number(int, value, code), False
    if field.ctype.startswith("struct "):
        data = _bytes(value)
        if len(data) != field.size:
            raise TypeError(f"wants exactly {field.size} bytes, got {len(data)}")
        return data, False
    return _text(value, field.size)


def _number(kind: type[int] | type[float], value: object, code: str) -> object:
    try:
        Struct("<" + code).pack(value)
    except Exception as error:
        if raised_by_handler(error):
            raise
        raise TypeError(f"wants {kind.__name__} that fits, got {_shown(value)}") from None
    return value


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return str.encode(value, "utf-8", "backslashreplace")
    try:
        return memoryview(value).tobytes()  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"wants bytes, got {_shown(value)}") from None


def _text(value: object, size: int) -> tuple[bytes, bool]:
    """Return a string's bytes, ended where its reader would end it: at a NUL, or at `size` bytes."""
    if not isinstance(value, str | bytes | bytearray):
        if not isinstance(value, os.PathLike):
            raise TypeError(f"wants str or bytes, got {_shown(value)}")
        value = os.fspath(value)
    data = _bytes(value)
    kept = data.partition(b"\0")[0][:size]
    return _whole_characters(kept, data) if len(kept) < len(data) else kept, len(kept) < len(data)


def _whole_characters(kept: bytes, data: bytes) -> bytes:
    """Drop the last, incomplete UTF-8 character of a cut string (only if the whole was UTF-8)."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return kept
    return kept.decode("utf-8", "ignore").encode()


def _shorten(dynamic: Sequence[int], fields: Sequence[Field], values: list[Any], room: int) -> set[int]:
    """Shorten the longest dynamic values until all fit in `room` bytes; return the numbers of those cut."""
    cut: set[int] = set()
    room -= sum(1 for number in dynamic if is_text(fields[number]))
    while dynamic and (excess := sum(len(values[number]) for number in dynamic) - room) > 0:
        longest = max(dynamic, key=lambda number: len(values[number]))
        lengths = sorted((len(values[number]) for number in dynamic), reverse=True)
        target = max(lengths[0] - excess, lengths[1] if len(lengths) > 1 else 0)
        target = min(target, lengths[0] - 1)
        whole = values[longest]
        values[longest] = _whole_characters(whole[:target], whole) if is_text(fields[longest]) else whole[:target]
        cut.add(longest)
    return cut


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:
        if raised_by_handler(error):
            raise
        text = "a value whose repr() fails"
    return f"{type(value).__name__} {text[:60]}"
