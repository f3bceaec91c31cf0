"""What is to be recorded in the fleet: one ordered list of wishes, of which the last that matches decides. Pure.

A wish is about a pattern of events on a pattern of hosts, so it holds for events and hosts of the future, too.
"""

import json
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple

from ..errors import Malformed

Kind = Literal["enable", "disable", "filter"]
KINDS: Final[tuple[Kind, ...]] = ("enable", "disable", "filter")
WISHES_MAX: Final = 10_000


class Wish(NamedTuple):
    """One wish."""

    kind: Kind
    pattern: str
    """``[SYSTEM:]EVENT`` with shell globs."""
    hosts: str = "*"
    """Names of hosts with shell globs."""
    text: str = ""
    """The expression of a filter; empty takes a filter away."""
    by: str = ""
    """Who wished it and when, for people."""

    def is_about(self, host: str) -> bool:
        """Whether that host is meant."""
        return fnmatchcase(host, self.hosts)


class Wishes:
    """All wishes, oldest first."""

    def __init__(self, wishes: tuple[Wish, ...] = ()) -> None:
        self.all = wishes

    @classmethod
    def parse(cls, data: bytes) -> "Wishes":
        """Read what `pack` wrote; raises `Malformed`."""
        try:
            content = json.loads(data)
            wishes = tuple(Wish(*map(str, each)) for each in content["wishes"])  # type: ignore[arg-type]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Malformed("wishes of the fleet", f"cannot be read ({error!r})") from None
        odd = [wish for wish in wishes if wish.kind not in KINDS]
        if odd or len(wishes) > WISHES_MAX:
            what = f"have one of kind '{odd[0].kind[:40]}'" if odd else f"are {len(wishes):,}"
            raise Malformed("wishes of the fleet", what)
        return cls(wishes)

    def pack(self) -> bytes:
        """Return the wishes as they are stored."""
        return json.dumps({"wishes": [list(wish) for wish in self.all]}, separators=(",", ":")).encode()

    def with_wish(self, wish: Wish) -> "Wishes":
        """Return these and one more, without those that it makes void: it comes last, so that it decides."""
        kinds = ("filter",) if wish.kind == "filter" else ("enable", "disable")
        kept = [each for each in self.all if not (each.kind in kinds and _covers(wish, each))]
        return Wishes(tuple(_needed([*kept, wish])))

    def patterns_for(self, host: str) -> list[str]:
        """Return the patterns for the instance of a host: later ones decide, ``!`` before those that are off."""
        signs = {"enable": "", "disable": "!"}
        return [signs[wish.kind] + wish.pattern for wish in self.all if wish.kind in signs and wish.is_about(host)]

    def filters_for(self, host: str) -> list[tuple[str, str]]:
        """Return (pattern, expression) for a host; later ones decide, an empty expression is no filter."""
        return [(wish.pattern, wish.text) for wish in self.all if wish.kind == "filter" and wish.is_about(host)]


def _covers(new: Wish, old: Wish) -> bool:
    """Whether everything that `old` is about `new` is about, too; False where that is hard to tell."""
    is_wider = new.pattern == old.pattern or new.pattern in ("*", "*:*") or _is_literal_in(old.pattern, new.pattern)
    return is_wider and (new.hosts in (old.hosts, "*") or _is_literal_in(old.hosts, new.hosts))


def _is_literal_in(text: str, pattern: str) -> bool:
    return not set(text) & set("*?[:") and ":" not in pattern and fnmatchcase(text, pattern)


def _needed(wishes: list[Wish]) -> list[Wish]:
    """Leave out what takes away nothing: a disable or an empty filter before which there is none to take away from."""
    kept: list[Wish] = []
    for wish in wishes:
        is_negative = wish.kind == "disable" or (wish.kind == "filter" and not wish.text)
        opposite = "filter" if wish.kind == "filter" else "enable"
        if is_negative and not any(each.kind == opposite and (opposite == "enable" or each.text) for each in kept):
            continue
        kept.append(wish)
    return kept
