"""What a histogram counts: its keys, its values and its order, from the text of the command.

Source: user_events contract, tracefs.md section 11.
"""

import errno
from typing import Final, NamedTuple

from ..errors import Refused
from ..fields import Field
from .hist_fields import HITCOUNT, HistField, parse_key, parse_value
from .hist_text import HistRefused, HistText

KEYS_MAX: Final = 3
VALUES_MAX: Final = 3
"""The hitcount, which is always there, and two more."""
SORT_FIELDS_MAX: Final = 2
KEY_SIZE_MAX: Final = 384

NEED_VALUE: Final = "Non-hitcount value is required for 'nohitcount'"
BAD_SORT_FIELD: Final = "Sort field must be a key or a val"
BAD_SORT_MODIFIER: Final = "Invalid sort modifier"
EMPTY_SORT_FIELD: Final = "Empty sort field"
TOO_MANY_SORT_FIELDS: Final = "Too many sort fields (Max = 2)"
_HITCOUNT: Final = HistField(HITCOUNT, HITCOUNT)


class SortField(NamedTuple):
    """One field of the order: its place among values and keys together, and its direction."""

    place: int
    descending: bool = False


class HistSpec(NamedTuple):
    """A histogram's make-up."""

    values: tuple[HistField, ...]
    """The first one is the hitcount."""
    keys: tuple[HistField, ...]
    sort: tuple[SortField, ...]
    size: int
    no_hitcount: bool
    clock: str

    @property
    def fields(self) -> tuple[HistField, ...]:
        """Values and keys, as `SortField` counts them."""
        return self.values + self.keys

    @property
    def uses_time(self) -> bool:
        """Whether it looks at time stamps, and so has a say in the instance's clock."""
        return any(field.uses_time for field in self.fields)

    @property
    def in_usecs(self) -> bool:
        """Whether all its time stamps are in microseconds."""
        return any(field.uses_time and field.in_usecs for field in self.fields)

    @property
    def text(self) -> str:
        """How the trigger's line tells of it, from ``keys=`` on."""
        values = self.values[1:] if self.no_hitcount else self.values
        order = ",".join(
            self.fields[field.place].shown + (".descending" if field.descending else "") for field in self.sort
        )
        return (
            f"keys={','.join(key.shown for key in self.keys)}:vals={','.join(value.shown for value in values)}"
            f":sort={order}:size={self.size}"
            + (f":clock={self.clock}" if self.uses_time else "")
            + (":nohitcount" if self.no_hitcount else "")
        )

    def same_as(self, other: "HistSpec") -> bool:
        """Whether both count the same in the same order; size, clock and the hitcount's absence do not matter."""
        return (
            len(self.values) == len(other.values)
            and len(self.keys) == len(other.keys)
            and self.sort == other.sort
            and all(map(HistField.same_as, self.fields, other.fields))
        )


def parse_spec(text: HistText, fields: tuple[Field, ...]) -> HistSpec:
    """Understand the parts of a command for an event with `fields`; values first, then keys, then the order."""
    values = _parse_values(text, fields)
    keys = _parse_keys(text.keys, fields)
    sort = _parse_sort(text.sort, values + keys)
    return HistSpec(values, keys, sort, 1 << text.bits, text.no_hitcount, text.clock)


def _parse_values(text: HistText, fields: tuple[Field, ...]) -> tuple[HistField, ...]:
    values = [_HITCOUNT]
    waiting = text.vals.split(",") if text.vals is not None else []
    seen_hitcount = False
    while waiting and len(values) < VALUES_MAX:
        word = waiting.pop(0)
        if word == HITCOUNT and not seen_hitcount:
            seen_hitcount = True
        else:
            values.append(parse_value(word, fields))
    if waiting and waiting != [HITCOUNT]:
        raise Refused(errno.EINVAL, f"vals={text.vals}: a histogram has {VALUES_MAX - 1} values besides the hitcount")
    if text.no_hitcount and len(values) == 1:
        raise HistRefused(NEED_VALUE, number=errno.ENOENT)
    return tuple(values)


def _parse_keys(text: str, fields: tuple[Field, ...]) -> tuple[HistField, ...]:
    words = text.split(",")
    keys: list[HistField] = []
    for word in words[:KEYS_MAX]:
        keys.append(parse_key(word, fields))
        if sum(key.key_size for key in keys) > KEY_SIZE_MAX:
            raise Refused(errno.EINVAL, f"keys={text}: together they are longer than {KEY_SIZE_MAX} bytes")
    if len(words) > KEYS_MAX:
        raise Refused(errno.EINVAL, f"keys={text}: a histogram has at most {KEYS_MAX} keys")
    return tuple(keys)


def _parse_sort(text: str | None, fields: tuple[HistField, ...]) -> tuple[SortField, ...]:
    if text is None:
        return (SortField(0),)
    words = text.split(",")
    sort = []
    for count, word in enumerate(words, 1):
        if not word:
            raise HistRefused(EMPTY_SORT_FIELD, "sort=")
        if count == SORT_FIELDS_MAX and len(words) > SORT_FIELDS_MAX:
            raise HistRefused(TOO_MANY_SORT_FIELDS, "sort=")
        name, dot, direction = word.partition(".")
        if not name:
            raise HistRefused(EMPTY_SORT_FIELD, "sort=")
        place = 0 if name == HITCOUNT else next((i for i, f in enumerate(fields) if i and f.label == name), None)
        if place is None:
            raise HistRefused(BAD_SORT_FIELD, name)
        if dot and direction not in ("ascending", "descending"):
            raise HistRefused(BAD_SORT_MODIFIER, direction)
        sort.append(SortField(place, direction == "descending"))
    return tuple(sort)
