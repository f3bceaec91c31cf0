"""Whether a declaration means an event that exists, by the rule of the chosen profile.

Source: user_events contract, fields.md section 5.
"""

from functools import lru_cache

from ..fields import Field, matches
from .profile import Profile
from .text import SPACES


@lru_cache(256)
def same_fields(profile: Profile, fields: tuple[Field, ...], args: str) -> bool:
    """Whether the registration text `args` spells exactly `fields`.

    Remembered, since every process of a service registers the same events.
    """
    if not profile.spaces_after_semicolons and not spaced(args):
        return False
    if not profile.compares_struct_size:
        fields = tuple(_sizeless(field) for field in fields)
    return matches(fields, args)


def spaced(args: str) -> bool:
    """Whether white space or the end follows every ``;``.

    Where it does not, the oldest rule, which splits words at white space only, matches nothing.
    """
    return all(not piece or piece[0] in SPACES for piece in args.split(";")[1:])


def _sizeless(field: Field) -> Field:
    """A struct field as v6.4 compared it: without its size."""
    if not field.ctype.startswith("struct "):
        return field
    tag = field.ctype.removeprefix("struct ")
    return field._replace(ctype="struct", name=f"{tag} {field.name}")
