"""Shell patterns as filters know them: ``*``, ``?``, ``[a-z]``, ``[!a-z]``, and a backslash before a literal character.

They differ from Python's `fnmatch`: they go by bytes, a ``[`` that is never closed is a plain character, ``^``
does not negate, and matching takes no more than text length times pattern length steps.

Source: user_events contract, tracefs.md section 10.
"""

from typing import Final

_Token = frozenset[int] | None
"""The bytes that may stand at one place; None for any number of any bytes."""

_ANY_BYTE: Final = frozenset(range(1, 256))
_STAR: Final = ord("*")
_QUESTION: Final = ord("?")
_BRACKET: Final = ord("[")
_BACKSLASH: Final = ord("\\")
_CLOSE: Final = ord("]")


class Glob:
    """A pattern ready to be matched against whole texts.

    >>> Glob(b"a[b-d]*").matches(b"ace"), Glob(b"a[!b-d]*").matches(b"ace")
    (True, False)
    """

    __slots__ = ("_tokens",)

    def __init__(self, pattern: bytes) -> None:
        self._tokens = _tokens(pattern)

    def matches(self, text: bytes) -> bool:
        """Tell whether all of `text`, which has no NUL, follows the pattern."""
        tokens = self._tokens
        at = place = 0
        retry_at, retry_place = 0, -1
        while at < len(text):
            token = tokens[place] if place < len(tokens) else frozenset()
            if token is None:
                place += 1
                retry_at, retry_place = at, place
            elif text[at] in token:
                at += 1
                place += 1
            elif retry_place >= 0:
                retry_at += 1
                at, place = retry_at, retry_place
            else:
                return False
        return all(token is None for token in tokens[place:])


def _tokens(pattern: bytes) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == _STAR:
            tokens.append(None)
        elif char == _QUESTION:
            tokens.append(_ANY_BYTE)
        elif char == _BRACKET and (found := _character_class(pattern, at)):
            token, at = found
            tokens.append(token)
        elif char == _BACKSLASH:
            if at < len(pattern):  # a backslash at the very end stands for nothing
                tokens.append(frozenset({pattern[at]}))
            at += 1
        else:
            tokens.append(frozenset({char}))
    return tokens


def _character_class(pattern: bytes, at: int) -> tuple[frozenset[int], int] | None:
    """Read a class from after its ``[``: its bytes and where it ends; None if no ``]`` ends it."""
    inverted = pattern[at : at + 1] == b"!"
    at += inverted
    members: set[int] = set()
    first = True
    while at < len(pattern) and (first or pattern[at] != _CLOSE):
        low = high = pattern[at]
        first = False
        at += 1
        if pattern[at : at + 1] == b"-" and pattern[at + 1 : at + 2] != b"]":
            if at + 1 >= len(pattern):
                return None
            high = pattern[at + 1]
            at += 2
        members.update(range(low, high + 1))
    if at >= len(pattern):
        return None
    return (_ANY_BYTE - members if inverted else frozenset(members)), at + 1
