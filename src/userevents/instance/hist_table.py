"""A histogram's table: entries by key, each with its sums, and no more of them than it was made for.

Source: user_events contract, tracefs.md section 11.
"""

from .hist_fields import FIELD, MASK, STACKTRACE, HistField
from .hist_sort import Compare, sort_twice
from .hist_spec import HistSpec, SortField
from .trigger_context import TriggerContext

Rank = tuple[int, bytes]
"""What entries are sorted by: a number, or text."""


class Entry:
    """One entry: its key, the sums of its values, and the name of the thread that first brought it."""

    __slots__ = ("comm", "key", "sums")

    def __init__(self, key: bytes, values: int, comm: str) -> None:
        self.key = key
        self.sums = [0] * values
        self.comm = comm


class HistTable:
    """What was counted."""

    def __init__(self, spec: HistSpec) -> None:
        self.spec = spec
        self.offsets = _offsets(spec.keys)
        """Where each key begins in an entry's key."""
        self.hits = 0
        """Records counted into an entry."""
        self.dropped = 0
        """Records whose key found no room."""
        self._entries: dict[bytes, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def count(self, record: bytes, context: TriggerContext) -> None:
        """Count one record."""
        in_usecs = self.spec.in_usecs
        key = b"".join(field.key(record, context, in_usecs=in_usecs) for field in self.spec.keys)
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= self.spec.size:
                self.dropped += 1
                return
            entry = self._entries[key] = Entry(key, len(self.spec.values), context.comm)
        self.hits += 1
        for index, value in enumerate(self.spec.values):
            entry.sums[index] = entry.sums[index] + value.number(record, context, in_usecs=in_usecs) & MASK

    def clear(self) -> None:
        """Forget everything counted."""
        self._entries.clear()
        self.hits = self.dropped = 0

    def entries(self) -> list[Entry]:
        """Every entry, in the order in which the file shows them."""
        entries = [self._entries[key] for key in sorted(self._entries)]
        compares = [self._compare(field) for field in self.spec.sort]
        sort_twice(entries, compares[0], compares[1] if len(compares) > 1 else None)
        return entries

    def _compare(self, field: SortField) -> Compare[Entry]:
        values = len(self.spec.values)
        sign = -1 if field.descending else 1
        if field.place < values:
            return lambda a, b: sign * _order((a.sums[field.place], b""), (b.sums[field.place], b""))
        key, offset = self.spec.keys[field.place - values], self.offsets[field.place - values]
        return lambda a, b: sign * _order(_rank(key, a.key, offset), _rank(key, b.key, offset))


def _offsets(keys: tuple[HistField, ...]) -> tuple[int, ...]:
    return tuple(sum(key.key_size for key in keys[:index]) for index in range(len(keys)))


def _order(a: Rank, b: Rank) -> int:
    return (a > b) - (a < b)


def _rank(field: HistField, key: bytes, offset: int) -> Rank:
    """What a key is sorted by: text, or a number of the field's own size and sign; stacks are all equal.

    Of an expression the sign is its first field's, the size 8 bytes.
    """
    if field.source == STACKTRACE:
        return 0, b""
    if field.is_text:
        return 0, key[offset : offset + field.key_size]
    if field.field is not None:
        size = min(field.field.size, 8) if field.source == FIELD else 8
        return int.from_bytes(key[offset : offset + size], "little", signed=field.field.signed), b""
    return int.from_bytes(key[offset : offset + 8], "little"), b""
