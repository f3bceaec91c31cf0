"""Comparing text with a filter's pattern, by the kernel's rules: the field's size counts as much as the text's NUL.

A pattern is compared in one of five ways. Each is given the record from the text's first byte on, and how many
bytes the field has: a dynamic field may have 0, and some ways then go on to the next NUL.

Source: user_events contract, tracefs.md section 10.
"""

from collections.abc import Callable
from typing import Final

from .filter_glob import Glob

TextTest = Callable[[bytes, int], bool]
"""Tells whether the text that begins these bytes, in a field of so many bytes, is what the pattern wants."""

_GLOB_CHARS: Final = frozenset(b"[?\\")
_DIGITS: Final = frozenset(b"0123456789")


def equal_to(pattern: bytes) -> TextTest:
    """Compare the text up to its NUL, or to the end of the field, with all of `pattern`."""

    def test(data: bytes, size: int) -> bool:
        return (data[:size] if size else data).partition(b"\0")[0] == pattern

    return test


def like(pattern: bytes) -> tuple[TextTest, bool]:
    """Return how ``~ 'PATTERN'`` compares, and whether a leading ``!`` negates that.

    ``*`` at the start, the end or both is a comparison of ends; other wildcards make it a shell pattern. One
    that begins with a digit has no wildcards.

    Source: user_events contract, tracefs.md section 10.

    >>> test, negated = like(b"!ab*")
    >>> test(b"abc\\0", 4), negated
    (True, True)
    """
    negated = pattern.startswith(b"!")
    pattern = pattern[negated:]
    if not pattern or pattern[0] in _DIGITS:
        return equal_to(pattern), negated
    inner = pattern[1:-1]
    if b"*" in inner or not _GLOB_CHARS.isdisjoint(pattern):
        return _shell(pattern), negated
    if pattern == b"*":
        return _ending(b""), negated
    match pattern.startswith(b"*"), pattern.endswith(b"*"):
        case True, True:
            return _holding(inner), negated
        case True, False:
            return _ending(pattern[1:]), negated
        case False, True:
            return _beginning(pattern[:-1]), negated
    return equal_to(pattern), negated


def _beginning(pattern: bytes) -> TextTest:
    def test(data: bytes, size: int) -> bool:
        return (not size or size >= len(pattern)) and data.startswith(pattern)

    return test


def _holding(pattern: bytes) -> TextTest:
    """Look everywhere in the field, also after a NUL."""

    def test(data: bytes, size: int) -> bool:
        return pattern in (data[:size] if size else data.partition(b"\0")[0])

    return test


def _ending(pattern: bytes) -> TextTest:
    """Compare what stands before the field's last byte, taken for its NUL: in a `char[8]`, bytes up to the seventh."""

    def test(data: bytes, size: int) -> bool:
        start = size - 1 - len(pattern)
        return start >= 0 and data[start : size - 1] == pattern

    return test


def _shell(pattern: bytes) -> TextTest:
    glob = Glob(pattern)

    def test(data: bytes, size: int) -> bool:
        return glob.matches(data[:size].partition(b"\0")[0])

    return test
