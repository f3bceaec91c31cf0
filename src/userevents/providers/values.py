"""From what Python hands to an observer (paths, arguments, addresses of any type) to what a field holds.

Nothing here fails because of a value, and no program's code is run but `__fspath__` and `__str__` of its own types.
"""

from __future__ import annotations

import os

from .guard import absorb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_")
_LONGEST = 1 << 16  # sixteen times what a record holds: the client cuts, and counts, what is left


def text(value: object) -> str | bytes:
    """Return `value` for a string field: a path, name or message in str, bytes or an object that stands for one.

    None is empty. Bytes that are no text come out as those bytes, also from a str that holds them as surrogates.

    >>> text("/tmp/caf\\udce9"), text(b"/tmp"), text(None)
    (b'/tmp/caf\\xe9', '/tmp', '')
    """
    return raw(plain(value))


def plain(value: object) -> str:
    """Return `value` as a str, in which bytes that are no text are surrogates, as everywhere in Python."""
    try:
        if value is None:
            return ""
        if hasattr(type(value), "__fspath__"):
            value = os.fspath(value)  # type: ignore[call-overload]
        if isinstance(value, (bytes, bytearray)):
            return os.fsdecode(bytes(value[:_LONGEST]))
        return str.__str__(value if isinstance(value, str) else str(value))[:_LONGEST]
    except Exception as error:
        absorb(error)
        return f"<{type(value).__qualname__} whose str() failed>"


def raw(found: str) -> str | bytes:
    """Return `found`, as bytes if it holds some that are no text."""
    if found.isascii():
        return found
    try:
        found.encode()
    except UnicodeEncodeError:
        try:
            return found.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # a surrogate that stands for no byte: the client writes it as \udXXX
            return found
    return found


def whole(value: object) -> int:
    """Return `value` for an s32 field: the nearest such number, or 0 if it is no number."""
    return int(max(-(1 << 31), min((1 << 31) - 1, value))) if isinstance(value, int) else 0


def natural(value: object, bits: int = 32) -> int:
    """Return `value` for an unsigned field of `bits` bits: the nearest such number, or 0 if it is no number."""
    return int(max(0, min((1 << bits) - 1, value))) if isinstance(value, int) else 0


def arguments(argv: object) -> list[str]:
    """Return the arguments of a command as text; a single string is a command of one word."""
    if isinstance(argv, (str, bytes)) or hasattr(type(argv), "__fspath__"):
        return [plain(argv)]
    return [plain(argument) for argument in argv]  # type: ignore[attr-defined]


def command(argv: Sequence[str]) -> str | bytes:
    """Return `argv` for a string field, as a line that a shell reads back as the same arguments.

    >>> print(command(["grep", "-e", "it's", ""]))
    grep -e 'it'"'"'s' ''
    """
    words: list[str] = []
    size = 0
    for argument in argv:
        safe = argument and _PLAIN.issuperset(argument)
        words.append(argument if safe else "'" + argument.replace("'", "'\"'\"'") + "'")
        size += len(words[-1])
        if size > _LONGEST:
            break
    return raw(" ".join(words))
