"""Whether a registration names an event that exists: the same fields, compared as text.

Source: user_events contract, fields.md section 5.
"""

from itertools import zip_longest

from .grammar import Field
from .kernel_text import words


def matches(fields: tuple[Field, ...], args: str) -> bool:
    """Tell whether the field list `args` of a new registration is that of an existing event with `fields`.

    It compares words, not meanings: ``char[0x14] a`` is not ``char[20] a``, while a tab or several blanks serve
    as one. A text that could create an event need not match it: ``u32 a;;u32 b`` and ``;`` do not.

    Source: user_events contract, fields.md section 5 (the rule of 6.9 and 6.6.33).

    >>> from .grammar import parse_fields
    >>> matches(parse_fields("u32 a; u32 b"), "u32 a;u32\\tb;")
    True
    """
    rest = words(args.replace(";", "; "))
    if not rest:
        return not fields
    for field in fields:
        taken = next((count for count, word in enumerate(rest, 1) if ";" in word), len(rest))
        text = " ".join(rest[:taken])
        if text.removesuffix(";") != str(field):
            return False
        rest = rest[taken:]
    return not rest


def difference(fields: tuple[Field, ...], other_fields: tuple[Field, ...]) -> str:
    """Say where two field lists first differ, for a person: ``'u32 count' here, 'u64 count' there``.

    >>> from .grammar import parse_fields
    >>> difference(parse_fields("u32 a; u32 b"), parse_fields("u32 a"))
    "'u32 b' here, no further field there"
    """
    for here, there in zip_longest(map(_shown, fields), map(_shown, other_fields), fillvalue="no further field"):
        if here != there:
            return f"{here} here, {there} there"
    return "no field differs"


def _shown(field: Field) -> str:
    return repr(str(field))
