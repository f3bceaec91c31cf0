"""Whether a registration names an event that exists: the same fields, compared as text.

Source: user_events contract, fields.md section 5.
"""

from itertools import zip_longest
from typing import Final

from ..errors import Refused
from .grammar import Field, fields_text, parse_fields
from .kernel_text import words

DIFFERENCES_SHOWN: Final = 8
"""How many fields a difference names."""


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
    """Say field by field where a declaration of `other_fields` is not what is registered; empty if nowhere.

    >>> from .grammar import parse_fields
    >>> difference(parse_fields("u32 a; u32 b"), parse_fields("u32 a"))
    "registered 'u32 b', declared no further field"
    """
    pairs = zip_longest(map(_shown, fields), map(_shown, other_fields), fillvalue="no further field")
    found = [f"registered {ours}, declared {theirs}" for ours, theirs in pairs if ours != theirs]
    if len(found) > DIFFERENCES_SHOWN:
        found[DIFFERENCES_SHOWN:] = [f"and {len(found) - DIFFERENCES_SHOWN} more fields differ"]
    return "; ".join(found)


def clash(name: str, fields: tuple[Field, ...], args: str) -> str:
    """Say why a declaration of `args` is not the event `name` with `fields`: the second of EADDRINUSE's two meanings.

    >>> from .grammar import parse_fields
    >>> clash("tick", parse_fields("u32 a"), "u32 a;;")
    "event 'tick' is already registered with the same fields spelled otherwise: declare it as 'tick u32 a'"
    """
    registered = f"event '{name}' is already registered"
    try:
        differs = difference(fields, parse_fields(args))
    except Refused as refused:
        return f"{registered}, and otherwise than this declaration, which is none: {refused.reason}"
    if not differs:
        spelled = f"{name} {fields_text(fields)}".rstrip()
        return f"{registered} with the same fields spelled otherwise: declare it as '{spelled}'"
    return f"{registered} with other fields: {differs} (use multi_format to keep both)"


def _shown(field: Field) -> str:
    return repr(str(field))
