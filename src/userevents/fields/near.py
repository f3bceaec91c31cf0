"""What a message says of a name that there is not: the one that was probably meant, or those that there are."""

from collections.abc import Iterable

_SHOWN = 20


def instead(missed: str, names: Iterable[str], whose: str = "there are") -> str:
    """Return the name that `missed` is nearest to as a question, or else all names, after `whose` words.

    >>> instead("reqest", ["request", "tick"])
    "did you mean 'request'?"
    >>> instead("nothing", ["tick", "request"], "it has")
    'it has request, tick'
    """
    from difflib import get_close_matches

    known = sorted(set(names))
    near = get_close_matches(missed, known, 1)
    if near:
        return f"did you mean '{near[0]}'?"
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"{whose} {', '.join(known[:_SHOWN]) or 'none'}{more}"
